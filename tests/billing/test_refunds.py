"""Refunds: part by part, never more than was charged, also when two people click at once."""

from __future__ import annotations

import threading
from decimal import Decimal

import pytest
from django.db import connection, transaction

from billing import ledger
from billing.models import BillingEvent
from synapscale.common.errors import Conflict, Refusal, Unprocessable
from tests.books import assert_clean
from tests.conversations.calling import answered, events, make_conversation, wallet
from tests.people import Cast, Person, fund
from workspaces.models import Workspace

pytestmark = pytest.mark.django_db


@pytest.fixture
def charged(alice: Person) -> BillingEvent:
    """A fee of $4 out of $10."""
    fund(alice.workspace, "10")
    with transaction.atomic():
        ledger.charge(
            wallet_id=wallet(alice).pk,
            workspace_id=alice.workspace.pk,
            amount=Decimal("4"),
            reference="fee:march",
            user_id=alice.user.pk,
            event_type=BillingEvent.Type.FEE,
        )
    return events(alice)[-1]


def refund(original: BillingEvent, amount: str, reference: str) -> tuple[BillingEvent, bool]:
    return ledger.refund(
        original=original, amount=Decimal(amount), reference=reference, description="Sorry", actor=original.user
    )


def test_part_by_part_up_to_the_charge_and_no_further(alice: Person, charged: BillingEvent) -> None:
    refund(charged, "1", "r1")
    refund(charged, "2.999999999999", "r2")
    with pytest.raises(Unprocessable) as refused:
        refund(charged, "0.000000000002", "r3")
    assert refused.value.code == "refund_exceeds_charge"
    assert refused.value.message == "At most 0.000000000001 USD of this charge can be refunded."
    refund(charged, "0.000000000001", "r3")
    with pytest.raises(Unprocessable):
        refund(charged, "0.000000000001", "r4")
    assert wallet(alice).balance == Decimal("10")
    assert [event.balance_after for event in events(alice)] == [
        Decimal(text) for text in ("10", "6", "7", "9.999999999999", "10")
    ]
    assert_clean()


def test_a_refund_names_what_it_refunds_and_whose_it_was(alice: Person, charged: BillingEvent) -> None:
    event, is_new = refund(charged, "1", "r1")
    assert is_new
    assert (event.event_type, event.original, event.user, event.actor) == ("refund", charged, alice.user, alice.user)
    assert list(charged.corrections.all()) == [event]


def test_the_same_refund_again_gives_back_nothing(alice: Person, charged: BillingEvent) -> None:
    first, _ = refund(charged, "4", "r1")
    again, is_new = refund(charged, "4", "r1")
    assert (again.pk, is_new) == (first.pk, False)
    assert wallet(alice).balance == Decimal("10")


def test_the_same_reference_for_another_amount_is_a_conflict(charged: BillingEvent) -> None:
    refund(charged, "1", "r1")
    with pytest.raises(Conflict):
        refund(charged, "2", "r1")


def test_the_same_reference_for_the_refund_of_another_charge_is_a_conflict(
    alice: Person, charged: BillingEvent
) -> None:
    """Or the second customer's refund would be answered as done, and never be made."""
    with transaction.atomic():
        ledger.charge(
            wallet_id=wallet(alice).pk,
            workspace_id=alice.workspace.pk,
            amount=Decimal("4"),
            reference="fee:april",
            user_id=alice.user.pk,
            event_type=BillingEvent.Type.FEE,
        )
    april = events(alice)[-1]
    refund(charged, "1", "r1")
    with pytest.raises(Conflict):
        refund(april, "1", "r1")
    assert wallet(alice).balance == Decimal("3")


@pytest.mark.parametrize("amount", ["0", "-1", "NaN", "4.000000000001"])
def test_a_refund_that_makes_no_sense_is_refused(alice: Person, charged: BillingEvent, amount: str) -> None:
    with pytest.raises(Unprocessable):
        refund(charged, amount, "r1")
    assert wallet(alice).balance == Decimal("6")


