"""What a statement says: from balance to balance, to the last digit."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from analytics import rollups
from billing.models import BillingEvent
from llm.models import LLM
from office.statements import Month, Statement, statement
from tests.catalogue import make_llm
from tests.office.ledgers import adjust, at, call, charge, clock_at, credit, refund
from tests.people import Cast, Person
from tests.unguarded import run, unguarded
from workspaces.models import Workspace

pytestmark = pytest.mark.django_db
OCTOBER = Month(2026, 10)
LATER = at(12)


@pytest.fixture
def other(db: None) -> LLM:
    return make_llm("anthropic", "claude")


@pytest.fixture
def acme(cast: Cast, llm: LLM, other: LLM) -> Workspace:
    """September leaves 9.75; October has a movement of every kind."""
    alice, bob = cast.alice, cast.bob
    acme = alice.workspace
    credit(acme, at(9), "10")
    call(alice, llm, at(9), "0.25")
    credit(acme, at(10, 1, 0), "5", "Bank transfer", payment_transaction_id="pi_77", reference="top-up:1")
    first = call(alice, llm, at(10, 2), "0.000001000001", tokens=10)
    call(bob, llm, at(10, 3), "0.5", tokens=20)
    call(bob, other, at(10, 4), "1.25", tokens=40)
    call(bob, other, at(10, 5), "0.01", key_source="user", cost="0.2", tokens=7)
    call(alice, other, at(10, 6), key_source="workspace", cost="0.3", tokens=8)
    charge(acme, at(10, 7), "2", kind="subscription", said="Pro, October")
    assert first.billing_event is not None
    refund(first.billing_event, at(10, 8), "0.000001")
    adjust(acme, at(10, 9), "-0.75", "Counted twice")
    charge(acme, at(10, 31, 23, 59), "0.1", said="A file")
    call(alice, llm, at(11, 1, 0), "3")
    call(cast.charlie, llm, at(10), key_source="user", cost="9")  # another workspace's
    return acme


def of(acme: Workspace, month: Month = OCTOBER, now: datetime = LATER, listed: int | None = 200) -> Statement:
    return statement(acme, month, now=now, listed=listed)


def numbers(rows: list[tuple[str, object]]) -> list[tuple[str, int, int, str]]:
    return [(name, calls.count, calls.tokens, f"{calls.amount.normalize():f}") for name, calls in rows]  # type: ignore[attr-defined]


def test_it_leads_from_balance_to_balance(acme: Workspace) -> None:
    found = of(acme)

    assert found.opening == Decimal("9.75")
    assert {kind: found.amount(kind) for kind in found.totals} == {
        "credit": Decimal("5"),
        "usage": Decimal("-1.850001000001"),
        "fee": Decimal("-0.01"),
        "subscription": Decimal("-2"),
        "refund": Decimal("0.000001"),
        "adjustment": Decimal("-0.75"),
    }
    assert found.closing == Decimal("10.139999999999")
    assert (found.difference, found.agrees) == (0, True)
    assert (found.first, found.last, found.count) == (3, 11, 9)


def test_usage_is_told_apart_by_model_and_by_member(acme: Workspace) -> None:
    found = of(acme)

    assert numbers(found.by_model("usage")) == [
        ("anthropic/claude", 1, 40, "-1.25"),
        ("openai/openai-test", 2, 30, "-0.500001000001"),
        ("", 1, 0, "-0.1"),
    ]
    assert numbers(found.by_member("usage")) == [
        ("Bob (bob@example.org)", 2, 60, "-1.75"),
        ("", 1, 0, "-0.1"),
        ("Alice (alice@example.org)", 1, 10, "-0.000001000001"),
    ]
    assert numbers(found.by_model("fee")) == [("anthropic/claude", 1, 7, "-0.01")]


@pytest.mark.parametrize("is_summed", [True, False])
def test_calls_on_own_keys_are_there_and_move_nothing(acme: Workspace, is_summed: bool) -> None:
    if is_summed:
        rollups.roll_up()
    assert numbers(of(acme).of_own_keys()) == [("anthropic/claude", 2, 15, "0.5")]


def test_other_movements_are_listed_one_by_one(acme: Workspace) -> None:
    found = of(acme)

    assert [(one.seq, one.kind, one.amount, one.description, one.at) for one in found.movements] == [
        (3, "credit", Decimal(5), "Bank transfer", at(10, 1, 0)),
        (8, "subscription", Decimal(-2), "Pro, October", at(10, 7)),
        (9, "refund", Decimal("0.000001"), "A bad answer", at(10, 8)),
        (10, "adjustment", Decimal("-0.75"), "Counted twice", at(10, 9)),
    ]
    assert found.movements[0].reference == "pi_77"  # as the bank calls it
    assert found.movements[1].reference.startswith("test:")


def test_months_follow_one_another(acme: Workspace) -> None:
    september, october, november, december = (of(acme, Month(2026, number), now=at(12)) for number in (9, 10, 11, 12))

    assert (september.opening, september.closing) == (0, october.opening)
    assert october.closing == november.opening
    assert (november.closing, november.totals["usage"].count) == (Decimal("7.139999999999"), 1)
    assert (december.opening, december.closing) == (november.closing, november.closing)
    assert all(month.agrees for month in (september, october, november, december))


def test_a_month_without_movements_keeps_its_balance(acme: Workspace) -> None:
    found = of(acme, Month(2026, 12))

    assert (found.opening, found.closing, found.count, found.totals) == (found.closing, found.opening, 0, {})
    assert found.agrees
    before = of(acme, Month(2026, 8))
    assert (before.opening, before.closing, before.count, before.agrees) == (0, 0, 0, True)


def test_a_movement_is_of_the_month_of_its_number_not_of_its_time(alice: Person) -> None:
    """The clocks of two servers differ: what was numbered later has an earlier time."""
    acme = alice.workspace
    credit(acme, at(9, 30, 23), "1")
    credit(acme, at(10, 1, 0, 2), "2")  # in October, two minutes after midnight
    credit(acme, at(9, 30, 23, 58), "4")  # numbered after it
    credit(acme, at(10, 2), "8")

    september, october = (of(acme, Month(2026, number)) for number in (9, 10))
    assert (september.amount("credit"), september.last) == (7, 3)
    assert (october.amount("credit"), october.first) == (8, 4)


def test_a_charge_whose_call_is_of_long_before_is_its_models_all_the_same(alice: Person, llm: LLM) -> None:
    credit(alice.workspace, at(9), "1")
    call(alice, llm, at(9, 1), "0.5", charged_at=at(10))

    assert numbers(of(alice.workspace).by_model("usage")) == [("openai/openai-test", 1, 30, "-0.5")]


def test_only_so_many_are_listed_and_the_others_are_one_sum(alice: Person) -> None:
    for amount in range(1, 6):
        credit(alice.workspace, at(10), str(amount))
    adjust(alice.workspace, at(10), "-1")
    found = of(alice.workspace, listed=2)

    assert [one.amount for one in found.movements] == [1, 2, -1]
    rest = found.unlisted("credit")
    assert (rest.count, rest.amount) == (3, 3 + 4 + 5)
    assert found.unlisted("adjustment").count == 0
    assert found.agrees
    assert len(of(alice.workspace, listed=None).movements) == 6


def test_a_month_may_change_until_an_hour_after_its_end(alice: Person) -> None:
    end = at(11, 1, 0)
    assert OCTOBER.end == end
    for now, is_provisional in (
        (at(10, 20), True),
        (end + timedelta(minutes=59), True),
        (end + timedelta(hours=1), False),
    ):
        assert of(alice.workspace, now=now).is_provisional is is_provisional


def test_the_first_month_is_that_of_the_first_movement_or_of_the_workspace(alice: Person) -> None:
    with clock_at(at(10)):
        newer = Workspace.objects.create(slug="newer", name="Newer")
    assert of(newer, Month(2026, 11)).since == Month(2026, 10)
    credit(newer, at(9), "1")
    assert of(newer, Month(2026, 11)).since == Month(2026, 9)


@pytest.mark.fleet
def test_it_says_so_when_the_ledger_is_broken(acme: Workspace) -> None:
    with unguarded():
        run("UPDATE billing_events SET amount_usd = amount_usd - 1 WHERE seq = 6")
        found = of(acme)
        assert found.difference == Decimal("0.000000000001")
        assert not found.agrees
    with unguarded():
        run("DELETE FROM usage_logs")
        run("DELETE FROM billing_events WHERE seq = 6")
        assert not of(acme).agrees
    assert of(acme).agrees


def test_it_takes_nine_queries_however_much_there_is(acme: Workspace) -> None:
    with CaptureQueriesContext(connection) as queries:
        of(acme)
    assert len(queries) == 8 + 1  # looked for everywhere, because a charge is of no call
    with CaptureQueriesContext(connection) as queries:
        of(acme, Month(2026, 11))
    assert len(queries) == 7
    assert BillingEvent.objects.filter(workspace=acme).count() == 12
