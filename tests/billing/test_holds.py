"""Holds on their own: reserving in one guarded statement, and being resolved once."""

from __future__ import annotations

import threading
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection, transaction
from django.utils import timezone

from billing import holds
from billing.models import Hold, Wallet
from billing.policy import should_charge
from synapscale.common.errors import Forbidden
from synapscale.common.processes import Condition
from tests.conversations.calling import wallet
from tests.people import Person, fund

pytestmark = pytest.mark.django_db


def reserve(person: Person, amount: str) -> Hold:
    purse = wallet(person)
    with transaction.atomic():
        hold = holds.open_hold(wallet=purse, user_id=person.user.pk, amount=Decimal(amount))
        holds.reserve(wallet=purse, amount=Decimal(amount))
    hold.refresh_from_db()
    return hold


def release(hold: Hold) -> None:
    with transaction.atomic():
        holds.resolve(hold=hold, state="released", charged=Decimal(0))
        holds.give_back(hold=hold)


def test_a_hold_is_taken_from_what_is_available(alice: Person) -> None:
    fund(alice.workspace, "1")
    hold = reserve(alice, "0.4")
    assert (hold.state, hold.amount, hold.charged, hold.resolved_at, hold.is_dispatched) == (
        "held",
        Decimal("0.4"),
        None,
        None,
        False,
    )
    purse = wallet(alice)
    assert (purse.balance, purse.held, purse.available) == (Decimal("1"), Decimal("0.4"), Decimal("0.6"))


def test_the_last_pico_dollar_can_be_held_and_no_more(alice: Person) -> None:
    fund(alice.workspace, "1")
    reserve(alice, "0.999999999999")
    with pytest.raises(holds.WalletMoved):
        reserve(alice, "0.000000000002")
    reserve(alice, "0.000000000001")
    assert wallet(alice).available == Decimal(0)
    assert Hold.objects.filter(workspace=alice.workspace).count() == 2


def test_a_postpaid_wallet_holds_up_to_its_limit(alice: Person) -> None:
    Wallet.objects.filter(workspace=alice.workspace).update(mode="postpaid", credit_limit=Decimal("2"))
    reserve(alice, "2")
    with pytest.raises(holds.WalletMoved):
        reserve(alice, "0.000000000001")


def test_an_untracked_wallet_holds_anything(alice: Person) -> None:
    Wallet.objects.filter(workspace=alice.workspace).update(mode="untracked")
    reserve(alice, "5")
    assert wallet(alice).held == Decimal("5")


@pytest.mark.parametrize("amount", ["0", "0.1"])
def test_a_suspended_wallet_holds_nothing_and_says_why(alice: Person, amount: str) -> None:
    """Not “try again”: waiting does not open it."""
    fund(alice.workspace, "1")
    Wallet.objects.filter(workspace=alice.workspace).update(status="suspended")
    with pytest.raises(Forbidden) as refused:
        reserve(alice, amount)
    assert refused.value.code == "wallet_suspended"
    assert wallet(alice).held == Decimal(0)


def test_a_hold_of_nothing_leaves_the_wallet_alone(alice: Person) -> None:
    hold = reserve(alice, "0")
    release(hold)
    assert wallet(alice).held == Decimal(0)


def abandoned(person: Person, **given: Any) -> list[Hold]:
    return list(Hold.objects.filter(holds.abandoned(**given), workspace=person.workspace))


def test_a_hold_of_a_dead_process_is_abandoned_at_once(alice: Person) -> None:
    hold = reserve(alice, "0")
    assert abandoned(alice) == []
    place, pid, started_at = hold.owner.rsplit(":", 2)
    Hold.objects.filter(workspace=alice.workspace).update(owner=f"{place}:{pid}:{int(started_at) + 1}")
    assert abandoned(alice) == [hold]
    # Of a process on another machine nobody here can tell: its lease counts.
    Hold.objects.filter(workspace=alice.workspace).update(owner=f"elsewhere:{pid}:{int(started_at) + 1}")
    assert abandoned(alice) == []


@pytest.mark.parametrize(
    ("condition", "judges_others", "after"),
    [
        (Condition.DEAD, True, "0"),
        (Condition.DEAD, False, "0"),
        (Condition.STOPPED, True, "lease"),
        (Condition.STOPPED, False, "lease"),
        (Condition.UNKNOWN, True, "lease"),
        (Condition.UNKNOWN, False, "15 minutes"),
        (Condition.ALIVE, True, "15 minutes"),
        (Condition.ALIVE, False, "15 minutes"),
    ],
)
def test_when_a_hold_of_another_process_is_abandoned(
    alice: Person, monkeypatch: pytest.MonkeyPatch, condition: Condition, judges_others: bool, after: str
) -> None:
    """A database that was away lets every lease run out, also those of calls that go on."""
    hold = reserve(alice, "0")
    Hold.objects.filter(workspace=alice.workspace).update(owner="another process")
    monkeypatch.setattr(holds.processes, "condition", lambda owner: condition)
    ages = {"0": timedelta(seconds=-50), "lease": timedelta(seconds=1), "15 minutes": timedelta(minutes=15, seconds=1)}
    for name, age in ages.items():
        Hold.objects.filter(workspace=alice.workspace).update(lease_until=timezone.now() - age)
        is_due = list(ages).index(name) >= list(ages).index(after)
        assert abandoned(alice, judges_others=judges_others) == ([hold] if is_due else []), name
        assert abandoned(alice, judges_others=judges_others, running={hold.pk}) == []


