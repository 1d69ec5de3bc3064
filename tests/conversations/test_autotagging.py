"""Rules look at answers in the background: what they set, once, whatever happens in between."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.utils import timezone

from conversations import autotagging
from conversations.models import Conversation, Message, MessageFeedback, UsageLog
from llm.models import LLM
from synapscale.common.errors import Refusal
from tagging import rules
from tagging.models import Tag, TagLink, TagRule
from tests.catalogue import make_llm
from tests.conversations.calling import ask, failed, make_conversation, sent, settle
from tests.house import house
from tests.people import Person, fund
from workspaces import system

__all__ = ["house"]
PORTUGUESE = "Qual é o melhor horário para visitar o museu no centro da cidade durante as férias de verão?"


@pytest.fixture
def chat(transactional_db: None, alice: Person, llm: LLM) -> Conversation:
    fund(alice.workspace, "1")
    return make_conversation(alice)


def run() -> str:
    return str(asyncio.run(autotagging.run_due()))


def tags_on(message: Message, state: str = "applied") -> set[str]:
    links = TagLink.objects.filter(workspace_id=message.workspace_id, target_id=message.pk, state=state)
    return set(links.values_list("tag__label", flat=True))


def rule(person: Person, condition: str, **fields: Any) -> TagRule:
    """The rule of this condition that comes with every workspace, switched on and set."""
    rules.ensure_builtin(person.workspace.pk)
    found = TagRule.objects.get(workspace=person.workspace, condition=condition, is_builtin=True)
    for name, value in {"is_active": True, **fields}.items():
        setattr(found, name, value)
    found.save()
    return found


def test_an_answer_is_looked_at_once_after_it_is_settled(chat: Conversation, alice: Person) -> None:
    message = settle(ask(alice, chat, "How do I sort a list?"), sent("Like this:\n```python\nsorted(rows)\n```"))
    assert tags_on(message) == set()  # nobody has looked yet, and nobody had to wait

    assert run() == "1 looked at, 0 failed"
    assert "has:code" in tags_on(message)
    assert run() == "0 looked at, 0 failed"


def test_what_the_rules_find(chat: Conversation, alice: Person) -> None:
    answered = settle(ask(alice, chat, PORTUGUESE), sent("De manhã cedo."))
    broken = settle(ask(alice, chat, "Hello"), failed())
    cut = settle(ask(alice, chat, "Hello"), sent("Hi", status="interrupted"))

    run()
    assert "language:pt" in tags_on(answered)
    assert "status:error" in tags_on(broken)
    assert "status:interrupted" in tags_on(cut)
    link = TagLink.objects.get(workspace=alice.workspace, target_id=broken.pk, tag__label="status:error")
    assert (link.origin, link.confidence_score, link.created_by) == ("rule", Decimal(1), None)
    assert Tag.objects.get(workspace=alice.workspace, label="status:error").is_system
    assert not Tag.objects.get(workspace=alice.workspace, label="language:pt").is_system


@pytest.mark.parametrize(
    ("condition", "told", "label"),
    [
        ("model", {}, "model:openai/openai-test"),
        ("model", {"models": ["openai/other"]}, None),
        ("length", {"over_tokens": 19}, "length:long"),
        ("length", {"over_tokens": 20}, None),
        ("cost", {"over_usd": "0.000049"}, "cost:high"),
        ("cost", {"over_usd": "0.00005"}, None),
    ],
)
def test_rules_that_are_off_until_somebody_wants_them(
    chat: Conversation, alice: Person, condition: str, told: dict[str, Any], label: str | None
) -> None:
    rule(alice, condition, settings=told)
    message = settle(ask(alice, chat), sent())  # 20 tokens, $0.00005
    run()
    assert tags_on(message) == ({label} if label else set())


@pytest.mark.parametrize(
    ("condition", "told", "kept"),
    [
        ("cost", {"over_usd": "0.10"}, {"over_usd": "0.10"}),
        ("cost", {"over_usd": "4000000.000000000001"}, {"over_usd": "4000000.000000000001"}),
        # Written out, this would be a gigabyte of noughts.
        ("cost", {"over_usd": "1E1000000000"}, None),
        ("cost", {"over_usd": "12345678"}, None),
        ("cost", {"over_usd": "0.0000000000001"}, None),
        ("cost", {"over_usd": "-1"}, None),
        ("cost", {"over_usd": "NaN"}, None),
        ("cost", {"over_usd": 1}, None),
        ("cost", {}, None),
        ("length", {"over_tokens": 0}, {"over_tokens": 0}),
        ("length", {"over_tokens": "5"}, None),
        ("length", {"over_tokens": True}, None),
        ("model", {"models": "openai/openai-test"}, None),
        ("model", {"models": [1]}, None),
    ],
)
def test_what_a_rule_can_be_told(condition: str, told: dict[str, Any], kept: dict[str, Any] | None) -> None:
    if kept is not None:
        assert rules.checked(condition, told) == kept
        return
    with pytest.raises(Refusal) as refused:
        rules.checked(condition, told)
    assert set(refused.value.details) == {"settings"}


def test_a_rule_with_a_tag_of_its_own_sets_that(chat: Conversation, alice: Person) -> None:
    mine = Tag.objects.create(workspace=alice.workspace, name="look", value="here")
    TagRule.objects.create(workspace=alice.workspace, name="Failures", condition="error", tag=mine)
    rule(alice, "error", is_active=False)
    message = settle(ask(alice, chat), failed())
    run()
    assert tags_on(message) == {"look:here"}


def test_the_threshold_parts_tags_from_suggestions(chat: Conversation, alice: Person) -> None:
    rule(alice, "error", confidence_score=Decimal("0.500"))
    first = settle(ask(alice, chat), failed())
    run()
    assert (tags_on(first), tags_on(first, "suggested")) == (set(), {"status:error"})

    alice.workspace.autotag_threshold = Decimal("0.500")
    alice.workspace.save(update_fields=["autotag_threshold"])
    second = settle(ask(alice, chat), failed())
    run()
    assert (tags_on(second), tags_on(second, "suggested")) == ({"status:error"}, set())


def test_negative_feedback_comes_and_goes_with_its_tag(chat: Conversation, alice: Person, bob: Person) -> None:
    message = settle(ask(alice, chat), sent())
    run()
    feedback = alice.post(f"conversations/{chat.pk}/messages/{message.pk}/feedback", {"stars": 1})
    assert feedback.status_code == 201
    run()
    assert tags_on(message) == {"feedback:negative"}

    assert alice.patch(f"conversations/{chat.pk}/messages/{message.pk}/feedback", {"stars": 5}).status_code == 200
    run()
    assert tags_on(message) == set()


def test_what_a_person_decided_stays(chat: Conversation, alice: Person) -> None:
    message = settle(ask(alice, chat), failed())
    run()
    (link,) = TagLink.objects.filter(workspace=alice.workspace, target_id=message.pk)
    assert alice.post(f"tag-links/{link.pk}/reject").json()["state"] == "rejected"

    autotagging.mark(message, event="answer")
    run()
    assert tags_on(message) == set()
    (row,) = alice.get("tag-rules", condition="error").json()["results"]
    assert (row["accepted"], row["rejected"], row["precision"]) == (0, 1, "0.000")


def test_a_workspace_that_wants_none_gets_none(chat: Conversation, alice: Person) -> None:
    alice.workspace.tags_automatically = False
    alice.workspace.save(update_fields=["tags_automatically"])
    message = settle(ask(alice, chat), failed())
    assert run() == "0 looked at, 0 failed"
    assert tags_on(message) == set()
    assert Message.objects.get(workspace=alice.workspace, pk=message.pk).autotag_due_at is None


def test_one_message_that_fails_keeps_no_other_waiting(
    chat: Conversation, alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, good = settle(ask(alice, chat, "bad"), sent()), settle(ask(alice, chat), failed())
    looked = autotagging.rules.evaluate

    def stumbling(active: Any, facts: Any, **options: Any) -> Any:
        if facts.question == "bad":
            raise RuntimeError("a rule has a bug")
        return looked(active, facts, **options)

    monkeypatch.setattr(autotagging.rules, "evaluate", stumbling)
    assert run() == "1 looked at, 1 failed"
    assert tags_on(good) == {"status:error"}
    due = Message.objects.get(workspace=alice.workspace, pk=bad.pk).autotag_due_at
    assert due is not None and due > timezone.now()  # later, not at once
    monkeypatch.undo()
    Message.objects.filter(workspace=alice.workspace, pk=bad.pk).update(autotag_due_at=timezone.now())
    assert run() == "1 looked at, 0 failed"


def test_feedback_on_an_old_answer_is_not_lost_to_one_failure(
    chat: Conversation, alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = settle(ask(alice, chat), sent())
    run()
    stored = Message.objects.filter(workspace=alice.workspace, pk=message.pk)
    stored.update(updated_at=timezone.now() - timedelta(days=30))
    assert alice.post(f"conversations/{chat.pk}/messages/{message.pk}/feedback", {"stars": 1}).status_code == 201

    def broken(*args: Any, **options: Any) -> Any:
        raise RuntimeError("a rule has a bug")

    monkeypatch.setattr(autotagging.rules, "evaluate", broken)
    assert run() == "0 looked at, 1 failed"
    due = stored.get().autotag_due_at
    assert due is not None
    assert timedelta(minutes=59) < due - timezone.now() <= timedelta(hours=1)
    monkeypatch.undo()
    stored.update(autotag_due_at=timezone.now())
    run()
    assert tags_on(message) == {"feedback:negative"}


def test_workspaces_take_turns_and_all_are_done(
    chat: Conversation, alice: Person, charlie: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(autotagging, "BATCH", 2)
    fund(charlie.workspace, "1")
    theirs = settle(ask(charlie, make_conversation(charlie)), failed())
    mine = [settle(ask(alice, chat), failed()) for _ in range(5)]
    assert run() == "6 looked at, 0 failed"
    assert all(tags_on(message) == {"status:error"} for message in [theirs, *mine])


def test_without_a_kept_content_there_is_nothing_to_read(transactional_db: None, alice: Person, llm: LLM) -> None:
    fund(alice.workspace, "1")
    alice.workspace.keeps_api_content = False
    alice.workspace.save(update_fields=["keeps_api_content"])
    message = settle(ask(alice, None, PORTUGUESE), sent("```x = 1```"))
    run()
    assert tags_on(message) == set()


def test_feedback_that_comes_while_rules_look_is_not_missed(
    chat: Conversation, alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = settle(ask(alice, chat), sent())
    looked = autotagging.rules.evaluate

    def meanwhile(*args: Any, **options: Any) -> Any:
        monkeypatch.undo()
        MessageFeedback.objects.create(workspace=alice.workspace, message=message, user=alice.user, thumb="down")
        autotagging.mark(message, event="feedback")
        return looked(*args, **options)

    monkeypatch.setattr(autotagging.rules, "evaluate", meanwhile)
    run()
    run()
    assert "feedback:negative" in tags_on(message)


# --- A model as the classifier ----------------------------------------------------------------------------------------


@pytest.fixture
def opinionated(chat: Conversation, alice: Person, house_keys: Any, settings: Any) -> Any:
    """The workspace asks a model for topics; the house's OpenAI key reaches the stand-in."""
    make_llm("openai", "sorter")
    settings.AUTOTAG_LLM = "openai/sorter"
    rule(alice, "llm_topic")
    rule(alice, "topic", is_active=False)
    return house_keys


def test_a_model_is_asked_on_the_system_s_account(opinionated: Any, chat: Conversation, alice: Person) -> None:
    opinionated.answer('{"topic": "health", "confidence": 0.93}')
    message = settle(ask(alice, chat, "I have had a headache for a week, which doctor should I see?"), sent())
    before = UsageLog.objects.filter(workspace=alice.workspace).count()

    run()
    link = TagLink.objects.get(workspace=alice.workspace, target_id=message.pk, tag__label="topic:health")
    assert (link.origin, link.confidence_score, link.state) == ("llm", Decimal("0.930"), "applied")
    assert UsageLog.objects.filter(workspace=alice.workspace).count() == before
    (log,) = UsageLog.objects.filter(workspace=system.WORKSPACE_ID)
    assert (log.status, log.charged_usd) == ("success", 0)
    assert log.cost_usd > 0
    kept = Message.objects.filter(workspace=system.WORKSPACE_ID).values_list("content", flat=True)
    assert set(kept) == {""}  # what Alice's users wrote is not kept there

    autotagging.mark(message, event="feedback")
    run()
    assert UsageLog.objects.filter(workspace=system.WORKSPACE_ID).count() == 1  # it was asked already
