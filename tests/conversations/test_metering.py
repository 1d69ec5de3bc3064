"""Metering: a final answer becomes usage, a charge and statistics, once, in the transaction that saves it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from django.db import connection, transaction
from django.db.models.signals import post_save
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from billing import ledger
from billing.models import Hold, Wallet
from conversations import receivers
from conversations.metering import meter_message
from conversations.models import Conversation, ConversationLLM, Message, UsageLog
from llm.models import LLM, LLMPrice
from llm.types import Usage
from tests.books import assert_clean
from tests.catalogue import make_llm
from tests.conversations.calling import (
    HELD,
    answered,
    ask,
    events,
    failed,
    hold_of,
    incidents,
    logs,
    make_conversation,
    sent,
    settle,
    wallet,
)
from tests.people import Person, fund
from workspaces.models import UserVariable

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _books(db: None) -> Any:
    yield
    assert_clean()


@pytest.fixture
def conversation(alice: Person, llm: LLM) -> Conversation:
    fund(alice.workspace, "1")
    return make_conversation(alice)


def own_key(person: Person, *, of_workspace: bool = False) -> None:
    owner = {"workspace": person.workspace} if of_workspace else {"user": person.user}
    variable = UserVariable(**owner, category="api_key", name="openai")
    variable.set_value("sk-own-0123456789")
    variable.save()


# --- The whole of it ------------------------------------------------------------------------------------------------


def test_an_answer_is_metered_to_the_last_digit(alice: Person, conversation: Conversation, llm: LLM) -> None:
    admitted = ask(alice, conversation)
    assert wallet(alice).held == Decimal(HELD)
    usage = {
        "input": 7,
        "cached_input": 5,
        "cache_write_5m": 3,
        "cache_write_1h": 2,
        "output": 11,
        "reasoning": 13,
    }
    message = settle(
        admitted,
        sent(
            usage=usage,
            latency_ms=1234,
            time_to_first_token_ms=56,
            status_code=200,
            provider_request_id="req_" + "x" * 300,
        ),
    )
    (log,) = logs(alice)
    # 17 tokens in at $1 and 24 out at $2 per million.
    cost = Decimal("0.000065")
    assert (log.cost_usd, log.charged_usd, log.markup_bps, log.is_estimate) == (cost, cost, 0, False)
    assert (log.input_tokens, log.cached_input_tokens) == (7, 5)
    assert (log.cache_write_5m_tokens, log.cache_write_1h_tokens) == (3, 2)
    assert (log.output_tokens, log.reasoning_tokens, log.total_tokens) == (11, 13, 41)
    assert (log.message, log.conversation, log.user, log.llm) == (message, conversation, alice.user, llm)
    assert (log.price, log.priced_at) == (llm.prices.get(), message.priced_at)
    assert (log.hold, log.attempt, log.status) == (hold_of(admitted), 1, "success")
    assert (log.latency_ms, log.time_to_first_token_ms, log.api_status_code) == (1234, 56, 200)
    assert (log.key_source, log.user_api_key_used) == ("global", False)
    assert log.provider_request_id == "req_" + "x" * 196
    assert log.model_settings == {"max_tokens": 100}
    assert message.tokens_used == 41

    hold = hold_of(admitted)
    assert (hold.state, hold.charged) == ("settled", cost)
    event = events(alice)[-1]
    assert (event.event_type, event.amount_usd, event.balance_after, event.seq) == (
        "usage",
        -cost,
        Decimal("0.999935"),
        2,
    )
    assert (event.hold, event.user, event.reference) == (hold, alice.user, f"message:{message.pk}:1")
    assert event.description == "openai/openai-test, 41 tokens"
    assert event.metadata == {"usage_log": str(log.pk), "message": str(message.pk)}
    assert log.billing_event == event
    assert list(event.usage_logs.all()) == [log]
    purse = wallet(alice)
    assert (purse.balance, purse.held) == (Decimal("0.999935"), Decimal(0))


def test_statistics_are_the_sums_of_the_calls(alice: Person, conversation: Conversation, llm: LLM) -> None:
    other = make_llm("openai", "other", price={"input_usd_per_mtok": Decimal("3"), "output_usd_per_mtok": Decimal("5")})
    answered(alice, conversation, usage={"input": 10, "cached_input": 1, "output": 20, "reasoning": 2})
    last = answered(alice, conversation, usage={"input": 30, "output": 40})
    answered(alice, conversation, usage={"input": 1, "output": 1}, llm="openai/other")
    settle(ask(alice, conversation), failed())
    rows = {row.llm: row for row in ConversationLLM.objects.filter(workspace=alice.workspace)}
    row = rows[llm]
    assert (row.message_count, row.input_tokens, row.output_tokens) == (3, 41, 62)
    assert row.total_cost == Decimal("0.000165")
    assert row.first_used_at < row.last_used_at
    assert (rows[other].message_count, rows[other].total_cost) == (1, Decimal("0.000008"))
    assert rows[other].first_used_at == rows[other].last_used_at
    conversation.refresh_from_db()
    assert (conversation.message_count, conversation.total_tokens) == (8, 105)
    assert conversation.total_cost == Decimal("0.000173")
    assert conversation.last_message_at == row.last_used_at > last.created_at


def test_a_markup_is_charged_and_the_cost_stays_the_providers(alice: Person, conversation: Conversation) -> None:
    Wallet.objects.filter(workspace=alice.workspace).update(markup_bps=333)
    admitted = ask(alice, conversation)
    assert hold_of(admitted).amount == Decimal("0.0002262927")
    settle(admitted, sent(usage={"input": 1, "output": 1}))
    (log,) = logs(alice)
    assert (log.cost_usd, log.charged_usd, log.markup_bps) == (Decimal("0.000003"), Decimal("0.0000030999"), 333)


def test_a_markup_changed_during_the_call_does_not_change_its_charge(alice: Person, conversation: Conversation) -> None:
    admitted = ask(alice, conversation)
    Wallet.objects.filter(workspace=alice.workspace).update(markup_bps=5000)
    settle(admitted, sent())
    assert logs(alice)[0].charged_usd == Decimal("0.00005")


def test_a_price_changed_during_the_call_does_not_change_its_cost(
    alice: Person, conversation: Conversation, llm: LLM
) -> None:
    admitted = ask(alice, conversation)
    LLMPrice.supersede(
        llm=llm, effective_from=timezone.now(), input_usd_per_mtok=Decimal("9"), output_usd_per_mtok=Decimal("9")
    )
    settle(admitted, sent())
    assert logs(alice)[0].cost_usd == Decimal("0.00005")


# --- Once -----------------------------------------------------------------------------------------------------------


def test_outside_a_transaction_it_refuses(transactional_db: None) -> None:
    with pytest.raises(transaction.TransactionManagementError):
        meter_message(Message(role="assistant", status="sent"))


def test_metering_twice_charges_once(alice: Person, conversation: Conversation) -> None:
    message = answered(alice, conversation)
    with transaction.atomic():
        again = meter_message(message)
    assert again == logs(alice)[0]
    assert len(logs(alice)) == 1
    assert wallet(alice).balance == Decimal("0.99995")


def test_saving_the_message_again_charges_once(alice: Person, conversation: Conversation) -> None:
    message = answered(alice, conversation)
    message.content = "Hi, edited"
    message.save()
    Message.objects.get(workspace=alice.workspace, pk=message.pk).save()
    assert len(logs(alice)) == 1
    assert wallet(alice).balance == Decimal("0.99995")


def test_when_the_charge_fails_nothing_of_the_answer_is_saved(
    alice: Person, conversation: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    admitted = ask(alice, conversation)

    def refuse(**_: Any) -> None:
        raise ledger.NotCovered

    with monkeypatch.context() as patch:
        patch.setattr(ledger, "charge", refuse)
        with pytest.raises(ledger.NotCovered):
            settle(admitted, sent())
    message = Message.objects.get(workspace=alice.workspace, pk=admitted.answer.pk)
    assert (message.status, message.content) == ("pending", "")
    assert logs(alice) == []
    assert hold_of(admitted).state == "held"
    settle(admitted, sent())
    assert wallet(alice).balance == Decimal("0.99995")


def test_the_receiver_is_connected_once_and_by_name() -> None:
    def connected() -> int:
        return sum(receiver[0][0] == "conversations.meter_final_message" for receiver in post_save.receivers)

    assert connected() == 1
    receivers.connect()
    assert connected() == 1


def test_a_raw_save_meters_nothing(alice: Person, conversation: Conversation, llm: LLM) -> None:
    now = timezone.now()
    message = Message(
        workspace=alice.workspace,
        conversation=conversation,
        user=alice.user,
        role="assistant",
        status="sent",
        llm=llm,
        created_at=now,
        updated_at=now,
    )
    with transaction.atomic():
        message.save_base(raw=True, force_insert=True)
        assert logs(alice) == []
        transaction.set_rollback(True)


# --- What is not metered --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("role", "status", "has_llm"),
    [
        ("user", "sent", True),
        ("system", "sent", True),
        ("tool", "sent", True),
        ("assistant", "pending", True),
        ("assistant", "streaming", True),
        ("assistant", "sent", False),
    ],
)
def test_other_messages_are_not_metered(
    alice: Person, conversation: Conversation, llm: LLM, role: str, status: str, has_llm: bool
) -> None:
    message = Message.objects.create(
        workspace=alice.workspace,
        conversation=conversation,
        user=alice.user,
        role=role,
        status=status,
        llm=llm if has_llm else None,
    )
    with transaction.atomic():
        assert meter_message(message) is None
    assert logs(alice) == []


# --- Who pays -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("of_workspace", "source"), [(False, "user"), (True, "workspace")])
def test_a_call_on_an_own_key_is_metered_and_not_charged(
    alice: Person, conversation: Conversation, of_workspace: bool, source: str
) -> None:
    own_key(alice, of_workspace=of_workspace)
    Wallet.objects.filter(workspace=alice.workspace).update(markup_bps=1000)
    admitted = ask(alice, conversation)
    assert hold_of(admitted).amount == Decimal(0)
    settle(admitted, sent())
    (log,) = logs(alice)
    assert (log.cost_usd, log.charged_usd, log.billing_event, log.markup_bps) == (
        Decimal("0.00005"),
        Decimal(0),
        None,
        0,
    )
    assert (log.key_source, log.user_api_key_used) == (source, source == "user")
    assert (hold_of(admitted).state, hold_of(admitted).charged) == ("settled", Decimal(0))
    assert wallet(alice).balance == Decimal("1")
    assert incidents(alice) == []


def test_an_untracked_wallet_is_metered_and_not_charged(alice: Person, conversation: Conversation) -> None:
    Wallet.objects.filter(workspace=alice.workspace).update(mode="untracked")
    answered(alice, conversation)
    (log,) = logs(alice)
    assert (log.cost_usd, log.charged_usd, log.billing_event) == (Decimal("0.00005"), Decimal(0), None)
    assert len(events(alice)) == 1


def test_a_free_model_makes_no_event(alice: Person, conversation: Conversation) -> None:
    make_llm("openai", "free", price={"input_usd_per_mtok": Decimal(0), "output_usd_per_mtok": Decimal(0)})
    answered(alice, conversation, llm="openai/free")
    assert (logs(alice)[0].cost_usd, len(events(alice))) == (Decimal(0), 1)


def test_a_failed_call_costs_nothing_and_gives_the_hold_back(alice: Person, conversation: Conversation) -> None:
    admitted = ask(alice, conversation)
    settle(admitted, failed(status_code=500))
    (log,) = logs(alice)
    assert (log.status, log.cost_usd, log.charged_usd, log.total_tokens) == ("error", Decimal(0), Decimal(0), 0)
    assert (log.error_code, log.error_message, log.api_status_code) == ("provider_error", "It failed.", 500)
    assert (hold_of(admitted).state, hold_of(admitted).charged) == ("released", Decimal(0))
    purse = wallet(alice)
    assert (purse.balance, purse.held) == (Decimal("1"), Decimal(0))


def test_a_failed_call_is_charged_no_fee_per_request(alice: Person, conversation: Conversation) -> None:
    make_llm("openai", "with-fee", price={"request_fee_usd": Decimal("0.01")})
    admitted = ask(alice, conversation, llm="openai/with-fee")
    assert hold_of(admitted).amount == Decimal("0.010219")
    settle(admitted, failed())
    assert (logs(alice)[0].cost_usd, logs(alice)[0].charged_usd) == (Decimal(0), Decimal(0))
    assert hold_of(admitted).state == "released"
    answered(alice, conversation, llm="openai/with-fee")
    assert logs(alice)[1].charged_usd == Decimal("0.01005")


@pytest.mark.parametrize(
    ("reported", "is_estimate"), [({"usage": Usage(input=10)}, False), ({"seen_usage": Usage(input=10)}, True)]
)
def test_a_failed_call_with_nothing_to_show_is_free_and_what_the_provider_bills_is_noted(
    alice: Person, conversation: Conversation, reported: dict[str, Usage], is_estimate: bool
) -> None:
    admitted = ask(alice, conversation)
    message = settle(admitted, failed(**reported))
    (log,) = logs(alice)
    assert (log.status, log.cost_usd, log.charged_usd) == ("error", Decimal("0.00001"), Decimal(0))
    assert (log.input_tokens, log.is_estimate, message.tokens_used) == (10, is_estimate, 10)
    assert (hold_of(admitted).state, incidents(alice)) == ("released", [])
    assert (wallet(alice).balance, wallet(alice).held) == (1, 0)


def test_a_call_broken_off_with_only_its_prompt_reported_is_charged_for_it(
    alice: Person, conversation: Conversation
) -> None:
    """Its client stopped it, or thinking had been shown."""
    settle(ask(alice, conversation), failed(status="interrupted", seen_usage=Usage(input=10, output=1)))
    (log,) = logs(alice)
    assert (log.status, log.cost_usd, log.charged_usd) == ("interrupted", Decimal("0.000012"), Decimal("0.000012"))
    assert log.is_estimate


def test_nobody_pays_more_than_was_held(alice: Person, conversation: Conversation) -> None:
    admitted = ask(alice, conversation)
    message = settle(admitted, sent(usage={"input": 1000, "output": 100}))
    (log,) = logs(alice)
    assert (log.cost_usd, log.charged_usd) == (Decimal("0.0012"), Decimal(HELD))
    assert hold_of(admitted).charged == Decimal(HELD)
    (incident,) = incidents(alice)
    assert (incident.kind, incident.amount, incident.hold) == ("overrun", Decimal("0.000981"), hold_of(admitted))
    assert incident.detail == f"message {message.pk} on openai/openai-test"
    assert wallet(alice).balance == Decimal("0.999781")


def test_the_wallet_is_touched_last(alice: Person, conversation: Conversation) -> None:
    """The most contended row of a workspace is locked for as short as it can be."""
    admitted = ask(alice, conversation)
    with CaptureQueriesContext(connection) as queries:
        settle(admitted, sent())
    writes = [q["sql"] for q in queries if q["sql"].startswith(("UPDATE", "INSERT", "WITH"))]
    assert "wallets" in writes[-1]
    assert not any('UPDATE "wallets"' in sql or "UPDATE wallets" in sql for sql in writes[:-1])
    assert Hold.objects.filter(workspace=alice.workspace, state="held").count() == 0
    assert UsageLog.objects.filter(workspace=alice.workspace).count() == 1