def test_an_own_hold_that_nobody_runs_is_abandoned_after_its_lease(alice: Person) -> None:
    """Its call never started, or could not be settled."""
    hold, other = reserve(alice, "0"), reserve(alice, "0")
    Hold.objects.filter(workspace=alice.workspace).update(lease_until=timezone.now() - timedelta(seconds=1))
    assert abandoned(alice, running={other.pk}, judges_others=False) == [hold]


def test_a_hold_of_a_process_that_could_not_be_named_is_judged_by_its_lease(alice: Person) -> None:
    hold = reserve(alice, "0")
    Hold.objects.filter(workspace=alice.workspace).update(owner="", lease_until=timezone.now() - timedelta(seconds=1))
    assert abandoned(alice) == [hold]
    assert abandoned(alice, judges_others=False) == []


def test_a_lease_runs_on_the_databases_clock(alice: Person, settings: object) -> None:
    hold = reserve(alice, "0")
    assert timedelta(seconds=58) < hold.lease_until - timezone.now() <= timedelta(seconds=60)
    assert abandoned(alice) == []
    Hold.objects.filter(workspace=alice.workspace).update(lease_until=timezone.now() - timedelta(milliseconds=5))
    assert abandoned(alice) == [hold]
    holds.renew(workspace_id=alice.workspace.pk, hold_id=hold.pk)
    assert abandoned(alice) == []


def test_dispatching_notes_it_and_renews_the_lease(alice: Person) -> None:
    hold = reserve(alice, "0")
    Hold.objects.filter(workspace=alice.workspace).update(lease_until=timezone.now())
    holds.dispatch(workspace_id=alice.workspace.pk, hold_id=hold.pk)
    hold.refresh_from_db()
    assert hold.is_dispatched
    assert hold.lease_until > timezone.now() + timedelta(seconds=58)


def test_a_resolved_hold_is_gone_for_everybody_else(alice: Person) -> None:
    fund(alice.workspace, "1")
    hold = reserve(alice, "0.4")
    release(hold)
    purse = wallet(alice)
    assert (purse.balance, purse.held) == (Decimal("1"), Decimal(0))
    ids = {"workspace_id": alice.workspace.pk, "hold_id": hold.pk}
    for step in (
        lambda: holds.dispatch(**ids),
        lambda: holds.renew(**ids),
        lambda: holds.resolve(hold=hold, state="settled", charged=Decimal("0.1")),
        lambda: release(hold),
    ):
        with pytest.raises(holds.HoldGone):
            step()
    hold.refresh_from_db()
    assert (hold.state, hold.charged) == ("released", Decimal(0))
    assert hold.resolved_at is not None


def test_another_workspaces_hold_is_not_found(alice: Person, charlie: Person) -> None:
    hold = reserve(alice, "0")
    with pytest.raises(holds.HoldGone):
        holds.renew(workspace_id=charlie.workspace.pk, hold_id=hold.pk)


def test_more_than_is_held_is_never_given_back(alice: Person) -> None:
    """It can't happen; if it did, the transaction must fail."""
    purse = wallet(alice)
    hold = holds.open_hold(wallet=purse, user_id=alice.user.pk, amount=Decimal("1"))
    with pytest.raises(AssertionError, match="does not hold what hold"):
        holds.give_back(hold=hold)


@pytest.mark.parametrize(
    ("mode", "key_source", "is_charged"),
    [
        ("prepaid", "global", True),
        ("postpaid", "global", True),
        ("untracked", "global", False),
        ("prepaid", "user", False),
        ("prepaid", "workspace", False),
        ("untracked", "user", False),
    ],
)
def test_what_is_charged(alice: Person, mode: str, key_source: str, is_charged: bool) -> None:
    Wallet.objects.filter(workspace=alice.workspace).update(mode=mode)
    assert should_charge(alice.user, alice.workspace, key_source) is is_charged
    assert should_charge(alice.user, alice.workspace, key_source, wallet=wallet(alice)) is is_charged


@pytest.mark.django_db(transaction=True)
def test_twenty_callers_at_once_on_money_for_seven(alice: Person) -> None:
    fund(alice.workspace, "0.7")
    barrier, results, lock = threading.Barrier(20), [], threading.Lock()

    def call() -> None:
        barrier.wait()
        try:
            reserve(alice, "0.1")
            result = "held"
        except holds.WalletMoved:
            result = "refused"
        finally:
            connection.close()
        with lock:
            results.append(result)

    callers = [threading.Thread(target=call) for _ in range(20)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert sorted(results) == ["held"] * 7 + ["refused"] * 13
    purse = wallet(alice)
    assert (purse.held, purse.available) == (Decimal("0.7"), Decimal(0))
    assert Hold.objects.filter(workspace=alice.workspace).count() == 7
