"""The median and the MAD, against plain definitions of them."""

from __future__ import annotations

import statistics
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics.alerting import words
from analytics.alerting.robust import CONSISTENCY, Usual, median, usual

amounts = st.decimals(min_value=0, max_value=1_000_000, places=6)
lists = st.lists(amounts, min_size=1, max_size=60)


@given(lists)
def test_the_median_is_that_of_the_standard_library(values: list[Decimal]) -> None:
    assert median(values) == statistics.median(values)


@given(lists)
def test_half_of_the_values_are_within_the_mad(values: list[Decimal]) -> None:
    found = usual(values)
    within = sum(abs(value - found.median) <= found.mad for value in values)
    assert within * 2 >= len(values)
    assert found.mad >= 0
    assert found == usual(sorted(values, reverse=True))


@given(lists, amounts)
def test_it_moves_with_the_values(values: list[Decimal], shift: Decimal) -> None:
    before, after = usual(values), usual([value + shift for value in values])
    assert after == Usual(before.median + shift, before.mad, before.count)


@given(st.lists(amounts, min_size=3, max_size=40), st.data())
def test_fewer_than_half_wild_values_stay_within_what_the_others_are(
    values: list[Decimal], data: st.DataObject
) -> None:
    wild = data.draw(st.integers(0, (len(values) - 1) // 2))
    found = usual([*values[wild:], *[Decimal(10) ** 12] * wild])
    assert found.median <= max(values[wild:])


@given(lists, st.decimals(min_value=0, max_value=20, places=2), amounts)
def test_what_is_usual_is_never_above_the_bound(values: list[Decimal], deviations: Decimal, floor: Decimal) -> None:
    found = usual(values)
    bound = found.bound(deviations, floor=floor)
    assert bound >= found.median + floor
    assert bound >= found.median + deviations * CONSISTENCY * found.mad
    assert bound in (found.median + floor, found.median + deviations * CONSISTENCY * found.mad)


def test_of_nothing_there_is_no_median() -> None:
    with pytest.raises(ValueError, match="no values"):
        median([])


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (60, "of the last 60 seconds"),
        (90, "of the last 90 seconds"),
        (900, "of the last 15 minutes"),
        (3600, "of the last 60 minutes"),
        (86_400, "of the last 24 hours"),
        (604_800, "of the last 7 days"),
    ],
)
def test_durations(seconds: int, said: str) -> None:
    assert words.window(seconds) == said


def test_numbers() -> None:
    assert (words.percent(Decimal("0.0952")), words.percent(Decimal("0.05"))) == ("9.52 %", "5 %")
    assert (words.exactly(Decimal("5.100")), words.exactly(Decimal(100))) == ("5.1", "100")
