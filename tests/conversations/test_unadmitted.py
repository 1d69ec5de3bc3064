"""Answers that never passed admission (imported, or saved by a script): charged by the rules of now, from what is there."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import pytest

from billing.models import HoldIncident, Wallet
from conversations.models import Conversation, Message
from llm.models import LLM
from tests.books import assert_clean
from tests.conversations.calling import ask, incidents, logs, make_conversation, sent, settle, wallet
from tests.people import Person, fund

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _books(db: None) -> Iterator[None]:
    yield
    assert_clean()


@pytest.fixture
def conversation(alice: Person, llm: LLM) -> Conversation:
    fund(alice.workspace, "1")
    return make_conversation(alice)


def unadmitted(person: Person, conversation: Conversation, llm: LLM, content: str) -> Message:
    return Message.objects.create(
        workspace=person.workspace,
        conversation=conversation,
        user=person.user,
        role="assistant",
        status="sent",
        content=content,
        llm=llm,
        model_used=str(llm),
    )


def test_an_answer_without_a_hold_is_charged_by_the_rules_of_now(
    alice: Person, conversation: Conversation, llm: LLM
) -> None:
    Wallet.objects.filter(workspace=alice.workspace).update(markup_bps=10_000)
    message = unadmitted(alice, conversation, llm, "x" * 401)
    (log,) = logs(alice)
    assert (log.input_tokens, log.output_tokens, log.is_estimate, log.status) == (0, 101, True, "success")
    assert (log.cost_usd, log.charged_usd, log.markup_bps) == (Decimal("0.000202"), Decimal("0.000404"), 10_000)
    assert (log.hold, log.price, log.priced_at) == (None, llm.prices.get(), message.created_at)
    assert wallet(alice).balance == Decimal("0.999596")
    conversation.refresh_from_db()
    assert conversation.message_count == 1


def test_it_takes_what_is_available_and_the_rest_is_the_houses(alice: Person, llm: LLM) -> None:
    fund(alice.workspace, "0.0001")
    conversation = make_conversation(alice)
    message = unadmitted(alice, conversation, llm, "x" * 400)
    (log,) = logs(alice)
    assert (log.cost_usd, log.charged_usd) == (Decimal("0.0002"), Decimal("0.0001"))
    (incident,) = incidents(alice)
    assert (incident.kind, incident.amount, incident.hold) == (HoldIncident.Kind.OVERRUN, Decimal("0.0001"), None)
    assert incident.detail == f"message {message.pk} had no hold"
    assert wallet(alice).balance == Decimal(0)


def test_it_leaves_alone_what_is_held_for_others(alice: Person, llm: LLM) -> None:
    fund(alice.workspace, "0.0003")
    conversation = make_conversation(alice)
    admitted = ask(alice, conversation)
    unadmitted(alice, conversation, llm, "x" * 400)
    assert logs(alice)[0].charged_usd == Decimal("0.000081")
    settle(admitted, sent())
    assert wallet(alice).balance == Decimal("0.000169")


def test_with_nothing_available_it_is_metered_for_free(alice: Person, llm: LLM) -> None:
    unadmitted(alice, make_conversation(alice), llm, "x" * 4)
    (log,) = logs(alice)
    assert (log.cost_usd, log.charged_usd, log.billing_event) == (Decimal("0.000002"), Decimal(0), None)
    assert incidents(alice)[0].amount == Decimal("0.000002")
