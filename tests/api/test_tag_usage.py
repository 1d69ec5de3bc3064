"""What carries a tag costs, on which models, and how it was liked: each call once, to the last digit."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.utils import timezone

from conversations.models import Conversation, Message, MessageFeedback, UsageLog
from llm.models import LLM
from tagging import links
from tagging.models import Tag, TagLink
from tests.api.asking import assert_invalid, error_of
from tests.conversations.calling import ask, failed, make_conversation, sent, settle
from tests.house import house
from tests.people import Cast, Person, fund

__all__ = ["house"]
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def chat(cast: Cast, llm: LLM) -> Conversation:
    fund(cast.alice.workspace, "1")
    return make_conversation(cast.alice)


def make_tag(person: Person, name: str, value: str = "") -> Tag:
    return Tag.objects.create(workspace=person.workspace, name=name, value=value)


def put(person: Person, tag: Tag, kind: str, row: Any) -> None:
    links.put([tag], [links.Target(kind, row.pk)], workspace_id=person.workspace.pk, user=person.user)


def answered(person: Person, chat: Conversation, **fields: Any) -> Message:
    """A call of 10 tokens in and 20 out: $0.00005 by the price of ``make_llm()``."""
    return settle(ask(person, chat, **fields), sent())


def test_a_call_counts_for_a_tag_on_whatever_it_belongs_to(chat: Conversation, alice: Person) -> None:
    message = answered(alice, chat)
    answered(alice, make_conversation(alice))  # somewhere else
    targets = {
        "answer": ("message", message),
        "question": ("message", message.reply_to),
        "talk": ("conversation", chat),
        "user": ("user", alice.user),
        "space": ("workspace", alice.workspace),
    }
    for name, (kind, row) in targets.items():
        put(alice, make_tag(alice, name), kind, row)
    costs = {name: alice.get(f"tags/{name}/usage").json() for name in targets}
    assert {name: (found["calls"], found["cost"]) for name, found in costs.items()} == {
        "answer": (1, "0.00005"),
        "question": (1, "0.00005"),
        "talk": (1, "0.00005"),
        "user": (2, "0.0001"),
        "space": (2, "0.0001"),
    }


def test_the_whole_answer(chat: Conversation, alice: Person, bob: Person) -> None:
    acme = make_tag(alice, "customer", "acme")
    put(alice, acme, "conversation", chat)
    cheap = [answered(alice, chat) for _ in range(2)]
    failing = settle(ask(alice, chat), failed())
    MessageFeedback.objects.create(workspace=alice.workspace, message=cheap[0], user=alice.user, thumb="up", stars=5)
    MessageFeedback.objects.create(workspace=alice.workspace, message=cheap[1], user=alice.user, stars=2)
    MessageFeedback.objects.create(workspace=alice.workspace, message=failing, user=bob.user, category="other")

    found = alice.get("tags/customer:acme/usage", tz="America/Sao_Paulo").json()
    liked = {
        "count": 3,
        "up": 1,
        "down": 0,
        "negative": 1,
        "average_stars": "3.50",
        "stars": {"1": 0, "2": 1, "3": 0, "4": 0, "5": 1},
        "categories": {"helpful": 0, "accurate": 0, "creative": 0, "unsafe": 0, "wrong": 0, "other": 1},
        "satisfaction": "0.500",
    }
    sums = {
        "calls": 3,
        "failed": 1,
        "input_tokens": 20,
        "output_tokens": 40,
        "total_tokens": 60,
        "cost": "0.0001",
        "provider_cost": "0.0001",
        "feedback": liked,
    }
    assert found.pop("start") < found.pop("end")
    assert found == {
        "tag": {"id": str(acme.pk), "label": "customer:acme", "category": ""},
        "tz": "America/Sao_Paulo",
        "of": "workspace",
        **sums,
        "models": [{"model": "openai/openai-test", **sums}],
    }
    assert alice.get(f"tags/{acme.pk}/usage").json()["cost"] == "0.0001"


def test_a_call_with_two_tags_counts_once_in_the_total(chat: Conversation, alice: Person) -> None:
    one, two, none = (make_tag(alice, "customer", value) for value in ("one", "two", "none"))
    both, only = answered(alice, chat), answered(alice, chat)
    for tag, message in ((one, both), (two, both), (two, only)):
        put(alice, tag, "message", message)
    put(alice, two, "conversation", chat)
    MessageFeedback.objects.create(workspace=alice.workspace, message=both, user=alice.user, thumb="down")

    found = alice.get("tags/usage", tag="customer:*").json()
    rows = [(row["tag"]["label"], row["calls"], row["cost"], row["feedback"]["down"]) for row in found["tags"]]
    assert rows == [
        ("customer:two", 2, "0.0001", 1),
        ("customer:one", 1, "0.00005", 1),
        ("customer:none", 0, "0.00", 0),
    ]
    assert none.label == "customer:none"
    assert (found["total"]["calls"], found["total"]["cost"]) == (2, "0.0001")
    assert (found["total"]["feedback"]["count"], found["total"]["feedback"]["down"]) == (1, 1)
    assert [(row["model"], row["calls"]) for row in found["models"]] == [("openai/openai-test", 2)]
    assert found["is_complete"] is True
    assert alice.get("tags/usage", tag=["customer:one", "customer:none"]).json()["total"]["calls"] == 1
    assert alice.get("tags/usage", tag="nobody:*").json()["tags"] == []


def test_the_window_is_half_open_and_of_the_calls(chat: Conversation, alice: Person) -> None:
    put(alice, make_tag(alice, "t"), "conversation", chat)
    answered(alice, chat)
    at = UsageLog.objects.get(workspace=alice.workspace).created_at

    def calls(start: datetime, end: datetime) -> int:
        return alice.get("tags/t/usage", start=start.isoformat(), end=end.isoformat()).json()["calls"]

    instant = timedelta(microseconds=1)
    assert calls(at, at + instant) == 1
    assert calls(at - instant, at) == 0
    assert calls(at + instant, at + 2 * instant) == 0


def test_only_what_is_set_counts(chat: Conversation, alice: Person) -> None:
    """Neither suggestions nor what was rejected."""
    from tagging.models import TagRule

    tag, message = make_tag(alice, "t"), answered(alice, chat)
    rule = TagRule.objects.create(workspace=alice.workspace, name="r", condition="error")
    link = TagLink.objects.create(
        workspace=alice.workspace,
        tag=tag,
        target_type="message",
        target_id=message.pk,
        state="suggested",
        origin="rule",
        rule=rule,
        confidence_score=Decimal("0.5"),
    )
    assert alice.get("tags/t/usage").json()["calls"] == 0
    assert alice.post(f"tag-links/{link.pk}/reject").status_code == 200
    assert alice.get("tags/t/usage").json()["calls"] == 0
    assert alice.post(f"tag-links/{link.pk}/accept").status_code == 200
    assert alice.get("tags/t/usage").json()["calls"] == 1


def test_members_see_what_is_theirs_and_strangers_nothing(
    chat: Conversation, alice: Person, bob: Person, charlie: Person
) -> None:
    tag = make_tag(alice, "t")
    put(alice, tag, "workspace", alice.workspace)
    answered(alice, chat)
    answered(bob, make_conversation(bob))
    assert [(person.get("tags/t/usage").json()[key]) for person in (alice, bob) for key in ("of", "calls")] == [
        "workspace",
        2,
        "user",
        1,
    ]
    assert bob.get("tags/usage", tag="t").json()["total"]["calls"] == 1
    for key in ("t", tag.pk):
        error_of(charlie.get(f"tags/{key}/usage"), 404, "not_found")
    theirs = make_tag(charlie, "t")
    put(charlie, theirs, "workspace", charlie.workspace)
    assert charlie.get("tags/t/usage").json()["calls"] == 0


def test_members_are_told_no_feedback_that_others_keep_to_themselves(
    chat: Conversation, alice: Person, bob: Person
) -> None:
    talk = make_conversation(bob)
    put(bob, make_tag(bob, "t"), "conversation", talk)
    message, other = answered(bob, talk), answered(bob, talk)
    for feedback in (
        MessageFeedback(message=message, user=alice.user, stars=1),
        MessageFeedback(message=other, user=alice.user, thumb="down", is_public=True),
        MessageFeedback(message=message, user=bob.user, thumb="up"),
    ):
        feedback.workspace = alice.workspace
        feedback.save()

    def told(person: Person) -> list[tuple[int, int]]:
        one, many = person.get("tags/t/usage").json(), person.get("tags/usage", tag="t").json()
        figures = (one, one["models"][0], many["total"], many["models"][0], many["tags"][0])
        return [(found["feedback"]["count"], found["feedback"]["negative"]) for found in figures]

    assert told(alice) == [(3, 2)] * 5
    assert told(bob) == [(2, 1)] * 5


def test_what_is_asked_wrongly(alice: Person) -> None:
    make_tag(alice, "t")
    assert_invalid(alice.get("tags/t/usage", start="yesterday"), "start")
    assert_invalid(alice.get("tags/t/usage", tz="Mars/Base"), "tz")
    assert_invalid(alice.get("tags/t/usage", month="10"), "month")
    assert_invalid(alice.get("tags/t/usage", start="2026-02-01", end="2026-02-01"), "end")
    assert_invalid(alice.get("tags/usage"), "tag")
    assert_invalid(alice.get("tags/usage", tag="a,b"), "tag")
    assert_invalid(alice.get("tags/usage", tag=[f"t:{number}" for number in range(11)]), "tag")
    assert alice.get("tags/usage", tag=["t"] * 11).status_code == 200  # the same, said often
    error_of(alice.get("tags/nobody/usage"), 404, "not_found")


def test_queries_do_not_grow_with_calls_and_tags(
    chat: Conversation, alice: Person, django_assert_num_queries: Any
) -> None:
    for number in range(3):
        tag = make_tag(alice, "t", str(number))
        put(alice, tag, "conversation", chat)
        answered(alice, chat)
    with django_assert_num_queries(
        8
    ):  # token, its use, membership, tag, calls, models' names, feedback by model, in all
        assert alice.get("tags/t:1/usage").json()["calls"] == 3
    with django_assert_num_queries(10):
        assert len(alice.get("tags/usage", tag="t:*").json()["tags"]) == 3


def test_the_sum_over_customers_is_the_ledger_s(chat: Conversation, alice: Person) -> None:
    """Where every call has one customer, what they cost together is what the wallet paid."""
    customers = [make_tag(alice, "customer", name) for name in ("a", "b", "c")]
    for number in range(9):
        put(alice, customers[number % 3], "message", answered(alice, chat))
    found = alice.get("tags/usage", tag="customer:*", end=(timezone.now() + timedelta(days=1)).isoformat()).json()
    paid = sum(log.charged_usd for log in UsageLog.objects.filter(workspace=alice.workspace))
    assert sum(Decimal(row["cost"]) for row in found["tags"]) == Decimal(found["total"]["cost"]) == paid


def test_feedback_by_tag(chat: Conversation, alice: Person, bob: Person, django_assert_num_queries: Any) -> None:
    """Feedback on an answer with two tags is in both; the total has it once."""
    one, two = make_tag(alice, "t", "one"), make_tag(alice, "t", "two")
    first, second = answered(alice, chat), answered(alice, chat)
    put(alice, one, "conversation", chat)
    put(alice, two, "message", first.reply_to)
    MessageFeedback.objects.create(workspace=alice.workspace, message=first, user=alice.user, thumb="up")
    MessageFeedback.objects.create(workspace=alice.workspace, message=first, user=bob.user, stars=1)
    MessageFeedback.objects.create(workspace=alice.workspace, message=second, user=alice.user, category="wrong")
    alice.get("feedback/summary")  # notes the token's use
    with django_assert_num_queries(5):  # token, membership, total, pairs, labels
        found = alice.get("feedback/summary", group_by="tag").json()
    assert (found["total"]["count"], found["total"]["negative"]) == (3, 2)
    rows = [(row["key"], row["name"], row["count"], row["up"], row["negative"]) for row in found["groups"]]
    assert rows == [(str(one.pk), "t:one", 3, 1, 2), (str(two.pk), "t:two", 2, 1, 1)]
