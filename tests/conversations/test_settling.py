"""Settling: the end of a call is saved once, whoever brings it and however often."""

from __future__ import annotations

import threading
from decimal import Decimal

import pytest
from django.db import connection

from billing.models import HoldIncident
from conversations import sweeper
from conversations.models import Conversation, Message
from llm.models import LLM
from llm.types import ToolCall
from tests.books import assert_clean
from tests.conversations.calling import (
    ask,
    checkpoint,
    events,
    failed,
    hold_of,
    incidents,
    lapse,
    logs,
    make_conversation,
    sent,
    settle,
    settle_spooled,
    wallet,
)
from tests.people import Person, fund

pytestmark = pytest.mark.django_db


@pytest.fixture
def conversation(alice: Person, llm: LLM) -> Conversation:
    fund(alice.workspace, "1")
    return make_conversation(alice)


def test_the_message_says_how_the_call_ended(alice: Person, conversation: Conversation) -> None:
    admitted = ask(alice, conversation)
    checkpoint(admitted, "Hal")
    calls = (ToolCall(id="c1", name="look", arguments='{"q": 1}', signature="s"),)
    outcome = sent("Hallo", tool_calls=calls, finish_reason="tool_calls", latency_ms=900, status_code=200)
    message = settle(admitted, outcome)
    message.refresh_from_db()
    assert (message.status, message.content, message.finish_reason) == ("sent", "Hallo", "tool_calls")
    assert message.tool_calls == [{"id": "c1", "name": "look", "arguments": '{"q": 1}', "signature": "s"}]
    assert (message.processing_time_ms, message.tokens_used) == (900, 30)
    assert "checkpoint" not in message.call
    assert message.call["outcome"]["content"] == ""
    assert message.call["terms"]["prompt_tokens"] == 10


def test_settling_again_changes_nothing(alice: Person, conversation: Conversation) -> None:
    admitted = ask(alice, conversation)
    settle(admitted, sent("First"))
    again = settle(admitted, sent("Second", usage={"input": 9, "output": 9}))
    assert again.content == "First"
    assert (len(logs(alice)), len(events(alice)), incidents(alice)) == (1, 2, [])
    assert wallet(alice).balance == Decimal("0.99995")
    assert_clean()


def test_an_answer_that_comes_after_the_sweep_is_noted_and_not_charged(
    alice: Person, conversation: Conversation
) -> None:
    admitted = ask(alice, conversation)
    checkpoint(admitted, "Part")
    lapse(admitted)
    sweeper.sweep()
    message = settle(admitted, sent("Part and the rest"))
    assert (message.status, message.content) == ("interrupted", "Part")
    (incident,) = incidents(alice)
    assert (incident.kind, incident.hold) == (HoldIncident.Kind.LATE_RESULT, hold_of(admitted))
    # Worth $0.00005, of which $0.000012 (10 in, 1 out) was paid.
    assert incident.amount == Decimal("0.000038")
    assert incident.detail == f"message {message.pk}: an answer of 17 bytes came after its lease had run out"
    assert logs(alice)[0].charged_usd == Decimal("0.000012")
    settle(admitted, sent("Part and the rest"))
    assert len(incidents(alice)) == 1
    assert_clean()


def test_a_failure_that_comes_after_the_sweep_is_no_incident(alice: Person, conversation: Conversation) -> None:
    admitted = ask(alice, conversation)
    lapse(admitted)
    sweeper.sweep()
    settle(admitted, failed())
    assert incidents(alice) == []


def test_an_answer_that_breaks_off_is_charged_as_an_estimate(alice: Person, conversation: Conversation) -> None:
    admitted = ask(alice, conversation)
    message = settle(admitted, sent("Half an ans", status="interrupted", usage=None, error_code="stream_cut"))
    assert message.status == "interrupted"
    settle(admitted, sent())
    (log,) = logs(alice)
    assert log.status == "interrupted"
    assert hold_of(admitted).state == "settled"
    assert incidents(alice) == []
    assert_clean()


def test_what_no_column_takes_is_left_out_and_the_answer_is_kept(alice: Person, conversation: Conversation) -> None:
    """A provider may send NUL and lone surrogates escaped in JSON, and an error of any length. PostgreSQL stores none
    of them, and losing the whole answer over one of them would be worse.
    """
    admitted = ask(alice, conversation)
    outcome = sent(
        "a\x00b\ud800c",
        tool_calls=(ToolCall(id="1\x00", name="f\udfff", arguments='{"a": "\x00\ud83d"}'),),
        finish_reason="f" * 50,
        error_code="c" * 100,
        error_message="\x00" + "e" * 1000,
        provider_request_id="r\x00" * 300,
    )
    message = settle_spooled(admitted, outcome)
    message.refresh_from_db()
    assert message.content == "ab?c"
    assert message.tool_calls == [{"id": "1", "name": "f?", "arguments": '{"a": "?"}', "signature": ""}]
    assert (message.finish_reason, message.error_code, message.error_message) == ("f" * 20, "c" * 60, "e" * 500)
    (log,) = logs(alice)
    assert (log.error_message, log.provider_request_id) == ("e" * 500, "r" * 200)


def test_another_workspaces_message_is_not_found(alice: Person, charlie: Person, conversation: Conversation) -> None:
    from conversations import settling

    admitted = ask(alice, conversation)
    with pytest.raises(Message.DoesNotExist):
        settling.settle(workspace_id=charlie.workspace.pk, message_id=admitted.answer.pk, outcome=sent())


@pytest.mark.django_db(transaction=True)
def test_ten_settle_and_sweep_the_same_call_at_once(alice: Person, conversation: Conversation) -> None:
    admitted = ask(alice, conversation)
    lapse(admitted)
    barrier, errors = threading.Barrier(10), []

    def finish(number: int) -> None:
        barrier.wait()
        try:
            settle(admitted, sent()) if number % 2 else sweeper.sweep()
        except Exception as error:
            errors.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=finish, args=(number,)) for number in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    (log,) = logs(alice)
    settled = (log.status, hold_of(admitted).state, log.charged_usd)
    assert settled in {("success", "settled", Decimal("0.00005")), ("lost", "expired", Decimal(0))}
    assert wallet(alice).balance == Decimal("1") - log.charged_usd
    assert_clean()
