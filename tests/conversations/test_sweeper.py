"""The sweeper: calls whose process died are finished, to the last digit, and nobody else's."""

from __future__ import annotations

import logging
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.utils import timezone

from billing import holds
from billing.models import Hold
from conversations import sweeper
from conversations.models import Conversation, Message
from llm.models import LLM
from tests.books import assert_clean
from tests.catalogue import make_llm
from tests.conversations.calling import (
    ask,
    checkpoint,
    hold_of,
    incidents,
    lapse,
    logs,
    make_conversation,
    sent,
    settle,
    wallet,
)
from tests.conversations.test_spool import crash_while_settling
from tests.people import Person, fund

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _books(db: None, caplog: pytest.LogCaptureFixture) -> Any:
    with caplog.at_level(logging.ERROR):
        yield
    assert_clean()


@pytest.fixture
def conversation(alice: Person, llm: LLM) -> Conversation:
    fund(alice.workspace, "1")
    return make_conversation(alice)


def reported(report: sweeper.SweepReport) -> tuple[int, int, int]:
    return report.replayed, report.interrupted, report.lost


def answer_of(admitted: Any) -> Message:
    return Message.objects.get(workspace_id=admitted.answer.workspace_id, pk=admitted.answer.pk)


def test_a_call_with_text_is_charged_for_what_had_arrived(alice: Person, conversation: Conversation) -> None:
    admitted = ask(alice, conversation)
    checkpoint(admitted, "Nine char", latency_ms=2000, time_to_first_token_ms=150)
    lapse(admitted)
    report = sweeper.sweep()
    assert reported(report) == (0, 1, 0)
    assert str(report) == "0 replayed, 1 interrupted, 0 lost"
    message = answer_of(admitted)
    assert (message.status, message.content, message.error_code) == ("interrupted", "Nine char", "interrupted")
    assert message.error_message == "The server stopped while this answer was being written."
    (log,) = logs(alice)
    # 10 tokens of prompt and 9 bytes of answer, estimated.
    assert (log.input_tokens, log.output_tokens, log.is_estimate, log.status) == (10, 3, True, "interrupted")
    assert (log.cost_usd, log.charged_usd) == (Decimal("0.000016"), Decimal("0.000016"))
    assert (log.latency_ms, log.time_to_first_token_ms) == (2000, 150)
    hold = hold_of(admitted)
    assert (hold.state, hold.charged) == ("expired", Decimal("0.000016"))
    purse = wallet(alice)
    assert (purse.balance, purse.held) == (Decimal("0.999984"), Decimal(0))


def test_what_the_provider_had_reported_is_used(alice: Person, conversation: Conversation) -> None:
    admitted = ask(alice, conversation)
    seen = {"input": 4, "cached_input": 2, "cache_write_5m": 0, "cache_write_1h": 0, "output": 1, "reasoning": 0}
    checkpoint(admitted, "Nine char", seen_usage=seen)
    lapse(admitted)
    sweeper.sweep()
    (log,) = logs(alice)
    assert (log.input_tokens, log.cached_input_tokens, log.output_tokens) == (4, 2, 3)
    assert log.charged_usd == Decimal("0.000012")


def test_a_call_of_which_nothing_arrived_is_lost_and_free(alice: Person, conversation: Conversation) -> None:
    make_llm("openai", "with-fee", price={"request_fee_usd": Decimal("0.01")})
    admitted = ask(alice, conversation, llm="openai/with-fee")
    holds.dispatch(workspace_id=alice.workspace.pk, hold_id=admitted.answer.hold_id)
    lapse(admitted)
    assert reported(sweeper.sweep()) == (0, 0, 1)
    message = answer_of(admitted)
    assert (message.status, message.content, message.error_code) == ("error", "", "lost")
    assert message.error_message == "The server stopped before any of the answer had arrived."
    (log,) = logs(alice)
    assert (log.status, log.cost_usd, log.charged_usd, log.total_tokens) == ("lost", Decimal(0), Decimal(0), 0)
    assert (hold_of(admitted).state, hold_of(admitted).charged) == ("expired", Decimal(0))
    purse = wallet(alice)
    assert (purse.balance, purse.held) == (Decimal("1"), Decimal(0))