def test_a_credit_can_not_be_refunded(alice: Person, charged: BillingEvent) -> None:
    with pytest.raises(Unprocessable) as refused:
        refund(events(alice)[0], "1", "r1")
    assert refused.value.code == "not_a_charge"


def test_a_refund_can_not_be_refunded(alice: Person, charged: BillingEvent) -> None:
    given_back, _ = refund(charged, "1", "r1")
    with pytest.raises(Unprocessable) as refused:
        refund(given_back, "1", "r2")
    assert refused.value.code == "not_a_charge"


def test_the_refund_of_an_answer_comes_along_with_its_charge(alice: Person, llm: object) -> None:
    fund(alice.workspace, "1")
    message = answered(alice, make_conversation(alice))
    (charge,) = message.billing_events
    event, _ = refund(charge, "0.00001", "r1")
    assert set(message.billing_events) == {charge, event}
    assert wallet(alice).balance == Decimal("0.99996")
    assert_clean()


def correct(workspace: Workspace, original: BillingEvent | None, amount: str = "-0.00001") -> tuple[BillingEvent, bool]:
    return ledger.adjust(
        workspace=workspace,
        amount=Decimal(amount),
        reference="a1",
        description="Miscounted",
        actor=None,
        original=original,
    )


def test_the_adjustment_of_an_answer_comes_along_with_its_charge(alice: Person, llm: object) -> None:
    fund(alice.workspace, "1")
    message = answered(alice, make_conversation(alice))
    (charge,) = message.billing_events
    event, is_new = correct(alice.workspace, charge)
    assert (is_new, event.original, event.user, event.event_type) == (True, charge, alice.user, "adjustment")
    assert set(message.billing_events) == {charge, event}
    assert correct(alice.workspace, charge) == (event, False)
    with pytest.raises(Conflict):  # the same reference, said of nothing or of something else
        correct(alice.workspace, None)
    assert wallet(alice).balance == Decimal("0.99994")
    assert_clean()


def test_an_adjustment_is_of_a_movement_of_its_own_wallet(cast: Cast) -> None:
    fund(cast.alice.workspace, "1")
    fund(cast.charlie.workspace, "1")
    (theirs,) = events(cast.charlie)
    with pytest.raises(Unprocessable) as refused:
        correct(cast.alice.workspace, theirs)
    assert refused.value.code == "foreign_original"
    assert [event.event_type for event in events(cast.alice)] == ["credit"]
    assert_clean()


@pytest.mark.django_db(transaction=True)
def test_ten_people_refund_the_same_charge_at_once(alice: Person, charged: BillingEvent) -> None:
    """$4 in tenths of $1: four of the ten go through."""
    barrier, outcomes, lock = threading.Barrier(10), [], threading.Lock()

    def click(number: int) -> None:
        barrier.wait()
        try:
            refund(charged, "1", f"click:{number}")
            result = "refunded"
        except Refusal as refusal:
            result = refusal.code
        finally:
            connection.close()
        with lock:
            outcomes.append(result)

    people = [threading.Thread(target=click, args=(number,)) for number in range(10)]
    for person in people:
        person.start()
    for person in people:
        person.join()
    assert sorted(outcomes) == ["refund_exceeds_charge"] * 6 + ["refunded"] * 4
    assert wallet(alice).balance == Decimal("10")
    assert_clean()


@pytest.mark.django_db(transaction=True)
def test_the_same_payment_notified_ten_times_at_once_is_credited_once(alice: Person) -> None:
    barrier, outcomes, lock = threading.Barrier(10), [], threading.Lock()

    def notify() -> None:
        barrier.wait()
        try:
            _, is_new = ledger.credit(workspace=alice.workspace, amount=Decimal("5"), reference="stripe:pi_1")
        finally:
            connection.close()
        with lock:
            outcomes.append(is_new)

    hooks = [threading.Thread(target=notify) for _ in range(10)]
    for hook in hooks:
        hook.start()
    for hook in hooks:
        hook.join()
    assert sorted(outcomes) == [False] * 9 + [True]
    assert wallet(alice).balance == Decimal("5")
    assert_clean()
