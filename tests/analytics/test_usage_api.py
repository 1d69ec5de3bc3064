"""``analytics/usage`` and ``analytics/costs``: exact, to everybody what they may see, and plain about what is wrong."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from analytics import rollups
from analytics.measures import METRICS
from conversations.models import Agent
from llm.models import LLM
from tagging.models import Tag, TagLink
from tests.analytics.usage import Call, write
from tests.api.asking import assert_invalid
from tests.catalogue import make_llm
from tests.people import Cast, Person, join
from workspaces.models import Membership

pytestmark = pytest.mark.django_db
NOON = datetime(2026, 10, 25, 12, tzinfo=UTC)
DAY = {"start": "2026-10-25", "end": "2026-10-26"}


@pytest.fixture
def dora(alice: Person) -> Person:
    return join(alice.workspace, "dora", Membership.Role.ADMIN)


@pytest.fixture
def staff(charlie: Person) -> Person:
    """Charlie, who works for the house today."""
    charlie.user.is_staff = charlie.user.is_superuser = True
    charlie.user.save(update_fields=["is_staff", "is_superuser"])
    return charlie


def test_totals_groups_and_series_of_a_day(alice: Person, llm: LLM) -> None:
    other = make_llm("anthropic")
    write(
        [
            Call(NOON, alice, llm, cost=3, latency_ms=100, first_token_ms=40),
            Call(NOON, alice, llm, cost=4, latency_ms=300),
            Call(NOON + timedelta(hours=1), alice, llm, status="error", tokens=(0,) * 6, latency_ms=9),
            Call(
                NOON + timedelta(hours=2),
                alice,
                other,
                key_source="user",
                cost=5,
                tokens=(1, 2, 3, 4, 5, 6),
                latency_ms=200,
            ),
        ]
    )
    found = alice.get("analytics/usage", **DAY, group_by="provider", granularity="hour").json()
    assert (found["of"], found["start"], len(found["series"])) == ("workspace", "2026-10-25T00:00:00+00:00", 24)
    assert found["totals"] == {
        "calls": 4,
        "messages": 4,
        "successful": 3,
        "failed": 1,
        "interrupted": 0,
        "error_rate": "0.2500",
        "input_tokens": 30,
        "cached_input_tokens": 2,
        "cache_write_tokens": 7,
        "output_tokens": 51,
        "reasoning_tokens": 6,
        "total_tokens": 81,
        "cost": "0.00",
        "provider_cost": "0.000012",
        "average_cost": "0.00",
        "own_key_share": "0.2500",
        "average_latency_ms": "200.0",
        "average_first_token_ms": "40.0",
        "tokens_per_second": "85.00",
    }
    assert [(row["provider"]["name"], row["calls"], row["provider_cost"]) for row in found["groups"]] == [
        ("OpenAI", 3, "0.000007"),
        ("Anthropic", 1, "0.000005"),
    ]
    assert found["other"] is None
    noon, one, two = found["series"][12:15]
    assert (noon["start"], noon["end"]) == ("2026-10-25T12:00:00+00:00", "2026-10-25T13:00:00+00:00")
    assert [row["calls"] for row in (noon, one, two)] == [2, 1, 1]
    assert [group["provider"]["key"] for group in two["groups"]] == ["anthropic"]


def test_costs_are_the_money_of_the_same_figures(alice: Person, llm: LLM) -> None:
    write([Call(NOON, alice, llm, cost=3)])
    usage, costs = (alice.get(f"analytics/{name}", **DAY).json() for name in ("usage", "costs"))
    assert set(costs["totals"]) == {"calls", "cost", "provider_cost", "average_cost", "own_key_share"}
    assert costs["totals"] == {name: usage["totals"][name] for name in costs["totals"]}
    assert set(usage["totals"]) == set(METRICS)


@pytest.mark.parametrize(("day", "hours"), [("2026-10-25", 25), ("2026-03-29", 23), ("2026-07-01", 24)])
def test_a_day_when_clocks_change_has_its_own_hours(alice: Person, llm: LLM, day: str, hours: int) -> None:
    start = datetime.fromisoformat(day).replace(tzinfo=UTC)
    write(Call(start + timedelta(hours=hour, minutes=30), alice, llm) for hour in range(-3, 27))
    end = (datetime.fromisoformat(day) + timedelta(days=1)).date().isoformat()
    found = alice.get("analytics/usage", start=day, end=end, tz="Europe/Berlin", granularity="hour").json()
    assert [row["calls"] for row in found["series"]] == [1] * hours
    assert found["totals"]["calls"] == hours


def test_the_sum_of_the_days_is_the_month(alice: Person, llm: LLM) -> None:
    first = datetime(2026, 10, 1, tzinfo=UTC)
    write(Call(first + timedelta(hours=7 * n, minutes=n), alice, llm, cost=abs(n)) for n in range(-5, 120))
    rollups.roll_up()
    month = {"start": "2026-10-01", "end": "2026-11-01", "tz": "America/New_York"}
    days = alice.get("analytics/usage", **month, granularity="day").json()
    (whole,) = alice.get("analytics/usage", **month, granularity="month").json()["series"]
    assert len(days["series"]) == 31
    assert sum(row["calls"] for row in days["series"]) == whole["calls"] == days["totals"]["calls"]
    assert sum(Decimal(row["provider_cost"]) for row in days["series"]) == Decimal(whole["provider_cost"])


# --- Who sees what ----------------------------------------------------------------------------------------------------


def test_members_see_their_own_admins_the_workspaces_staff_all(cast: Cast, dora: Person, llm: LLM) -> None:
    alice, bob, charlie = cast
    write([Call(NOON, alice, llm), Call(NOON, bob, llm), Call(NOON, bob, llm), Call(NOON, charlie, llm)])

    def seen(person: Person, **more: Any) -> tuple[str, int]:
        body = person.get("analytics/usage", **DAY, **more).json()
        return body["of"], body["totals"]["calls"]

    assert seen(bob) == seen(bob, user="me") == ("user", 2)
    assert seen(alice) == seen(dora) == ("workspace", 3)
    assert seen(alice, user=str(bob.user.pk)) == ("user", 2)
    assert seen(charlie) == ("workspace", 1)
    charlie.user.is_staff = charlie.user.is_superuser = True
    charlie.user.save(update_fields=["is_staff", "is_superuser"])
    assert seen(charlie) == ("fleet", 4)
    assert seen(charlie, workspace=alice.workspace.slug) == ("workspace", 3)
    assert seen(charlie, user=str(bob.user.pk)) == ("user", 2)


def test_what_is_not_ones_own_is_refused_by_name(cast: Cast, llm: LLM) -> None:
    alice, bob, charlie = cast
    write([Call(NOON, alice, llm), Call(NOON, charlie, llm)])
    stranger = Agent.objects.create(workspace=charlie.workspace, name="Theirs", llm=llm)
    for person, name, value in (
        (alice, "workspace", charlie.workspace.slug),
        (alice, "workspace", str(charlie.workspace.pk)),
        (alice, "user", str(charlie.user.pk)),
        (bob, "user", str(alice.user.pk)),
        (alice, "agent", str(stranger.pk)),
    ):
        assert_invalid(person.get("analytics/usage", **DAY, **{name: value}), name)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("granularity", "year"),
        ("group_by", "llm,colour"),
        ("group_by", "llm,user,agent,status"),
        ("group_by", "tag"),
        ("limit", "0"),
        ("limit", "1e3"),
        ("limit", "²"),
        ("user", "nobody"),
        ("llm", "openai/nothing"),
        ("provider", "acme"),
        ("agent", "x"),
        ("key_source", "mine"),
        ("status", "fine"),
        ("tag", "a:b:\x00"),
        ("start", "yesterday"),
        ("tz", "../etc/passwd"),
        ("colour", "red"),
    ],
)
def test_what_is_not_understood_is_refused_by_name(alice: Person, name: str, value: str) -> None:
    where = {"tag": "tag"} if (name, value) == ("group_by", "tag") else {}
    assert_invalid(alice.get("analytics/usage", **{**DAY, name: value}), where.get("tag", name))


def test_too_many_minutes_are_refused(alice: Person) -> None:
    assert_invalid(alice.get("analytics/usage", granularity="minute"), "granularity")


# --- Filters and groups -----------------------------------------------------------------------------------------------


def test_filters_narrow_and_several_values_widen(alice: Person, bob: Person, llm: LLM) -> None:
    other = make_llm("anthropic")
    agent = Agent.objects.create(workspace=alice.workspace, name="Helper", llm=llm)
    write(
        [
            Call(NOON, alice, llm, agent=agent),
            Call(NOON, alice, llm, status="error"),
            Call(NOON, alice, other, status="lost", key_source="user"),
            Call(NOON, bob, other, status="interrupted", key_source="workspace"),
        ]
    )

    def calls(**query: Any) -> int:
        return alice.get("analytics/usage", **DAY, **query).json()["totals"]["calls"]

    assert calls(llm=str(llm)) == calls(llm=str(llm.pk)) == calls(provider="openai") == 2
    assert calls(agent=str(agent.pk)) == 1
    assert calls(status=["error", "lost"]) == 2
    assert calls(key_source="user") == 1
    assert calls(key_source=["user", "workspace"], user=str(bob.user.pk)) == 1
    assert calls(llm=str(llm), provider="anthropic") == 0


def test_a_call_with_two_tags_counts_once_in_the_total(alice: Person, llm: LLM) -> None:
    logs = write([Call(NOON, alice, llm, cost=2), Call(NOON, alice, llm, cost=3), Call(NOON, alice, llm)])
    acme, beta = (
        Tag.objects.create(workspace=alice.workspace, name="customer", value=value) for value in ("acme", "beta")
    )
    for tag, log in ((acme, logs[0]), (beta, logs[0]), (beta, logs[1])):
        TagLink.objects.create(workspace=alice.workspace, tag=tag, target_type="message", target_id=log.message_id)
    found = alice.get("analytics/usage", **DAY, group_by="tag", tag="customer:*").json()
    assert {row["tag"]["name"]: (row["calls"], row["provider_cost"]) for row in found["groups"]} == {
        "customer:beta": (2, "0.000005"),
        "customer:acme": (1, "0.000002"),
    }
    assert (
        found["totals"]["calls"] == alice.get("analytics/usage", **DAY, tag="customer:*").json()["totals"]["calls"] == 2
    )
    both = alice.get("analytics/usage", **DAY, tag=["customer:acme", "customer:beta"]).json()
    assert both["totals"]["calls"] == 1


def test_groups_beyond_the_limit_are_summed_up(alice: Person) -> None:
    write(Call(NOON, alice, make_llm(name=f"m{n}"), cost=n) for n in range(5))
    found = alice.get("analytics/usage", **DAY, group_by="llm", limit=2).json()
    assert [row["llm"]["name"] for row in found["groups"]] == ["openai/m4", "openai/m3"]
    assert (found["other"]["groups"], found["other"]["calls"], found["other"]["provider_cost"]) == (3, 3, "0.000003")


def test_nothing_is_plain_zeros(alice: Person) -> None:
    found = alice.get("analytics/usage", **DAY, group_by="llm").json()
    assert (found["totals"]["calls"], found["totals"]["error_rate"], found["groups"]) == (0, None, [])
    assert [row["calls"] for row in found["series"]] == [0]


def test_figures_take_few_queries(alice: Person, llm: LLM) -> None:
    write([Call(NOON, alice, llm)])
    alice.get("analytics/usage", **DAY)

    def queries(**query: Any) -> int:
        with CaptureQueriesContext(connection) as captured:
            assert alice.get("analytics/usage", **DAY, **query).status_code == 200
        return len(captured)

    plain = queries()
    assert queries(granularity="hour") == plain
    assert queries(group_by="llm") == queries(group_by="user") == plain + 1  # their names
    assert plain == 3  # the token, the membership, the figures
