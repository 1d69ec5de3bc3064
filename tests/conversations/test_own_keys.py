"""Calls on own keys: metered and not charged, unless the wallet has a platform fee for them; and whose key it was."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing import ledger
from billing.models import BillingEvent, Wallet
from conversations import sweeper
from conversations.models import Conversation
from conversations.pay import cost_affordable, due_of
from llm.models import LLM
from llm.types import Usage
from synapscale.common.errors import InsufficientBalance, Unprocessable
from tests.books import assert_clean, broken
from tests.catalogue import make_llm
from tests.conversations.calling import (
    HELD,
    answered,
    ask,
    checkpoint,
    events,
    failed,
    fall_back_to,
    followed,
    hold_of,
    incidents,
    lapse,
    logs,
    make_conversation,
    own_key,
    sent,
    settle,
    states,
    wallet,
)
from tests.people import Person, fund
from tests.unguarded import run, unguarded
from workspaces.models import User, UserVariable

pytestmark = pytest.mark.django_db
PICO = Decimal("0.000000000001")


@pytest.fixture
def conversation(funded: Person) -> Conversation:
    own_key(funded)
    return make_conversation(funded)


def fee(person: Person, basis_points: int, **fields: Any) -> None:
    Wallet.objects.filter(workspace=person.workspace).update(own_key_fee_bps=basis_points, **fields)


# --- The arithmetic ---------------------------------------------------------------------------------------------------

money = st.integers(min_value=0, max_value=10**18).map(lambda pico: pico * PICO)
sources = st.sampled_from(["user", "workspace", "global"])


@pytest.mark.parametrize(
    ("cost", "source", "basis_points", "due"),
    [
        ("0.00005", "global", 0, "0.00005"),
        ("0.00005", "global", 1000, "0.000055"),
        ("0.00005", "user", 1000, "0.000005"),
        ("0.00005", "workspace", 1000, "0.000005"),
        ("0.00005", "user", 10_000, "0.00005"),
        ("0.00005", "user", 1, "0.000000005"),
        ("0.000000009999", "user", 1, "0"),
        ("0.000000019999", "user", 1, "0.000000000001"),
        ("0.000000000003", "user", 5000, "0.000000000001"),
        ("0.00005", "user", 0, "0"),
    ],
)
def test_what_is_due(cost: str, source: str, basis_points: int, due: str) -> None:
    assert due_of(Decimal(cost), key_source=source, basis_points=basis_points) == Decimal(due)


@given(cost=money, source=sources, basis_points=st.integers(min_value=0, max_value=100_000))
def test_it_is_rounded_once_and_down(cost: Decimal, source: str, basis_points: int) -> None:
    due = due_of(cost, key_source=source, basis_points=basis_points)
    exact = cost.as_integer_ratio()
    factor = basis_points if source != "global" else 10_000 + basis_points
    pico = exact[0] * 10**12 * factor // (exact[1] * 10_000)
    assert due == pico * PICO


@given(amount=money, cost=money, source=sources, basis_points=st.integers(min_value=1, max_value=100_000))
def test_what_an_amount_affords_never_costs_more(
    amount: Decimal, cost: Decimal, source: str, basis_points: int
) -> None:
    most = cost_affordable(amount, key_source=source, basis_points=basis_points)
    assert due_of(most, key_source=source, basis_points=basis_points) <= amount
    if cost <= most:
        assert due_of(cost, key_source=source, basis_points=basis_points) <= amount
    # And hardly more would: a whole basis point's worth of pico-dollars does.
    assert due_of(most + 20_000 * PICO, key_source=source, basis_points=basis_points) >= amount


# --- Without a fee ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("owner", ["user", "workspace"])
def test_an_own_key_is_metered_and_not_charged(funded: Person, owner: str) -> None:
    row = UserVariable(category="api_key", name="openai", **{owner: getattr(funded, owner)})
    row.set_value("sk-own-0123456789")
    row.save()
    message = answered(funded, make_conversation(funded))
    (log,) = logs(funded)
    assert (log.key_source, log.user_api_key_used) == (owner, owner == "user")
    assert (log.cost_usd, log.charged_usd, log.billing_event) == (Decimal("0.00005"), 0, None)
    assert list(message.billing_events) == []
    assert states(funded) == [("settled", 0, 0)]
    assert wallet(funded).balance == 1
    assert_clean()


def test_it_needs_no_money(alice: Person, llm: LLM) -> None:
    own_key(alice)
    assert answered(alice, make_conversation(alice)).status == "sent"
    assert_clean()


def test_who_lets_no_call_fall_back_to_paid_credit_is_refused_one(funded: Person) -> None:
    User.objects.filter(pk=funded.user.pk).update(allows_paid_fallback=False)
    funded.user.refresh_from_db()
    conversation = make_conversation(funded)
    with pytest.raises(Unprocessable) as refused:
        ask(funded, conversation)
    assert (refused.value.code, refused.value.status) == ("paid_fallback_forbidden", 403)
    assert logs(funded) == []
    row = own_key(funded)
    settle(ask(funded, conversation), sent())
    row.delete()
    with pytest.raises(Unprocessable):
        ask(funded, conversation)
    assert wallet(funded).balance == 1


@pytest.mark.parametrize("source", ["user", "workspace"])
def test_who_insists_on_a_key_that_is_not_there_is_refused(funded: Person, source: str) -> None:
    with pytest.raises(Unprocessable) as refused:
        ask(funded, make_conversation(funded), key_source=source)
    assert (refused.value.code, refused.value.status) == ("provider_not_configured", 503)


# --- With a fee -------------------------------------------------------------------------------------------------------


def test_the_fee_is_an_event_of_its_own_type(funded: Person, conversation: Conversation) -> None:
    fee(funded, 1000)
    message = answered(funded, conversation)
    (log,) = logs(funded)
    assert (log.cost_usd, log.charged_usd, log.markup_bps) == (Decimal("0.00005"), Decimal("0.000005"), 1000)
    (charge,) = message.billing_events
    assert (charge.event_type, charge.amount_usd) == ("fee", Decimal("-0.000005"))
    assert charge.description == "openai/openai-test, 30 tokens, platform fee on the user's own key"
    assert (charge.reference, charge.hold) == (f"message:{message.pk}:1", message.hold)
    assert states(funded) == [("settled", Decimal(HELD) / 10, Decimal("0.000005"))]
    assert wallet(funded).balance == 1 - Decimal("0.000005")
    conversation.refresh_from_db()
    assert conversation.total_cost == Decimal("0.000005")
    assert_clean()


def test_a_workspaces_key_is_named_as_such(funded: Person) -> None:
    row = UserVariable(category="api_key", name="openai", workspace=funded.workspace)
    row.set_value("sk-own-0123456789")
    row.save()
    fee(funded, 1000)
    (charge,) = answered(funded, make_conversation(funded)).billing_events
    assert charge.description.endswith("platform fee on the workspace's own key")


def test_it_is_floored_at_the_twelfth_place(funded: Person, conversation: Conversation) -> None:
    make_llm(name="odd", price={"input_usd_per_mtok": Decimal("0.000007")})
    fee(funded, 3333)
    answered(funded, conversation, usage={"input": 1, "output": 0}, llm="openai/odd")
    # 7 pico-dollars, and 33.33 % of them: 2.3331
    assert (logs(funded)[0].cost_usd, logs(funded)[0].charged_usd) == (7 * PICO, 2 * PICO)
    assert wallet(funded).balance == 1 - 2 * PICO
    assert_clean()


def test_a_fee_that_rounds_to_nothing_is_no_event(funded: Person, conversation: Conversation) -> None:
    make_llm(name="odd", price={"input_usd_per_mtok": Decimal("0.000007")})
    fee(funded, 1)
    message = answered(funded, conversation, usage={"input": 1, "output": 0}, llm="openai/odd")
    assert list(message.billing_events) == []
    ((state, held, charged),) = states(funded)
    assert (state, charged) == ("settled", 0)
    assert held > 0
    assert (wallet(funded).balance, wallet(funded).held) == (1, 0)
    assert_clean()


def test_the_houses_key_has_the_markup_and_no_fee(funded: Person) -> None:
    fee(funded, 1000, markup_bps=500)
    message = answered(funded, make_conversation(funded))
    (charge,) = message.billing_events
    assert (charge.event_type, charge.amount_usd) == ("usage", Decimal("-0.0000525"))
    assert logs(funded)[0].markup_bps == 500
    own_key(funded)
    (charge,) = answered(funded, make_conversation(funded)).billing_events
    assert (charge.event_type, charge.amount_usd) == ("fee", Decimal("-0.000005"))
    assert_clean()


def test_an_untracked_wallet_pays_no_fee(funded: Person, conversation: Conversation) -> None:
    fee(funded, 1000, mode="untracked")
    message = answered(funded, conversation)
    assert list(message.billing_events) == []
    assert (logs(funded)[0].cost_usd, logs(funded)[0].charged_usd) == (Decimal("0.00005"), 0)
    assert_clean()


def test_it_can_be_refunded_and_no_more_than_it(funded: Person, conversation: Conversation) -> None:
    fee(funded, 1000)
    message = answered(funded, conversation)
    (charge,) = message.billing_events

    def refund(amount: str) -> BillingEvent:
        return ledger.refund(
            original=charge, amount=Decimal(amount), reference=f"r{amount}", description="Sorry", actor=None
        )[0]

    with pytest.raises(Unprocessable):
        refund("0.000005000001")
    assert refund("0.000004").event_type == "refund"
    with pytest.raises(Unprocessable):
        refund("0.000001000001")
    refund("0.000001")
    assert wallet(funded).balance == 1
    assert {event.event_type for event in message.billing_events} == {"fee", "refund"}
    assert_clean()


def test_a_failed_call_costs_no_fee(funded: Person, conversation: Conversation) -> None:
    fee(funded, 1000)
    settle(ask(funded, conversation), failed())
    assert states(funded) == [("released", Decimal(HELD) / 10, 0)]
    settle(ask(funded, conversation), failed(usage=Usage(input=10)))
    assert (logs(funded)[1].cost_usd, logs(funded)[1].charged_usd) == (Decimal("0.00001"), 0)
    assert_clean()


def test_a_sweep_charges_the_fee_of_what_had_arrived(funded: Person, conversation: Conversation) -> None:
    fee(funded, 1000)
    admitted = ask(funded, conversation)
    checkpoint(admitted, "Nine char")
    lapse(admitted)
    sweeper.sweep()
    assert [event.event_type for event in events(funded)] == ["credit", "fee"]
    assert logs(funded)[0].charged_usd == Decimal("0.0000016")
    assert_clean()


def test_the_fee_agreed_at_the_start_holds_to_the_end(funded: Person, conversation: Conversation) -> None:
    fee(funded, 1000)
    dear = ask(funded, conversation)
    fee(funded, 0)
    free = ask(funded, conversation)
    fee(funded, 5000)
    settle(dear, sent())
    settle(free, sent())
    assert [log.charged_usd for log in logs(funded)] == [Decimal("0.000005"), 0]
    assert_clean()


def test_the_key_that_it_began_with_decides_to_the_end(funded: Person, conversation: Conversation) -> None:
    admitted = ask(funded, conversation)
    UserVariable.objects.all().delete()
    settle(admitted, sent())
    assert (logs(funded)[0].key_source, logs(funded)[0].charged_usd) == ("user", 0)


def test_the_balance_decides_the_length_by_the_fee_alone(alice: Person, llm: LLM) -> None:
    """A tenth of the price is enough for the whole answer, and less than that shortens it."""
    own_key(alice)
    fund(alice.workspace, "0.0000219")
    fee(alice, 1000)
    admitted = ask(alice, make_conversation(alice))
    assert (admitted.request.max_tokens, hold_of(admitted).amount) == (100, Decimal("0.0000219"))
    settle(admitted, sent(usage={"input": 19, "output": 100}))
    assert (wallet(alice).balance, incidents(alice)) == (0, [])
    fund(alice.workspace, "0.00001499")
    admitted = ask(alice, make_conversation(alice))
    assert (admitted.request.max_tokens, hold_of(admitted).amount) == (65, Decimal("0.0000149"))
    settle(admitted, failed())
    ledger.adjust(
        workspace=alice.workspace, amount=Decimal("-0.0000003"), reference="less", description="Less", actor=None
    )
    with pytest.raises(InsufficientBalance) as refused:
        ask(alice, make_conversation(alice))
    assert refused.value.details["needed"] == "0.0000219"
    assert refused.value.details["affordable_max_tokens"] == 63
    assert_clean()


def test_an_overrun_of_a_fee_is_the_houses(funded: Person, conversation: Conversation) -> None:
    fee(funded, 1000)
    settle(ask(funded, conversation), sent(usage={"input": 1000, "output": 100}))
    # A tenth of $0.0012, of which $0.0000219 was held
    (incident,) = incidents(funded)
    assert (incident.kind, incident.amount) == ("overrun", Decimal("0.0000981"))
    assert logs(funded)[0].charged_usd == Decimal("0.0000219")
    assert_clean()


def test_falling_back_from_an_own_key_to_the_houses(funded: Person, conversation: Conversation) -> None:
    fee(funded, 1000, markup_bps=1000)
    make_llm(name="second")
    fall_back_to(funded, "openai/second")
    first = ask(funded, conversation)
    UserVariable.objects.all().delete()
    settle(followed(first, failed(usage=Usage(input=100))), sent())
    assert [(event.event_type, event.amount_usd) for event in events(funded)[1:]] == [("usage", Decimal("-0.000055"))]
    assert [(log.key_source, log.charged_usd) for log in logs(funded)] == [("user", 0), ("global", Decimal("0.000055"))]
    assert [amount for _, amount, _ in states(funded)] == [Decimal(HELD) / 10, Decimal(HELD) * 11 / 10]
    assert_clean()


@pytest.mark.fleet
def test_a_fee_told_as_usage_is_found(funded: Person, conversation: Conversation) -> None:
    fee(funded, 1000)
    answered(funded, conversation)
    with unguarded():
        assert run("UPDATE billing_events SET event_type = 'usage' WHERE event_type = 'fee'") == 1
        assert broken() == {"usage_event": 1}
    with unguarded():
        assert run("UPDATE usage_logs SET markup_bps = 999") == 1
        assert broken() == {"recomputed": 1}