def test_no_more_than_the_hold_is_charged(alice: Person, conversation: Conversation) -> None:
    admitted = ask(alice, conversation)
    checkpoint(admitted, "x" * 800)
    lapse(admitted)
    sweeper.sweep()
    assert (logs(alice)[0].cost_usd, logs(alice)[0].charged_usd) == (Decimal("0.00041"), Decimal("0.000219"))
    assert incidents(alice)[0].amount == Decimal("0.000191")


def test_a_call_under_way_is_left_alone(alice: Person, conversation: Conversation) -> None:
    admitted = ask(alice, conversation)
    checkpoint(admitted, "Still writing")
    assert reported(sweeper.sweep()) == (0, 0, 0)
    assert (hold_of(admitted).state, answer_of(admitted).status) == ("held", "streaming")
    settle(admitted, sent())
    assert wallet(alice).balance == Decimal("0.99995")


def test_without_regard_to_leases_every_open_call_is_finished(alice: Person, conversation: Conversation) -> None:
    admitted = ask(alice, conversation)
    assert reported(sweeper.sweep(ignores_leases=True)) == (0, 0, 1)
    assert hold_of(admitted).state == "expired"


def test_sweeping_again_finds_nothing(alice: Person, conversation: Conversation) -> None:
    admitted = ask(alice, conversation)
    lapse(admitted)
    sweeper.sweep()
    assert reported(sweeper.sweep()) == (0, 0, 0)
    assert reported(sweeper.sweep(ignores_leases=True)) == (0, 0, 0)
    assert len(logs(alice)) == 1


