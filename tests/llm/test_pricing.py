"""The arithmetic of prices against fractions, and the promises a hold rests on."""

from __future__ import annotations

from dataclasses import fields
from datetime import UTC, datetime, time, timedelta, timezone
from decimal import Decimal, localcontext
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from llm import pricing
from llm.pricing import PriceTable, Rates, Tier, Window
from llm.types import Usage

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
OPTIONAL = ("cached_input", "cache_write_5m", "cache_write_1h")

rate = st.one_of(st.just(0), st.integers(0, 10**9))
tokens = st.one_of(st.integers(0, 300), st.integers(0, 3_000_000))
usages = st.builds(Usage, **{bucket.name: tokens for bucket in fields(Usage)})
moments = st.datetimes(datetime(2026, 1, 1), datetime(2028, 1, 1), timezones=st.just(UTC))
clock = st.builds(time, st.integers(0, 23), st.sampled_from([0, 30]))


@st.composite
def tables(draw: Any) -> PriceTable:
    named = draw(st.sets(st.sampled_from(OPTIONAL)))
    rates = st.builds(Rates, input=rate, output=rate, **dict.fromkeys(named, rate))
    tiers, windows = [], []
    if draw(st.booleans()):
        thresholds = sorted(draw(st.sets(st.one_of(st.integers(1, 400), st.integers(1, 2_000_000)), max_size=3)))
        tiers = [Tier(threshold, draw(rates)) for threshold in thresholds]
    else:
        spans = draw(st.lists(st.tuples(clock, clock).filter(lambda pair: pair[0] != pair[1]), max_size=3))
        windows = [Window(start, end, draw(rates)) for start, end in spans]
    return PriceTable(draw(rates), tuple(tiers), tuple(windows), draw(st.sampled_from([0, 10**9])))


def by_fractions(table: PriceTable, usage: Usage, at: datetime) -> Fraction:
    """The cost in dollars, reckoned another way: by looking the rates up and summing fractions."""
    rates = table.rates
    for tier in table.tiers:
        if usage.total_input > tier.above_input_tokens:
            rates = tier.rates
    minute = at.hour * 60 + at.minute
    for window in table.windows:
        start, end = window.start.hour * 60 + window.start.minute, window.end.hour * 60 + window.end.minute
        if (start <= minute < end) if start < end else not (end <= minute < start):
            rates = window.rates

    def per_token(*names: str) -> Fraction:
        pico = next(value for name in names if (value := getattr(rates, name)) is not None)
        return Fraction(pico, 10**6) / 10**6

    return (
        usage.input * per_token("input")
        + usage.cached_input * per_token("cached_input", "input")
        + usage.cache_write_5m * per_token("cache_write_5m", "input")
        + usage.cache_write_1h * per_token("cache_write_1h", "cache_write_5m", "input")
        + (usage.output + usage.reasoning) * per_token("output")
        + Fraction(table.request_fee, 10**12)
    )


@given(tables(), usages, moments)
def test_a_cost_is_exact(table: PriceTable, usage: Usage, at: datetime) -> None:
    cost = pricing.cost_of(table, usage, at=at)
    assert Fraction(cost) == by_fractions(table, usage, at)
    assert cost.as_tuple().exponent == -12


def test_the_context_precision_does_not_matter() -> None:
    table = PriceTable(Rates.per_mtok(input="123.456789", output="987.654321"))
    with localcontext() as context:
        context.prec = 3
        cost = pricing.cost_of(table, Usage(input=10**15 + 1, output=10**15 + 3), at=NOON)
    assert Fraction(cost) == (Fraction("123.456789") * (10**15 + 1) + Fraction("987.654321") * (10**15 + 3)) / 10**6


@given(tables(), usages, moments, st.sampled_from([bucket.name for bucket in fields(Usage)]), st.integers(1, 1000))
def test_more_tokens_never_cost_less_at_the_same_rates(
    table: PriceTable, usage: Usage, at: datetime, bucket: str, more: int
) -> None:
    flat = PriceTable(table.rates_for(input_tokens=usage.total_input, at=at), request_fee=table.request_fee)
    larger = Usage(**{**usage.as_dict(), bucket: getattr(usage, bucket) + more})
    assert pricing.cost_of(flat, larger, at=at) >= pricing.cost_of(flat, usage, at=at)


