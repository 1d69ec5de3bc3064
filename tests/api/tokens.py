"""Access tokens as tests make, narrow and try them over the API."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.utils import timezone

from llm.models import LLM
from tests.catalogue import make_llm
from tests.people import Person
from workspaces import tokens
from workspaces.authentication import caller_of
from workspaces.models import AccessToken

ALL = ["chat", "read", "billing", "keys", "admin"]
RULES: dict[str, Any] = {
    "scopes": ["chat", "keys"],
    "allowed_models": ["openai/openai-test"],
    "requests_per_minute": 10,
    "tokens_per_minute": 1000,
    "spend_limit_usd": "5.00",
    "spend_period": "day",
}


def text(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


def soon(**time: float) -> str:
    return text(timezone.now() + timedelta(**time))


def own(person: Person) -> AccessToken:
    """The token that ``person`` asks with."""
    return AccessToken.objects.get(digest=tokens.digest(person.token))


def limit(person: Person, **rules: Any) -> Person:
    AccessToken.objects.filter(pk=own(person).pk).update(**rules)
    return person


def made(person: Person, **body: Any) -> tuple[str, Person]:
    """A new token of ``person``: its id, and the person with it."""
    response = person.post("access-tokens", {"name": "New", **body})
    assert response.status_code == 201, response.content
    return response.json()["id"], replace(person, token=response.json()["token"])


def works(person: Person) -> bool:
    return caller_of(person.token) is not None


@pytest.fixture
def limited(alice: Person, llm: LLM) -> Person:
    """Alice with a token that may make others and has every limit."""
    make_llm("anthropic")
    ends = timezone.now() + timedelta(days=3)
    return limit(alice, **{**RULES, "spend_limit_usd": Decimal(5), "spend_period": "week"}, expires_at=ends)
