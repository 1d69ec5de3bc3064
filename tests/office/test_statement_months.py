"""Where a month of the ledger begins and ends, whatever the clocks of the servers said."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.utils import translation
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from billing.models import BillingEvent
from office.statements import SKEW, Month, NotAMonth, statement
from tests.office.ledgers import adjust, credit
from tests.people import make_workspace

MONTHS = [Month(2026, number) for number in range(8, 13)]
around = st.builds(
    lambda edge, minutes: datetime(2026, edge, 1, tzinfo=UTC) + timedelta(minutes=minutes),
    st.sampled_from([10, 11]),
    st.integers(-25, 25),
)
anywhere = st.builds(
    lambda minutes: datetime(2026, 9, 1, tzinfo=UTC) + timedelta(minutes=minutes), st.integers(0, 90 * 24 * 60)
)
late = st.integers(0, int(SKEW.total_seconds()))
"""By how many seconds a clock is before the others, at most."""
ledgers = st.lists(st.tuples(around | anywhere, late, st.integers(-100, 100).filter(bool)), max_size=12)


class AnyLedger(TestCase):
    """Hypothesis rolls each example's rows back by itself."""

    @settings(max_examples=40)
    @given(ledgers)
    def test_each_movement_is_in_one_month_and_each_month_begins_where_the_last_ended(
        self, ledger: list[tuple[datetime, int, int]]
    ) -> None:
        acme = make_workspace("acme")
        credit(acme, datetime(2026, 8, 20, tzinfo=UTC), "5000")
        for moment, seconds, cents in sorted(ledger, key=lambda one: one[0]):
            adjust(acme, moment + timedelta(seconds=seconds), f"{cents}e-12")
        events = list(BillingEvent.objects.filter(workspace=acme).order_by("seq"))

        upto = 0
        for month in MONTHS:
            found = statement(acme, month)
            before, last = found.first - 1, found.last
            assert before == upto
            assert last == max((event.seq for event in events if event.created_at < month.end), default=0)
            upto = last
            assert found.agrees
            assert found.opening == (events[before - 1].balance_after if before else 0)
            assert found.closing == (events[last - 1].balance_after if last else 0)
            assert [one.seq for one in found.movements] == list(range(before + 1, last + 1))
        assert upto == len(events)


@given(st.integers(2000, 9998), st.integers(1, 12))
def test_months_follow_one_another(year: int, number: int) -> None:
    month = Month(year, number)
    assert Month.parse(str(month)) == month
    assert month.next.previous == month
    assert month.previous < month < month.next
    assert month.end == month.next.start
    assert Month.of(month.start) == Month.of(month.end - timedelta(microseconds=1)) == month


@pytest.mark.parametrize(
    "text", ["", "2026", "2026-13", "2026-00", "2026-1", "26-10", "2026-10-01", "２０２６-10", " 2026-10", "2026-10\n"]
)
def test_what_is_no_month(text: str) -> None:
    with pytest.raises(NotAMonth):
        Month.parse(text)


def test_a_month_is_utcs() -> None:
    assert Month.of(datetime.fromisoformat("2026-10-31T22:00:00-03:00")) == Month(2026, 11)


def test_a_month_has_the_name_that_people_of_a_language_give_it() -> None:
    assert Month(2026, 10).name == "October 2026"
    with translation.override("pt-br"):
        assert Month(2026, 10).name == "Outubro de 2026"
