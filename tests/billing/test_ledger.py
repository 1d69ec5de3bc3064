"""The ledger, kept like an accountant's notebook: what came in, what went out, and that the books are in order."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from billing import ledger
from billing.ledger import Posting
from billing.models import BillingEvent, Wallet
from synapscale.common.errors import Conflict, InsufficientBalance, Unprocessable
from synapscale.common.models import new_id
from tests.books import assert_clean
from tests.catalogue import make_llm
from tests.conversations.calling import ask, events, hold_of, make_conversation, sent, settle, wallet
from tests.people import Person, fund, make_cast

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _books(db: None) -> Any:
    yield
    assert_clean()


def credit(person: Person, amount: Any, reference: str = "", **fields: Any) -> tuple[BillingEvent, bool]:
    return ledger.credit(workspace=person.workspace, amount=amount, reference=reference or f"test:{new_id()}", **fields)


def adjust(
    person: Person, amount: str, reference: str = "", description: str = "A reason"
) -> tuple[BillingEvent, bool]:
    return ledger.adjust(
        workspace=person.workspace,
        amount=Decimal(amount),
        reference=reference or f"test:{new_id()}",
        description=description,
        actor=person.user,
    )


def fee(person: Person, amount: str) -> Posting:
    """A charge that needs no call: a fee."""
    with transaction.atomic():
        return ledger.charge(
            wallet_id=wallet(person).pk,
            workspace_id=person.workspace.pk,
            amount=Decimal(amount),
            reference=f"fee:{new_id()}",
            user_id=person.user.pk,
            event_type=BillingEvent.Type.FEE,
        )


def set_mode(person: Person, mode: str, *, credit_limit: str = "0") -> None:
    Wallet.objects.filter(workspace=person.workspace).update(mode=mode, credit_limit=Decimal(credit_limit))


def page(person: Person) -> list[tuple[int, str, Decimal, Decimal]]:
    return [(event.seq, event.event_type, event.amount_usd, event.balance_after) for event in events(person)]


# --- A page of the notebook -----------------------------------------------------------------------------------------


def test_a_month_of_a_workspace(alice: Person) -> None:
    credit(alice, Decimal("10"))
    posted = fee(alice, "2.5")
    assert posted == Posting(seq=2, balance_after=Decimal("7.5"))
    charged = events(alice)[1]
    ledger.refund(
        original=charged, amount=Decimal("0.5"), reference="r1", description="Half an hour down", actor=alice.user
    )
    adjust(alice, "-0.000000000001")
    adjust(alice, "2")
    assert page(alice) == [
        (1, "credit", Decimal("10"), Decimal("10")),
        (2, "fee", Decimal("-2.5"), Decimal("7.5")),
        (3, "refund", Decimal("0.5"), Decimal("8")),
        (4, "adjustment", Decimal("-0.000000000001"), Decimal("7.999999999999")),
        (5, "adjustment", Decimal("2"), Decimal("9.999999999999")),
    ]
    purse = wallet(alice)
    assert (purse.balance, purse.held, purse.seq) == (Decimal("9.999999999999"), Decimal(0), 5)


def test_wallets_are_numbered_apart(alice: Person, charlie: Person) -> None:
    credit(alice, Decimal("1"), "same")
    credit(charlie, Decimal("2"), "same")
    credit(alice, Decimal("3"))
    assert [event.seq for event in events(alice)] == [1, 2]
    assert [event.seq for event in events(charlie)] == [1]


def test_an_event_says_all_about_itself(alice: Person) -> None:
    event, is_new = credit(
        alice,
        Decimal("25.000000000001"),
        "stripe:pi_1",
        description="Card payment",
        actor=alice.user,
        payment_provider="stripe",
        payment_transaction_id="pi_1",
        invoice_id="in_1",
    )
    assert is_new
    event.refresh_from_db()
    assert (event.workspace, event.wallet, event.actor, event.user) == (
        alice.workspace,
        wallet(alice),
        alice.user,
        None,
    )
    assert (event.amount_usd, event.balance_after, event.seq) == (Decimal("25.000000000001"),) * 2 + (1,)
    assert (event.event_type, event.status, event.reference, event.description) == (
        "credit",
        "posted",
        "stripe:pi_1",
        "Card payment",
    )
    assert (event.payment_provider, event.payment_transaction_id, event.invoice_id) == ("stripe", "pi_1", "in_1")
    assert (event.hold_id, event.original_id, event.metadata) == (None, None, {})
    assert event.created_at == event.processed_at


# --- Credits --------------------------------------------------------------------------------------------------------


def test_the_same_reference_again_credits_nothing(alice: Person) -> None:
    first, is_new = credit(alice, Decimal("5"), "invoice-7")
    again, is_new_again = credit(alice, Decimal("5.000000000000"), "invoice-7")
    assert (is_new, is_new_again, again.pk) == (True, False, first.pk)
    assert wallet(alice).balance == Decimal("5")


def test_the_same_reference_for_another_amount_is_a_conflict(alice: Person) -> None:
    credit(alice, Decimal("5"), "invoice-7")
    with pytest.raises(Conflict) as refused:
        credit(alice, Decimal("5.01"), "invoice-7")
    assert (refused.value.status, refused.value.code) == (409, "reference_used")
    assert wallet(alice).balance == Decimal("5")


def test_the_same_reference_for_another_kind_of_movement_is_a_conflict(alice: Person) -> None:
    credit(alice, Decimal("5"), "invoice-7")
    with pytest.raises(Conflict):
        adjust(alice, "5", "invoice-7")
    assert wallet(alice).balance == Decimal("5")


@pytest.mark.parametrize(
    "amount",
    ["0", "-1", "-0.000000000001", "1000000.000000000001", "NaN", "Infinity", "1E999999999", "0.0000000000001"],
)
def test_a_credit_that_makes_no_sense_is_refused(alice: Person, amount: str) -> None:
    with pytest.raises(Unprocessable) as refused:
        credit(alice, Decimal(amount))
    assert refused.value.code == "invalid_amount"
    assert events(alice) == []


@pytest.mark.parametrize("amount", [5.0, True, None])
def test_a_credit_is_a_decimal(alice: Person, amount: Any) -> None:
    with pytest.raises(Unprocessable) as refused:
        credit(alice, amount)
    assert refused.value.code == "invalid_amount"


def test_the_largest_and_the_smallest_credit(alice: Person) -> None:
    credit(alice, ledger.MAX_CREDIT)
    credit(alice, Decimal("0.000000000001"))
    assert wallet(alice).balance == Decimal("1000000.000000000001")


def test_a_balance_has_an_upper_bound(alice: Person) -> None:
    for _ in range(4):
        credit(alice, ledger.MAX_CREDIT)
    with pytest.raises(Unprocessable) as refused:
        credit(alice, Decimal("0.000000000001"), "too much")
    assert refused.value.code == "balance_out_of_bounds"
    assert refused.value.message == "A wallet's balance is 4,000,000.00 USD at most."
    assert (wallet(alice).balance, len(events(alice))) == (Decimal("4000000"), 4)
    fee(alice, "0.000000000001")
    assert credit(alice, Decimal("0.000000000001"), "too much")[1]


@pytest.mark.parametrize("reference", ["", "   ", "x" * 201])
def test_a_reference_is_required_and_has_a_length(alice: Person, reference: str) -> None:
    with pytest.raises(Unprocessable) as refused:
        ledger.credit(workspace=alice.workspace, amount=Decimal("1"), reference=reference)
    assert refused.value.code == "invalid_reference"
    assert events(alice) == []


def test_a_reference_of_two_hundred_characters_fits(alice: Person) -> None:
    assert credit(alice, Decimal("1"), "é" * 200)[0].reference == "é" * 200


def test_a_suspended_wallet_still_takes_money(alice: Person) -> None:
    Wallet.objects.filter(workspace=alice.workspace).update(status="suspended")
    credit(alice, Decimal("1"))
    assert wallet(alice).balance == Decimal("1")


# --- Adjustments ----------------------------------------------------------------------------------------------------


def test_an_adjustment_goes_both_ways_and_once(alice: Person) -> None:
    adjust(alice, "3", "a1")
    adjust(alice, "-1", "a2")
    _, is_new = adjust(alice, "-1", "a2")
    assert not is_new
    assert wallet(alice).balance == Decimal("2")
    assert [event.actor for event in events(alice)] == [alice.user, alice.user]


@pytest.mark.parametrize("amount", ["0", "1000000.01", "-1000000.01", "NaN"])
def test_an_adjustment_that_makes_no_sense_is_refused(alice: Person, amount: str) -> None:
    with pytest.raises(Unprocessable) as refused:
        adjust(alice, amount)
    assert refused.value.code == "invalid_amount"


def test_an_adjustment_needs_a_reason(alice: Person) -> None:
    with pytest.raises(Unprocessable) as refused:
        adjust(alice, "1", description="  ")
    assert refused.value.code == "reason_required"


def test_an_adjustment_never_overdraws(alice: Person) -> None:
    credit(alice, Decimal("1"))
    with pytest.raises(InsufficientBalance) as refused:
        adjust(alice, "-1.000000000001")
    assert refused.value.status == 402
    adjust(alice, "-1")
    assert wallet(alice).balance == Decimal(0)


# --- Charges --------------------------------------------------------------------------------------------------------


def test_a_prepaid_wallet_goes_to_zero_and_no_further(alice: Person) -> None:
    credit(alice, Decimal("1"))
    with pytest.raises(ledger.NotCovered):
        fee(alice, "1.000000000001")
    fee(alice, "1")
    with pytest.raises(ledger.NotCovered):
        fee(alice, "0.000000000001")
    assert wallet(alice).balance == Decimal(0)


def test_a_postpaid_wallet_goes_to_its_limit_and_no_further(alice: Person) -> None:
    set_mode(alice, "postpaid", credit_limit="2")
    fee(alice, "1.5")
    with pytest.raises(ledger.NotCovered):
        fee(alice, "0.500000000001")
    fee(alice, "0.5")
    assert wallet(alice).balance == Decimal("-2")
    credit(alice, Decimal("0.5"))
    assert wallet(alice).balance == Decimal("-1.5")


def test_an_untracked_wallet_has_no_limit(alice: Person) -> None:
    set_mode(alice, "untracked")
    assert fee(alice, "3").balance_after == Decimal("-3")


def test_what_is_held_for_calls_can_not_be_charged_otherwise(alice: Person) -> None:
    credit(alice, Decimal("1"))
    make_llm()
    admitted = ask(alice, make_conversation(alice))
    with pytest.raises(ledger.NotCovered):
        fee(alice, "0.999781000001")
    fee(alice, "0.999781")
    settle(admitted, sent())
    assert wallet(alice).balance == Decimal("0.000169")


@pytest.mark.parametrize("mode", ["prepaid", "untracked"])
def test_a_hold_that_the_wallet_does_not_hold_is_not_settled(alice: Person, mode: str) -> None:
    """It was given back already, by somebody else: to settle it again would free what other calls have reserved."""
    credit(alice, Decimal("1"))
    make_llm()
    admitted = ask(alice, make_conversation(alice))
    set_mode(alice, mode)
    with transaction.atomic():
        Wallet.objects.filter(workspace=alice.workspace).update(held=Decimal("0.000218999999"))
        with pytest.raises(ledger.NotCovered):
            ledger.charge(
                wallet_id=wallet(alice).pk,
                workspace_id=alice.workspace.pk,
                amount=Decimal("0.0001"),
                hold=hold_of(admitted),
                reference="x",
                user_id=None,
            )
        assert (wallet(alice).balance, len(events(alice))) == (1, 1)
        transaction.set_rollback(True)
    settle(admitted, sent())


def test_a_charge_outside_a_transaction_is_refused(transactional_db: None) -> None:
    alice = make_cast().alice
    fund(alice.workspace, "1")
    with pytest.raises(transaction.TransactionManagementError):
        ledger.charge(
            wallet_id=wallet(alice).pk,
            workspace_id=alice.workspace.pk,
            amount=Decimal("1"),
            reference="x",
            user_id=None,
        )
    assert wallet(alice).balance == Decimal("1")


def test_a_charge_of_another_workspaces_wallet_finds_none(alice: Person, charlie: Person) -> None:
    credit(charlie, Decimal("1"))
    with pytest.raises(ledger.NotCovered), transaction.atomic():
        ledger.charge(
            wallet_id=wallet(charlie).pk,
            workspace_id=alice.workspace.pk,
            amount=Decimal("0.1"),
            reference="x",
            user_id=None,
        )
    assert wallet(charlie).balance == Decimal("1")


@pytest.mark.parametrize("amount", ["0", "-1"])
def test_a_charge_is_positive(alice: Person, amount: str) -> None:
    """The database says it too; this only comes first."""
    credit(alice, Decimal("1"))
    with pytest.raises((ValueError, IntegrityError)), transaction.atomic():
        fee(alice, amount)
    assert wallet(alice).balance == Decimal("1")


def test_a_charge_is_a_number(alice: Person) -> None:
    credit(alice, Decimal("1"))
    with pytest.raises(ValidationError):
        fee(alice, "NaN")
    assert wallet(alice).balance == Decimal("1")


def test_the_same_charge_twice_is_refused_by_the_database(alice: Person) -> None:
    credit(alice, Decimal("1"))

    def charge() -> None:
        with transaction.atomic():
            ledger.charge(
                wallet_id=wallet(alice).pk,
                workspace_id=alice.workspace.pk,
                amount=Decimal("0.25"),
                reference="once",
                user_id=alice.user.pk,
                event_type=BillingEvent.Type.SUBSCRIPTION,
                metadata={"month": "2026-03"},
            )

    charge()
    with pytest.raises(IntegrityError):
        charge()
    assert wallet(alice).balance == Decimal("0.75")
    assert events(alice)[1].metadata == {"month": "2026-03"}


def test_a_description_with_percent_signs_and_quotes_is_text(alice: Person) -> None:
    event, _ = credit(alice, Decimal("1"), "100%s", description="5 % off; '%(amount)s' \"x\"")
    event.refresh_from_db()
    assert (event.reference, event.description) == ("100%s", "5 % off; '%(amount)s' \"x\"")


def test_a_wallet_is_born_with_its_workspace_and_found_again(alice: Person) -> None:
    assert Wallet.objects.filter(workspace=alice.workspace).count() == 1
    assert ledger.wallet_of(alice.workspace.pk) == wallet(alice)
    purse = wallet(alice)
    assert (purse.mode, purse.status, purse.balance, purse.held, purse.seq) == ("prepaid", "open", 0, 0, 0)