@given(tables(), usages, moments, st.integers(0, 1000), st.integers(0, 1000))
@example(  # a tier that is cheaper than the base price
    PriceTable(Rates(10, 10), (Tier(100, Rates(1, 1)),)), Usage(input=100, output=1), NOON, 50, 0
)
def test_no_usage_within_its_limits_costs_more_than_the_worst_case(
    table: PriceTable, usage: Usage, at: datetime, more_input: int, more_output: int
) -> None:
    worst = pricing.worst_case(
        table,
        input_tokens=usage.total_input + more_input,
        max_output_tokens=usage.total_output + more_output,
        at=at,
    )
    assert pricing.cost_of(table, usage, at=at) <= worst


@given(tables(), tokens, moments)
def test_the_worst_case_can_happen(table: PriceTable, input_tokens: int, at: datetime) -> None:
    worst = pricing.worst_case(table, input_tokens=input_tokens, max_output_tokens=7, at=at)
    buckets = ("input", "cached_input", "cache_write_5m", "cache_write_1h")
    lengths = {input_tokens, *(t.above_input_tokens for t in table.tiers if t.above_input_tokens < input_tokens)}
    reached = {
        pricing.cost_of(table, Usage(**{bucket: length}, output=7), at=at) for bucket in buckets for length in lengths
    }
    assert max(reached) == worst


@given(tables(), tokens, st.integers(0, 10_000), moments)
def test_the_worst_case_grows_with_its_limits(
    table: PriceTable, input_tokens: int, output_tokens: int, at: datetime
) -> None:
    def worst(more_input: int, more_output: int) -> Decimal:
        return pricing.worst_case(
            table, input_tokens=input_tokens + more_input, max_output_tokens=output_tokens + more_output, at=at
        )

    assert worst(0, 0) <= worst(1, 0) <= worst(1, 1)
    assert worst(0, 0) <= worst(0, 1)


@given(tables(), st.decimals(-1, 50, places=14), tokens, moments)
def test_what_is_affordable_fits_and_one_token_more_does_not(
    table: PriceTable, budget: Decimal, input_tokens: int, at: datetime
) -> None:
    def fits(output_tokens: int) -> bool:
        worst = pricing.worst_case(table, input_tokens=input_tokens, max_output_tokens=output_tokens, at=at)
        return worst <= budget

    affordable = pricing.affordable_output_tokens(table, budget=budget, input_tokens=input_tokens, at=at)
    if affordable == -1:
        assert not fits(0)
    else:
        assert fits(affordable)
        assert affordable == pricing.UNLIMITED_TOKENS or not fits(affordable + 1)


@given(st.integers(0, 10**18), st.integers(0, 100_000))
def test_a_markup_rounds_once_and_down(pico: int, basis_points: int) -> None:
    cost = Decimal(f"{pico}E-12")
    marked_up = pricing.with_markup(cost, basis_points=basis_points)
    exact = Fraction(cost) * (10_000 + basis_points) / 10_000
    assert 0 <= exact - Fraction(marked_up) < Fraction(1, 10**12)
    assert marked_up >= cost


def test_a_markup_of_nothing_changes_nothing() -> None:
    assert pricing.with_markup(Decimal("0.000000000001"), basis_points=0) == Decimal("0.000000000001")
    assert pricing.with_markup(Decimal("0.000000000001"), basis_points=9_999) == Decimal("0.000000000001")
    with pytest.raises(ValueError, match="basis_points"):
        pricing.with_markup(Decimal(1), basis_points=-1)


def test_a_tier_begins_above_its_threshold_and_replaces_every_rate() -> None:
    low, middle, high = Rates(1, 2), Rates(10, 20), Rates(100, 200)
    table = PriceTable(low, (Tier(1000, middle), Tier(2000, high)))
    chosen = {n: table.rates_for(input_tokens=n, at=NOON) for n in (0, 1000, 1001, 2000, 2001, 10**9)}
    assert chosen == {0: low, 1000: low, 1001: middle, 2000: middle, 2001: high, 10**9: high}
    assert pricing.cost_of(table, Usage(input=600, cached_input=401, output=5), at=NOON) == Decimal("0.000000010110")


@pytest.mark.parametrize(
    ("moment", "inside"),
    [
        (time(21, 59, 59, 999_999), False),
        (time(22), True),
        (time(23, 59, 59, 999_999), True),
        (time(0), True),
        (time(1, 59, 59, 999_999), True),
        (time(2), False),
        (time(12), False),
    ],
)
def test_a_window_is_half_open_in_utc_and_may_cross_midnight(moment: time, inside: bool) -> None:
    window = Window(time(22), time(2), Rates(9, 9))
    at = datetime.combine(NOON.date(), moment, UTC)
    assert window.covers(at) is inside
    assert window.covers(at.astimezone(timezone(timedelta(hours=9)))) is inside
    table = PriceTable(Rates(1, 1), windows=(window,))
    assert table.rates_for(input_tokens=1, at=at).input == (9 if inside else 1)


