"""/feedback/summary: what feedback says in all, by model, by agent and by day."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from conversations import feedback, tag_usage
from conversations.feedback_figures import Figures
from conversations.models import Conversation, MessageFeedback
from llm.models import LLM
from synapscale.common.models import new_id
from tests.api.asking import assert_invalid, make_agent, make_answer, make_conversation
from tests.people import Cast, Person

SUMMARY = "feedback/summary"


def give(person: Person, chat: Conversation, *, at: str = "", model: str = "a/one", **said: Any) -> None:
    given = feedback.give(message=make_answer(chat, model_used=model), user=person.user, **said)
    if at:
        rows = MessageFeedback.objects.filter(workspace=person.workspace, pk=given.pk)
        rows.update(created_at=datetime.fromisoformat(at))


def summary(person: Person, **query: Any) -> dict[str, Any]:
    response = person.get(SUMMARY, **query)
    assert response.status_code == 200, response.content
    found: dict[str, Any] = response.json()
    return found


def test_the_figures(alice: Person) -> None:
    chat = make_conversation(alice)
    for said in ({"stars": 5, "thumb": "up"}, {"stars": 4}, {"stars": 3}, {"stars": 1, "category": "wrong"}):
        give(alice, chat, **said)
    give(alice, chat, text="Hm.")
    assert summary(alice)["total"] == {
        "count": 5,
        "up": 1,
        "down": 0,
        "negative": 1,
        "average_stars": "3.25",
        "stars": {"1": 1, "2": 0, "3": 1, "4": 1, "5": 1},
        "categories": {"helpful": 0, "accurate": 0, "creative": 0, "unsafe": 0, "wrong": 1, "other": 0},
        "satisfaction": "0.667",
    }
    assert summary(alice)["groups"] == []


def test_by_model_and_by_agent(alice: Person, llm: LLM) -> None:
    agent = make_agent(alice, llm)
    chat, other = make_conversation(alice, agent=agent), make_conversation(alice)
    give(alice, chat, stars=5), give(alice, chat, stars=1, model="b/two"), give(alice, other, stars=4)
    give(alice, other, stars=2, model="")

    def by(name: str) -> list[tuple[Any, ...]]:
        groups = summary(alice, group_by=name)["groups"]
        return [(group["key"], group["name"], group["count"], group["average_stars"]) for group in groups]

    assert by("model") == [("a/one", "a/one", 2, "4.50"), (None, "", 1, "2.00"), ("b/two", "b/two", 1, "1.00")]
    assert by("agent") == [(None, "", 2, "3.00"), (str(agent.pk), "Helper", 2, "3.00")]


def test_by_day_of_the_asked_zone(alice: Person) -> None:
    """In São Paulo it is three hours earlier; in Berlin the day that summer time begins on has 23 hours."""
    chat = make_conversation(alice)
    for at in ("2026-03-28T22:59+00:00", "2026-03-28T23:00+00:00", "2026-03-29T21:59+00:00", "2026-03-29T22:00+00:00"):
        give(alice, chat, at=at, stars=5)

    def days(tz: str, **query: str) -> dict[str, int]:
        query = {"start": "2026-03-01", "end": "2026-04-01", **query}
        found = summary(alice, group_by="day", tz=tz, **query)
        return {group["key"]: group["count"] for group in found["groups"]}

    assert days("Europe/Berlin") == {"2026-03-28": 1, "2026-03-29": 2, "2026-03-30": 1}
    assert days("Europe/Berlin", start="2026-03-29", end="2026-03-30") == {"2026-03-29": 2}
    assert days("America/Sao_Paulo") == {"2026-03-28": 2, "2026-03-29": 2}
    assert days("UTC") == {"2026-03-28": 2, "2026-03-29": 2}


def test_by_the_day_of_25_hours(alice: Person) -> None:
    chat = make_conversation(alice)
    for at in ("2026-10-24T21:59+00:00", "2026-10-24T22:00+00:00", "2026-10-25T22:59+00:00", "2026-10-25T23:00+00:00"):
        give(alice, chat, at=at, stars=5)
    found = summary(alice, group_by="day", tz="Europe/Berlin", start="2026-10-25", end="2026-10-26")
    assert [(group["key"], group["count"]) for group in found["groups"]] == [("2026-10-25", 2)]
    assert (found["start"], found["end"]) == ("2026-10-25T00:00:00+02:00", "2026-10-26T00:00:00+01:00")


def test_the_last_30_days_unless_asked_otherwise(alice: Person) -> None:
    chat = make_conversation(alice)
    give(alice, chat, stars=5), give(alice, chat, stars=1, at="2020-01-01T00:00+00:00")
    found = summary(alice)
    assert found["total"]["count"] == 1
    assert (datetime.fromisoformat(found["end"]) - datetime.fromisoformat(found["start"])).days == 30
    assert summary(alice, start="2020-01-01")["total"]["count"] == 2
    assert summary(alice, start="2020-01-01", end="2020-01-02", tz="UTC")["total"]["stars"]["1"] == 1


def test_whose(cast: Cast, dora: Person) -> None:
    """The rows are those of the list."""
    alice, bob, charlie = cast
    shared = make_conversation(alice, is_shared=True)
    give(alice, shared, stars=5), give(alice, shared, stars=4, is_public=True), give(bob, shared, stars=1)
    give(alice, make_conversation(alice), stars=3, is_public=True)
    counts = {who: summary(who, group_by="model")["total"]["count"] for who in (alice, bob, charlie, dora)}
    assert counts == {alice: 4, bob: 2, charlie: 0, dora: 4}


def test_a_tag_that_goes_meanwhile_is_left_out(alice: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the figures and the names."""
    gone = {new_id(): Figures(count=1)}
    monkeypatch.setattr(tag_usage, "feedback_by_tag", lambda rows, workspace_id: gone)
    assert summary(alice, group_by="tag")["groups"] == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("group_by", "user"), ("start", "yesterday"), ("start", "2120-01-01"), ("end", "2026-02-30"), ("tz", "Mars"),
        ("tz", "../UTC"), ("stars", "5"),
    ],
)  # fmt: skip
def test_what_is_not_understood_is_refused(alice: Person, name: str, value: str) -> None:
    said = "end" if value == "2120-01-01" else name
    assert_invalid(alice.get(SUMMARY, **{name: value}), said)


def test_a_fixed_number_of_queries(alice: Person, llm: LLM) -> None:
    """The token and the role; the total and the groups; and the names of agents."""

    def counts() -> dict[str, int]:
        found = {}
        for group_by in ("model", "agent", "day"):
            with CaptureQueriesContext(connection) as captured:
                summary(alice, group_by=group_by, start="2020-01-01")
            found[group_by] = len(captured)
        return found

    summary(alice)  # which notes the use of the token
    now = timezone.now()
    for number in range(4):
        agent = make_agent(alice, llm, name=f"Agent {number}")
        at = now.replace(year=2021 + number, day=1).isoformat()
        give(alice, make_conversation(alice, agent=agent), stars=3, model=f"a/{number}", at=at)
        assert counts() == {"model": 4, "agent": 5, "day": 4}
