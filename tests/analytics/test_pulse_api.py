"""What goes on now: the last minutes and what is under way, once or as a stream."""

from __future__ import annotations

import json
import threading
from datetime import timedelta
from decimal import Decimal
from typing import Any

import httpx2
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from billing.models import Wallet
from conversations.models import Conversation
from llm.models import LLM
from tests.analytics.usage import Call, write
from tests.api.asking import Api, assert_invalid, error_of
from tests.conftest import Server, wait_for
from tests.conversations.calling import HELD, ask
from tests.house import house
from tests.people import Cast, Person, fund, join
from workspaces.models import AccessToken, Membership

__all__ = ["house"]


@pytest.mark.django_db
def test_the_last_minutes(cast: Cast, llm: LLM) -> None:
    alice, bob, charlie = cast
    now = timezone.now()
    write(
        [
            Call(now - timedelta(minutes=1), alice, llm, latency_ms=10),
            Call(now - timedelta(minutes=2), bob, llm, latency_ms=20),
            Call(now - timedelta(minutes=3), bob, llm, status="error"),
            Call(now - timedelta(minutes=9), bob, llm),
            Call(now - timedelta(minutes=1), charlie, llm),
        ]
    )
    found = alice.get("analytics/metrics").json()
    assert (found["of"], found["minutes"], found["calls"], found["failed"]) == ("workspace", 5, 3, 1)
    assert (found["requests_per_minute"], found["error_rate"]) == ("0.60", "0.3333")
    assert (found["average_cost_per_request"], found["average_latency_ms"]) == ("0.00", "15.0")
    assert found["top_models"] == [{"key": str(llm.pk), "name": str(llm), "calls": 3, "cost": "0.00"}]
    assert alice.get("analytics/metrics", minutes=10).json()["calls"] == 4
    assert bob.get("analytics/metrics").json()["calls"] == 2
    charlie.user.is_staff = charlie.user.is_superuser = True
    charlie.user.save(update_fields=["is_staff", "is_superuser"])
    assert charlie.get("analytics/metrics").json()["calls"] == 4
    assert charlie.get("analytics/metrics", workspace=alice.workspace.slug).json()["calls"] == 3


@pytest.mark.django_db(transaction=True)
def test_what_is_under_way(cast: Cast, llm: LLM) -> None:
    alice = cast.alice
    fund(alice.workspace, "1")
    ask(alice, Conversation.objects.create(workspace=alice.workspace, user=alice.user))
    held = {"count": 1, "amount": HELD}
    assert Decimal(HELD) == Wallet.objects.get(workspace=alice.workspace).held
    nothing = {"count": 0, "amount": "0.00"}
    seen = [person.get("analytics/metrics").json() for person in cast]
    assert [(one["in_flight_calls"], one["open_holds"]) for one in seen] == [(1, held), (0, nothing), (0, nothing)]


@pytest.mark.django_db
@pytest.mark.parametrize(("name", "value"), [("minutes", "0"), ("minutes", "61"), ("minutes", "x"), ("user", "me")])
def test_what_is_not_understood_is_refused_by_name(alice: Person, name: str, value: str) -> None:
    assert_invalid(alice.get("analytics/metrics", **{name: value}), name)


@pytest.mark.django_db
def test_it_takes_few_queries(alice: Person, llm: LLM) -> None:
    write([Call(timezone.now(), alice, llm)])
    alice.get("analytics/metrics")
    with CaptureQueriesContext(connection) as captured:
        alice.get("analytics/metrics")
    assert len(captured) == 6  # the token, the membership, the figures, the models, what is under way, what is held


# --- The stream -------------------------------------------------------------------------------------------------------


def listen(
    server: Server, person: Person, found: list[dict[str, Any]], number: int, workspace: str | None = None
) -> None:
    """Note the events as they come, until there are so many, or the stream ends."""
    url, name = f"{server.url}/api/v1/analytics/live", ""
    params = {"seconds": "1", **({"workspace": workspace} if workspace else {})}
    with httpx2.stream("GET", url, params=params, headers=person.headers, timeout=30) as response:
        assert response.headers["Content-Type"] == "text/event-stream; charset=utf-8"
        for line in response.iter_lines():
            if line.startswith("event: "):
                name = line.removeprefix("event: ")
            if line.startswith("data: "):
                found.append({"event": name, **json.loads(line.removeprefix("data: "))})
            if len(found) == number:
                return


def first_events(server: Server, person: Person, number: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    listen(server, person, found, number)
    return found


def test_the_stream_says_what_metrics_say(server: Server, api: Api, alice: Person, llm: LLM) -> None:
    write([Call(timezone.now(), alice, llm)])
    once = api.get(alice, "analytics/metrics").json()
    first, second = first_events(server, alice, 2)
    assert first["event"] == second["event"] == "metrics"
    assert {name: first[name] for name in once if name != "at"} == {name: once[name] for name in once if name != "at"}
    assert second["at"] > first["at"]


def test_the_stream_ends_with_the_token(server: Server, alice: Person) -> None:
    found: list[dict[str, Any]] = []
    listening = threading.Thread(target=listen, args=(server, alice, found, 100))
    listening.start()
    wait_for(lambda: bool(found), "the first event")
    AccessToken.objects.filter(user=alice.user).update(revoked_at=timezone.now())
    listening.join(20)
    assert not listening.is_alive()
    assert (found[-1]["event"], found[-1]["error"]["code"]) == ("error", "not_authenticated")
    assert {event["event"] for event in found[:-1]} == {"metrics"}


def test_the_stream_follows_the_role(server: Server, alice: Person, llm: LLM) -> None:
    dora = join(alice.workspace, "dora", Membership.Role.ADMIN)
    assert first_events(server, dora, 1)[0]["of"] == "workspace"
    Membership.objects.filter(user=dora.user).update(role=Membership.Role.MEMBER)
    assert first_events(server, dora, 1)[0]["of"] == "user"


def test_the_stream_ends_with_the_right_to_another_workspace(server: Server, cast: Cast, llm: LLM) -> None:
    alice, _, charlie = cast
    charlie.user.is_staff = charlie.user.is_superuser = True
    charlie.user.save(update_fields=["is_staff", "is_superuser"])
    found: list[dict[str, Any]] = []
    listening = threading.Thread(target=listen, args=(server, charlie, found, 100, alice.workspace.slug))
    listening.start()
    wait_for(lambda: bool(found), "the first event")
    charlie.user.is_staff = False
    charlie.user.save(update_fields=["is_staff"])
    listening.join(20)
    assert not listening.is_alive()
    assert (found[-1]["event"], found[-1]["error"]["code"]) == ("error", "permission_denied")


def test_the_stream_is_refused_before_it_begins(api: Api, alice: Person) -> None:
    assert_invalid(api.get(alice, "analytics/live", seconds="0"), "seconds")
    error_of(httpx2.get(f"{api.url}/api/v1/analytics/live"), 401, "not_authenticated")