def test_the_last_window_that_covers_wins() -> None:
    table = PriceTable(
        Rates(1, 1), windows=(Window(time(8), time(18), Rates(2, 2)), Window(time(11), time(13), Rates(3, 3)))
    )
    assert [table.rates_for(input_tokens=1, at=NOON.replace(hour=hour)).input for hour in (7, 9, 12, 13)] == [
        1,
        2,
        3,
        2,
    ]


def test_a_naive_time_is_refused() -> None:
    with pytest.raises(ValueError, match="aware"):
        pricing.cost_of(PriceTable(Rates(1, 1)), Usage(input=1), at=datetime(2026, 1, 1))


@pytest.mark.parametrize(
    ("rates", "message"),
    [
        ({"input": "1"}, "output: is missing"),
        ({"input": None, "output": "1"}, "input: is missing"),
        ({"input": "-1", "output": "1"}, "input: must be"),
        ({"input": "0.0000001", "output": "1"}, "input: has more than 6"),
        ({"input": "1E-999999999", "output": "1"}, "input: has more than 6"),
        ({"input": "1E999999999", "output": "1"}, "input: must be"),
        ({"input": "NaN", "output": "1"}, "input: must be"),
        ({"input": 0.1, "output": "1"}, "input: must be a decimal, not 0.1"),
        ({"input": True, "output": "1"}, "input: must be a decimal"),
        ({"input": "one", "output": "1"}, "input: is not a decimal"),
        ({"input": "1", "output": "1", "audio": "1"}, "audio: no such rate"),
    ],
)
def test_a_bad_rate_is_named(rates: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Rates.per_mtok(**rates)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("200000", r"tiers\[0\]: must be an object"),
        ({"input": "1", "output": "1"}, r"tiers\[0\].above_input_tokens: is missing"),
        ({"above_input_tokens": 1, "input": "1"}, r"tiers\[0\].output: is missing"),
        ({"above_input_tokens": 1, "input": 1.5, "output": "1"}, r"tiers\[0\].input: must be a decimal in quotes"),
        ({"above_input_tokens": 1, "input": "1", "output": "1", "x": "1"}, r"tiers\[0\].x: no such rate"),
    ],
)
def test_a_bad_tier_is_named(entry: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pricing.parse_tiers([entry])


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"end": "04:00", "input": "1", "output": "1"}, r"windows\[0\].start: is missing"),
        ({"start": "4 pm", "end": "04:00", "input": "1", "output": "1"}, r"windows\[0\].start: must be a time"),
        ({"start": "01:00", "end": 4, "input": "1", "output": "1"}, r"windows\[0\].end: must be a time"),
        ({"start": "01:00", "end": "01:00", "input": "1", "output": "1"}, r"windows\[0\].end: must differ"),
        ({"start": "01:00+08:00", "end": "04:00", "input": "1", "output": "1"}, r"windows\[0\].start: times"),
    ],
)
def test_a_bad_window_is_named(entry: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pricing.parse_windows([entry])


def test_a_table_that_could_be_read_in_two_ways_is_refused() -> None:
    base, cached = Rates(1, 1), Rates(1, 1, cached_input=1)
    window = Window(time(1), time(2), base)
    for arguments, message in [
        ({"tiers": (Tier(1, base),), "windows": (window,)}, "tiers or windows"),
        ({"tiers": (Tier(2, base), Tier(1, base))}, "rise"),
        ({"tiers": (Tier(1, base), Tier(1, base))}, "rise"),
        ({"tiers": (Tier(0, base),)}, "above zero"),
        ({"tiers": (Tier(1, cached),)}, r"tiers\[0\].cached_input"),
        ({"request_fee": -1}, "request_fee"),
    ]:
        with pytest.raises(ValueError, match=message):
            PriceTable(base, **arguments)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"windows\[0\].cached_input"):
        PriceTable(cached, windows=(window,))


@given(st.text())
def test_estimates_count_bytes(text: str) -> None:
    size = len(text.encode())
    assert pricing.estimate_tokens(text) == (size + 3) // 4


def test_estimates_take_any_text() -> None:
    assert pricing.estimate_tokens("\ud800") == 1
    assert pricing.estimate_tokens("") == 0
