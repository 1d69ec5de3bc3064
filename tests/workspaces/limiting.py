"""Rate limits as tests set, take and read them, by a clock that stands still."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import transaction
from django.db.models import DateTimeField, F, Value

from synapscale.common.errors import RateLimited
from tests.people import Person
from workspaces import ratelimits
from workspaces.models import AccessToken, RateBucket, Workspace
from workspaces.ratelimits import RateState

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def token_of(person: Person, **rules: Any) -> AccessToken:
    AccessToken.objects.filter(user=person.user, workspace=person.workspace).update(**rules)
    return AccessToken.objects.get(user=person.user, workspace=person.workspace)


def space_of(person: Person, **rules: Any) -> Workspace:
    Workspace.objects.filter(pk=person.workspace.pk).update(**rules)
    return Workspace.objects.get(pk=person.workspace.pk)


def take(workspace: Workspace, token: AccessToken | None, tokens: int = 0) -> list[RateState]:
    with transaction.atomic():
        return ratelimits.take(workspace=workspace, access_token=token, tokens=tokens)


def refusal(workspace: Workspace, token: AccessToken | None, tokens: int = 0) -> RateLimited:
    with pytest.raises(RateLimited) as refused:
        take(workspace, token, tokens)
    return refused.value


def buckets(workspace: Workspace) -> list[tuple[int, int]]:
    """What is left, in thousandths: of tokens first, then of the workspace."""
    rows = RateBucket.objects.filter(workspace=workspace).order_by(F("access_token").asc(nulls_last=True))
    return [(row.requests_left, row.tokens_left) for row in rows]


@dataclass
class Clock:
    now: datetime = NOON

    def move(self, **by: float) -> None:
        self.now += timedelta(**by)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The database's clock, in the test's hand."""
    stopped = Clock()
    monkeypatch.setattr(ratelimits, "clock", lambda: Value(stopped.now, DateTimeField()))
    return stopped
