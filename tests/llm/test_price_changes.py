"""What differs between two prices, and by how much."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from llm.price_changes import changes, largest
from llm.pricing import PriceTable, Rates, parse_tiers, parse_windows

Told = list[tuple[str, int, str, str | None, str, str | None]]


def table(*, tiers: Any = (), windows: Any = (), **rates: str) -> PriceTable:
    return PriceTable(
        Rates.per_mtok(**{"input": "1", "output": "2", **rates}), parse_tiers(list(tiers)), parse_windows(list(windows))
    )


def told(old: PriceTable | None, new: PriceTable) -> Told:
    rows = [change.as_json() for change in changes(old, new)]
    return [(row["kind"], row["above_tokens"], row["hours"], row["old"], row["new"], row["percent"]) for row in rows]


def test_the_same_price_is_no_change() -> None:
    assert told(table(), table()) == []


def test_each_rate_with_its_percentage() -> None:
    old = table(cached_input="0.1")
    assert told(old, table(input="1.2", cached_input="0.05", output="2")) == [
        ("input", 0, "", "1.00", "1.20", "20.0"),
        ("cached_input", 0, "", "0.10", "0.05", "-50.0"),
    ]


def test_a_rate_that_is_named_is_compared_with_the_one_its_tokens_were_billed_by() -> None:
    assert told(table(), table(cached_input="1")) == []
    assert told(table(), table(cached_input="0.1")) == [("cached_input", 0, "", "1.00", "0.10", "-90.0")]
    assert told(table(cache_write_5m="3"), table(cache_write_5m="3", cache_write_1h="6")) == [
        ("cache_write_1h", 0, "", "3.00", "6.00", "100.0")
    ]


def test_what_was_nothing_has_no_percentage_and_is_within_no_limit() -> None:
    (change,) = changes(table(input="0"), table(input="0.000001"))
    assert (change.percent, change.is_within(10_000)) == (None, False)
    assert largest([change]) is None
    assert [change.old for change in changes(None, table())] == [None, None]


def test_what_becomes_free_is_a_change_of_a_hundred_percent() -> None:
    (change,) = changes(table(), table(input="0"))
    assert (change.percent, change.is_within(99), change.is_within(100)) == (Decimal("-100.0"), False, True)


def test_the_limit_is_exact() -> None:
    """To a tenth it would be 20.0 %."""
    (change,) = changes(table(input="1"), table(input="1.200001"))
    assert change.percent == Decimal("20.0")
    assert not change.is_within(20)
    assert changes(table(input="1"), table(input="1.2"))[0].is_within(20)
    assert changes(table(input="1"), table(input="0.8"))[0].is_within(20)


def test_tiers_are_compared_where_they_begin() -> None:
    tier = {"above_input_tokens": 1000, "input": "2", "output": "4"}
    assert told(table(), table(tiers=[tier])) == [
        ("input", 1000, "", "1.00", "2.00", "100.0"),
        ("output", 1000, "", "2.00", "4.00", "100.0"),
    ]
    earlier = {**tier, "above_input_tokens": 500}
    assert told(table(tiers=[tier]), table(tiers=[earlier])) == [
        ("input", 500, "", "1.00", "2.00", "100.0"),
        ("output", 500, "", "2.00", "4.00", "100.0"),
    ]
    assert told(table(tiers=[tier]), table(tiers=[{**tier, "output": "3"}])) == [
        ("output", 1000, "", "4.00", "3.00", "-25.0")
    ]


def test_windows_are_compared_hour_by_hour() -> None:
    night = {"start": "22:00", "end": "04:00", "input": "0.5", "output": "2"}
    assert told(table(), table(windows=[night])) == [("input", 0, "22:00-04:00", "1.00", "0.50", "-50.0")]
    assert told(table(windows=[night]), table(windows=[{**night, "end": "02:00"}])) == [
        ("input", 0, "02:00-04:00", "0.50", "1.00", "100.0")
    ]
    assert told(table(windows=[night]), table(input="2", windows=[{**night, "input": "1"}])) == [
        ("input", 0, "04:00-22:00", "1.00", "2.00", "100.0"),
        ("input", 0, "22:00-04:00", "0.50", "1.00", "100.0"),
    ]


@pytest.mark.parametrize("new", ["4000000", "0.000001"])
def test_huge_changes_have_a_percentage_all_the_same(new: str) -> None:
    (change,) = changes(table(input="0.00001"), table(input=new))
    assert change.percent is not None
    assert abs(change.percent) <= Decimal("999999.9")
