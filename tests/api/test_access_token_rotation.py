"""/access-tokens: rotating one, with or without a while in which the old one lives on."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.utils import timezone

from billing import spending
from billing.models import TokenSpend
from llm.models import LLM
from tests.api.asking import assert_invalid, error_of
from tests.api.tokens import RULES, limit, limited, made, own, soon, works
from tests.people import Person
from tests.together import at_once
from workspaces.models import AccessToken

__all__ = ["limited"]


# --- Never more than the one that asks --------------------------------------------------------------------------------


def test_the_successor_of_a_limited_token_inherits_what_it_has_spent(alice: Person) -> None:
    limit(alice, spend_limit_usd=Decimal(5), spend_period="")
    old = own(alice)
    TokenSpend.objects.create(workspace=alice.workspace, access_token=old, spent=Decimal("4.5"), held=Decimal("0.25"))
    new = alice.post(f"access-tokens/{old.pk}/rotate").json()["id"]
    successor = AccessToken.objects.get(pk=new)
    assert spending.left(successor, at=timezone.now()) == Decimal("0.5")


# --- Rotating ---------------------------------------------------------------------------------------------------------


def test_rotate(alice: Person, llm: LLM) -> None:
    pk, old = made(alice, **RULES, expires_at=soon(days=9))
    response = alice.post(f"access-tokens/{pk}/rotate")
    assert response.status_code == 201, response.content
    assert response.headers["Cache-Control"] == "no-store"
    answer = response.json()
    new = replace(alice, token=answer.pop("token"))
    assert (works(old), works(new)) == (False, True)
    assert answer["id"] != pk
    before = alice.get(f"access-tokens/{pk}").json()
    assert before["revoked_at"] is not None
    differ = {name for name in answer if answer[name] != before[name]}
    assert differ == {"id", "prefix", "revoked_at", "created_at"}


def test_the_old_one_may_live_on_for_a_while(alice: Person) -> None:
    pk, old = made(alice)
    answer = alice.post(f"access-tokens/{pk}/rotate", {"grace_seconds": 3600}).json()
    assert answer["expires_at"] is None
    assert works(old)
    ends = AccessToken.objects.get(pk=pk).expires_at
    assert ends is not None
    assert timedelta(minutes=59) < ends - timezone.now() <= timedelta(hours=1)
    AccessToken.objects.filter(pk=pk).update(expires_at=timezone.now())
    assert not works(old)


def test_a_grace_does_not_prolong_a_life(alice: Person) -> None:
    ends = soon(minutes=1)
    pk, _ = made(alice, expires_at=ends)
    assert alice.post(f"access-tokens/{pk}/rotate", {"grace_seconds": 86400}).json()["expires_at"] == ends
    assert alice.get(f"access-tokens/{pk}").json()["expires_at"] == ends


def test_a_token_rotates_itself_however_limited(limited: Person) -> None:
    response = limited.post(f"access-tokens/{own(limited).pk}/rotate")
    assert response.status_code == 201, response.content
    assert {**RULES, "spend_period": "week"}.items() <= response.json().items()
    assert not works(limited)
    assert works(replace(limited, token=response.json()["token"]))


@pytest.mark.parametrize("change", ["revoked_at", "expires_at"])
def test_what_is_dead_is_not_rotated(alice: Person, change: str) -> None:
    pk, _ = made(alice)
    AccessToken.objects.filter(pk=pk).update(**{change: timezone.now()})
    error_of(alice.post(f"access-tokens/{pk}/rotate"), 409, "token_not_valid")


@pytest.mark.parametrize("value", [-1, 86401, "60", 1.5, True, None])
def test_a_wrong_grace_is_refused(alice: Person, value: Any) -> None:
    pk, old = made(alice)
    assert_invalid(alice.post(f"access-tokens/{pk}/rotate", {"grace_seconds": value}), "grace_seconds")
    assert_invalid(alice.post(f"access-tokens/{pk}/rotate", {"name": "X"}), "name")
    assert works(old)


def test_a_rotation_by_two_at_once_makes_one_new_token(alice: Person, transactional_db: None) -> None:
    pk, _ = made(alice)
    codes = at_once(5, lambda _: alice.post(f"access-tokens/{pk}/rotate").status_code)
    assert sorted(codes) == [201, 409, 409, 409, 409]