def test_a_lease_renewed_in_between_keeps_its_call(
    alice: Person, conversation: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    admitted = ask(alice, conversation)
    lapse(admitted)
    real = sweeper._finish_one

    def renew_first(hold: Hold, ignores_leases: bool) -> str | None:
        holds.renew(workspace_id=hold.workspace_id, hold_id=hold.pk)
        return real(hold, ignores_leases)

    monkeypatch.setattr(sweeper, "_finish_one", renew_first)
    assert reported(sweeper.sweep()) == (0, 0, 0)
    assert hold_of(admitted).state == "held"
    settle(admitted, sent())


def test_a_call_settled_in_between_stays_settled(
    alice: Person, conversation: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    admitted = ask(alice, conversation)
    lapse(admitted)
    real = sweeper._finish_one

    def settle_first(hold: Hold, ignores_leases: bool) -> str | None:
        settle(admitted, sent())
        return real(hold, ignores_leases)

    monkeypatch.setattr(sweeper, "_finish_one", settle_first)
    assert reported(sweeper.sweep()) == (0, 0, 0)
    assert logs(alice)[0].status == "success"


def test_a_hold_without_a_message_is_given_back(alice: Person, conversation: Conversation) -> None:
    """Admission writes both in one transaction, so this takes a mishap; the money comes back all the same."""
    purse = wallet(alice)
    hold = holds.open_hold(wallet=purse, user_id=alice.user.pk, amount=Decimal("0.25"))
    holds.reserve(wallet=purse, amount=Decimal("0.25"))
    Hold.objects.filter(workspace=alice.workspace).update(lease_until=timezone.now() - timedelta(seconds=1))
    assert reported(sweeper.sweep()) == (0, 0, 1)
    hold.refresh_from_db()
    assert (hold.state, hold.charged, wallet(alice).held) == ("expired", Decimal(0), Decimal(0))


def test_an_answer_that_was_finished_around_the_signal_is_metered_as_it_stands(
    alice: Person, conversation: Conversation
) -> None:
    """Not overwritten as interrupted: it is complete."""
    admitted = ask(alice, conversation)
    Message.objects.filter(workspace=alice.workspace, pk=admitted.answer.pk).update(status="sent", content="Complete")
    lapse(admitted)
    assert str(sweeper.sweep()) == "0 replayed, 0 interrupted, 0 lost, 1 metered"
    message = answer_of(admitted)
    assert (message.status, message.content, message.error_code) == ("sent", "Complete", "")
    (log,) = logs(alice)
    assert (log.status, log.output_tokens, log.is_estimate) == ("success", 2, True)
    assert hold_of(admitted).state == "settled"


def test_it_goes_on_after_a_call_that_can_not_be_finished(
    alice: Person, conversation: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = ask(alice, conversation), ask(alice, conversation)
    lapse(first)
    lapse(second)
    real = sweeper._save_as_swept

    def fail(message: Message) -> str:
        if message.pk == first.answer.pk:
            raise RuntimeError("broken")
        return real(message)

    with monkeypatch.context() as patch:
        patch.setattr(sweeper, "_save_as_swept", fail)
        assert reported(sweeper.sweep()) == (0, 0, 1)
    assert (hold_of(first).state, hold_of(second).state) == ("held", "expired")
    assert reported(sweeper.sweep()) == (0, 0, 1)


def test_more_calls_than_a_batch_are_all_finished(
    alice: Person, conversation: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when the first batch is all calls that can't be: they must not stand before the others for ever."""
    calls = [ask(alice, conversation) for _ in range(5)]
    for admitted in calls:
        lapse(admitted)
    monkeypatch.setattr(sweeper, "_BATCH", 2)
    real, stuck = sweeper._save_as_swept, {admitted.answer.pk for admitted in calls[:2]}

    def fail(message: Message) -> str:
        if message.pk in stuck:
            raise RuntimeError("broken")
        return real(message)

    with monkeypatch.context() as patch:
        patch.setattr(sweeper, "_save_as_swept", fail)
        assert reported(sweeper.sweep()) == (0, 0, 3)
    assert reported(sweeper.sweep()) == (0, 0, 2)


def test_every_workspace_has_its_turn(alice: Person, charlie: Person, conversation: Conversation) -> None:
    fund(charlie.workspace, "1")
    calls = [ask(alice, conversation), ask(charlie, make_conversation(charlie))]
    for admitted in calls:
        lapse(admitted)
    assert reported(sweeper.sweep()) == (0, 0, 2)
    assert [hold_of(admitted).state for admitted in calls] == ["expired", "expired"]


def test_a_complete_answer_in_the_spool_goes_before(
    alice: Person, conversation: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    admitted = ask(alice, conversation)
    checkpoint(admitted, "Half")
    crash_while_settling(monkeypatch, admitted, sent("Half and whole"))
    lapse(admitted)
    assert reported(sweeper.sweep()) == (1, 0, 0)
    assert answer_of(admitted).content == "Half and whole"
    assert logs(alice)[0].status == "success"


# --- After an outage --------------------------------------------------------------------------------------------------


def of_another_machine(admitted: Any) -> None:
    Hold.objects.filter(workspace_id=admitted.answer.workspace_id).update(owner="elsewhere:1:2:3")
    lapse(admitted)


@pytest.fixture
def settled_down(monkeypatch: pytest.MonkeyPatch) -> None:
    """The database has been there for long, as far as it says itself."""
    monkeypatch.setattr(sweeper, "_database_age", lambda: 1e9)


@pytest.mark.usefixtures("settled_down")
def test_calls_of_other_machines_are_left_alone_until_the_database_has_been_back_for_a_while(
    alice: Person, conversation: Conversation, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    settings.HOLD_LEASE_SECONDS = 60
    admitted = ask(alice, conversation)
    of_another_machine(admitted)
    now = [1000.0]
    monkeypatch.setattr(sweeper.time, "monotonic", lambda: now[0])

    with monkeypatch.context() as patch:

        def away(**_: Any) -> None:
            raise OperationalError("the database is away")

        patch.setattr(holds, "abandoned", away)
        with pytest.raises(OperationalError):
            sweeper.sweep()
    now[0] += 89.9
    assert reported(sweeper.sweep()) == (0, 0, 0)
    assert hold_of(admitted).state == "held"
    now[0] += 0.2
    assert reported(sweeper.sweep()) == (0, 0, 1)


def test_so_are_they_when_the_database_has_just_started(
    alice: Person, conversation: Conversation, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    settings.HOLD_LEASE_SECONDS = 60
    admitted = ask(alice, conversation)
    of_another_machine(admitted)
    for age, swept in ((89.9, (0, 0, 0)), (90, (0, 0, 1))):
        monkeypatch.setattr(sweeper, "_database_age", lambda age=age: age)
        assert reported(sweeper.sweep()) == swept


def test_how_long_the_database_runs_is_asked_of_it() -> None:
    age = sweeper._database_age()
    assert age > 0
    assert (age < 86_400) == (connection.vendor == "postgresql")
