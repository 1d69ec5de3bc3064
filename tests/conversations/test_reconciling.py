"""``reconcile_usage``: answers saved around the signal are metered after the fact, once."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from conversations.models import Conversation, Message
from conversations.reconciling import reconcile
from llm.models import LLM
from tests.books import assert_clean, broken
from tests.conversations.calling import answered, ask, followed, hold_of, logs, make_conversation, wallet
from tests.people import Person, fund

pytestmark = pytest.mark.django_db


@pytest.fixture
def conversation(alice: Person, llm: LLM) -> Conversation:
    fund(alice.workspace, "1")
    return make_conversation(alice)


def bulk_create(conversation: Conversation, llm: LLM, content: str = "x" * 40, **fields: Any) -> Message:
    message = Message(
        workspace=conversation.workspace,
        conversation=conversation,
        user=conversation.user,
        role="assistant",
        status="sent",
        content=content,
        llm=llm,
        **fields,
    )
    return Message.objects.bulk_create([message])[0]


def counts(report: Any) -> tuple[int, int, int]:
    return report.found, report.metered, report.failed


def test_an_answer_created_in_bulk_is_metered_once(alice: Person, conversation: Conversation, llm: LLM) -> None:
    message = bulk_create(conversation, llm)
    assert logs(alice) == []
    assert broken() == {"metered": 1}
    report = reconcile()
    assert counts(report) == (1, 1, 0)
    assert report.lines == [f"{message.pk}: metered, 10 tokens, charged 0.00002"]
    assert wallet(alice).balance == Decimal("0.99998")
    assert_clean()
    assert counts(reconcile()) == (0, 0, 0)
    assert len(logs(alice)) == 1


def test_the_last_attempt_counts_and_not_those_before_it(alice: Person, falling: Conversation) -> None:
    """The first attempt has its usage log; the second answered, and was saved around the signal."""
    two = followed(ask(alice, falling))
    Message.objects.filter(workspace=alice.workspace, pk=two.answer.pk).update(status="sent", content="x" * 40)
    assert set(broken()) == {"hold_message", "metered"}
    assert counts(reconcile()) == (1, 1, 0)
    assert [(log.attempt, log.status, log.charged_usd) for log in logs(alice)] == [
        (1, "error", Decimal(0)),
        # Estimated: 10 tokens in at $2 and 10 out at $4
        (2, "success", Decimal("0.00006")),
    ]
    assert hold_of(two).state == "settled"
    assert_clean()
    assert counts(reconcile()) == (0, 0, 0)


def test_a_dry_run_only_says_so(alice: Person, conversation: Conversation, llm: LLM) -> None:
    message = bulk_create(conversation, llm)
    report = reconcile(is_dry_run=True)
    assert counts(report) == (1, 0, 0)
    assert report.lines == [f"{message.pk}: not metered"]
    assert logs(alice) == []


def test_what_is_metered_or_not_final_or_nobodys_is_not_found(
    alice: Person, conversation: Conversation, llm: LLM
) -> None:
    answered(alice, conversation)
    ask(alice, conversation)
    bulk_create(conversation, None)  # type: ignore[arg-type]
    assert counts(reconcile()) == (0, 0, 0)


def test_an_open_call_finished_by_update_settles_its_hold(alice: Person, conversation: Conversation) -> None:
    admitted = ask(alice, conversation)
    rows = Message.objects.filter(workspace=alice.workspace, pk=admitted.answer.pk)
    rows.update(status="sent", content="x" * 40)
    assert broken() == {"hold_message": 1, "metered": 1}
    assert counts(reconcile()) == (1, 1, 0)
    hold = hold_of(admitted)
    # 10 tokens in, by the estimate of admission, and 10 out.
    assert (hold.state, hold.charged) == ("settled", Decimal("0.00003"))
    assert (wallet(alice).balance, wallet(alice).held) == (Decimal("0.99997"), Decimal(0))
    assert_clean()


def test_one_that_can_not_be_metered_does_not_stop_the_others(
    alice: Person, conversation: Conversation, llm: LLM
) -> None:
    unpriced = LLM.objects.create(
        provider="openai", name="unpriced", display_name="x", context_window=9, max_output_tokens=9
    )
    without_price = bulk_create(conversation, unpriced)
    broken_terms = bulk_create(conversation, llm, call={"terms": {"nonsense": 1}})
    good = bulk_create(conversation, llm)
    report = reconcile()
    assert counts(report) == (3, 1, 2)
    assert report.lines[0].startswith(f"{without_price.pk}: NoPrice openai/unpriced has no price at ")
    assert report.lines[1].startswith(f"{broken_terms.pk}: TypeError ")
    assert report.lines[2] == f"{good.pk}: metered, 10 tokens, charged 0.00002"
    assert [log.message_id for log in logs(alice)] == [good.pk]


def test_every_workspace_has_its_turn(alice: Person, charlie: Person, conversation: Conversation, llm: LLM) -> None:
    fund(charlie.workspace, "1")
    bulk_create(conversation, llm)
    bulk_create(make_conversation(charlie), llm)
    assert counts(reconcile()) == (2, 2, 0)
    assert (wallet(alice).balance, wallet(charlie).balance) == (Decimal("0.99998"), Decimal("0.99998"))
