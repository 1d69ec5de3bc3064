"""What tokens cost, to the last digit. Pure arithmetic: no database, no clock, no Django.

All sums are whole numbers of pico-dollars (1e-12 USD). A list price in USD per million tokens with six decimals is, in
micro-dollars per million tokens, the same whole number as in pico-dollars per token; so tokens times price is exact and
nothing here rounds, except a markup, once and down. Amounts become ``Decimal`` at the very end, through text, because
arithmetic on Decimals would round to the context's precision.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from datetime import UTC, datetime, time
from decimal import Decimal, InvalidOperation
from typing import Any, Self, TypeVar

from llm.types import Usage

Entry = TypeVar("Entry")

RATE_PLACES = 6
USD_PLACES = 12
UNLIMITED_TOKENS = 2**63 - 1
"""What ``affordable_output_tokens`` answers when output costs nothing. Callers cap it with the model's own limit."""


class NoPrice(LookupError):
    """No price is known for this model at this time. The call is refused: a price is never guessed."""


class BadPrice(ValueError):
    """A price that makes no sense. ``where`` is the part of it; ``text`` says why, with ``values`` to be filled in, and is in
    ``locale/`` for those who show it in another language (``tests/translations.py`` finds it).
    """

    def __init__(self, text: str, *, where: str, **values: object) -> None:
        super().__init__(f"{where}: {text % values}")
        self.text, self.where, self.values = text, where, values


@dataclass(frozen=True, slots=True)
class Rates:
    """Pico-USD per token, which is micro-USD per million tokens: whole numbers, not negative.

    A rate that is None has no price of its own, and its tokens are billed as the next wider kind: a cache write of one
    hour as one of five minutes, and either, like a cache read, as plain input (the decomposition of genai-prices,
    ``genai_prices/decompose.py``). Reasoning is billed as output.
    """

    input: int
    output: int
    cached_input: int | None = None
    cache_write_5m: int | None = None
    cache_write_1h: int | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            rate = getattr(self, field.name)
            if rate is None and field.name not in ("input", "output"):
                continue
            if type(rate) is not int or rate < 0:
                raise BadPrice(
                    "a rate is a whole number of pico-dollars per token, not %(value)r", where=field.name, value=rate
                )

    @classmethod
    def per_mtok(cls, **rates: Decimal | str | int | None) -> Self:
        """Rates from list prices in USD per million tokens, of at most six decimals. Raises BadPrice for others."""
        names = {field.name for field in fields(cls)}
        if unknown := rates.keys() - names:
            raise BadPrice("no such rate", where=min(unknown))
        for name in ("input", "output"):
            if rates.get(name) is None:
                raise BadPrice("is missing", where=name)
        scaled = {name: None if rate is None else _scaled(name, rate, RATE_PLACES) for name, rate in rates.items()}
        return cls(**scaled)  # type: ignore[arg-type]

    @property
    def write_5m(self) -> int:
        return self.input if self.cache_write_5m is None else self.cache_write_5m

    @property
    def write_1h(self) -> int:
        return self.write_5m if self.cache_write_1h is None else self.cache_write_1h

    @property
    def read(self) -> int:
        return self.input if self.cached_input is None else self.cached_input

    @property
    def dearest_input(self) -> int:
        return max(self.input, self.read, self.write_5m, self.write_1h)

    def cost(self, usage: Usage) -> int:
        """What ``usage`` costs at these rates, in pico-USD. Calls that the same rates apply to may be added up first."""
        return (
            usage.input * self.input
            + usage.cached_input * self.read
            + usage.cache_write_5m * self.write_5m
            + usage.cache_write_1h * self.write_1h
            + usage.total_output * self.output
        )

    def named(self) -> set[str]:
        """The kinds of token with a price of their own."""
        return {field.name for field in fields(self) if getattr(self, field.name) is not None}


@dataclass(frozen=True, slots=True)
class Tier:
    """Rates for long prompts: they replace all others, for every token, once the prompt has more than so many."""

    above_input_tokens: int
    rates: Rates


@dataclass(frozen=True, slots=True)
class Window:
    """Rates for a time of day in UTC, from ``start`` up to but not including ``end``; may cross midnight."""

    start: time
    end: time
    rates: Rates

    def __post_init__(self) -> None:
        if self.start.tzinfo is not None or self.end.tzinfo is not None:
            raise BadPrice("times of a window are UTC, written without an offset", where="start")
        if self.start == self.end:
            raise BadPrice("must differ from start", where="end")

    def covers(self, at: datetime) -> bool:
        """Whether ``at`` (aware) lies in the window. The rule of genai-prices' ``TimeOfDateConstraint.active``."""
        moment = at.astimezone(UTC).time()
        if self.end < self.start:
            return moment >= self.start or moment < self.end
        return self.start <= moment < self.end


@dataclass(frozen=True, slots=True)
class PriceTable:
    """One version of a model's price. It has tiers or windows, not both: no provider combines them, and then neither
    reading could be the wrong one."""

    rates: Rates
    tiers: tuple[Tier, ...] = ()
    windows: tuple[Window, ...] = ()
    request_fee: int = 0
    """Pico-USD per call, whatever its length."""

    def __post_init__(self) -> None:
        if type(self.request_fee) is not int or self.request_fee < 0:
            raise BadPrice(
                "must be a whole number of pico-dollars, not %(value)r", where="request_fee", value=self.request_fee
            )
        if self.tiers and self.windows:
            raise BadPrice("a price has tiers or windows, not both", where="windows")
        thresholds = [tier.above_input_tokens for tier in self.tiers]
        if any(type(threshold) is not int or threshold < 1 for threshold in thresholds):
            raise BadPrice("above_input_tokens must be a whole number above zero", where="tiers")
        if thresholds != sorted(set(thresholds)):
            raise BadPrice("must rise by above_input_tokens", where="tiers")
        replacements = {
            "tiers": [tier.rates for tier in self.tiers],
            "windows": [window.rates for window in self.windows],
        }
        for kind, others in replacements.items():
            for index, rates in enumerate(others):
                # A tier that forgot its cached rate would bill cache reads as plain input, unnoticed.
                if odd := self.rates.named() ^ rates.named():
                    name = f"{kind}[{index}].{min(odd)}"
                    raise BadPrice("must be priced here and in the base price, or in neither", where=name)

    def rates_for(self, *, input_tokens: int, at: datetime) -> Rates:
        """The rates of a call whose whole prompt has ``input_tokens`` tokens, admitted at ``at`` (aware, any zone).

        The last window that covers ``at`` wins, as in genai-prices; of the tiers, the highest that is exceeded.
        """
        if at.tzinfo is None:
            raise ValueError("at must be an aware datetime")
        for window in reversed(self.windows):
            if window.covers(at):
                return window.rates
        for tier in reversed(self.tiers):
            if input_tokens > tier.above_input_tokens:
                return tier.rates
        return self.rates

    def spans(self, *, input_tokens: int, at: datetime) -> Iterator[tuple[int, Rates]]:
        """Every set of rates a prompt of up to ``input_tokens`` can meet, with the longest prompt that meets it."""
        ceilings = [tier.above_input_tokens for tier in self.tiers if tier.above_input_tokens < input_tokens]
        for longest in [*ceilings, input_tokens]:
            yield longest, self.rates_for(input_tokens=longest, at=at)


def cost_of(table: PriceTable, usage: Usage, *, at: datetime) -> Decimal:
    """The exact cost of ``usage`` in USD (12 places) under ``table``, for a call admitted at ``at``."""
    rates = table.rates_for(input_tokens=usage.total_input, at=at)
    return _usd(rates.cost(usage) + table.request_fee)


def cost_of_many(table: PriceTable, usage: Usage, *, input_tokens: int, at: datetime, calls: int) -> Decimal:
    """The exact cost in USD of ``calls`` calls that used ``usage`` together and are all priced like one at ``at`` whose
    prompt has ``input_tokens`` tokens.
    """
    _require_counts(calls=calls)
    return _usd(table.rates_for(input_tokens=input_tokens, at=at).cost(usage) + calls * table.request_fee)


def worst_case(table: PriceTable, *, input_tokens: int, max_output_tokens: int, at: datetime) -> Decimal:
    """The most, in USD, that a call at ``at`` can cost with at most these tokens: no usage within them costs more.

    A shorter prompt is looked at too, because a tier may be cheaper than the one below it.
    """
    _require_counts(input_tokens=input_tokens, max_output_tokens=max_output_tokens)
    spans = table.spans(input_tokens=input_tokens, at=at)
    dearest = max(longest * rates.dearest_input + max_output_tokens * rates.output for longest, rates in spans)
    return _usd(dearest + table.request_fee)


def affordable_output_tokens(table: PriceTable, *, budget: Decimal, input_tokens: int, at: datetime) -> int:
    """The largest ``max_output_tokens`` whose ``worst_case`` fits in ``budget`` USD; -1 when not even the prompt fits.

    ``UNLIMITED_TOKENS`` when output is free.
    """
    _require_counts(input_tokens=input_tokens)
    # Exact integer floor; a budget with more than twelve places can't buy anything with the rest.
    numerator, denominator = budget.as_integer_ratio()
    room = numerator * 10**USD_PLACES // denominator - table.request_fee
    affordable = UNLIMITED_TOKENS
    for longest, rates in table.spans(input_tokens=input_tokens, at=at):
        left = room - longest * rates.dearest_input
        if left < 0:
            return -1
        if rates.output:
            affordable = min(affordable, left // rates.output)
    return affordable


def with_markup(cost: Decimal, *, basis_points: int) -> Decimal:
    """``cost`` plus ``basis_points`` hundredths of a percent, floored once, at the 12th place."""
    _require_counts(basis_points=basis_points)
    return _usd(_scaled("cost", cost, USD_PLACES) * (10_000 + basis_points) // 10_000)


def without_markup(amount: Decimal, *, basis_points: int) -> Decimal:
    """A cost whose ``with_markup`` never exceeds ``amount``: what a budget of ``amount`` can buy, in USD."""
    _require_counts(basis_points=basis_points)
    return _usd(_scaled("amount", amount, USD_PLACES) * 10_000 // (10_000 + basis_points))


def part_of(cost: Decimal, *, basis_points: int) -> Decimal:
    """``basis_points`` hundredths of a percent of ``cost``, floored once, at the 12th place."""
    _require_counts(basis_points=basis_points)
    return _usd(_scaled("cost", cost, USD_PLACES) * basis_points // 10_000)


def whole_of(amount: Decimal, *, basis_points: int) -> Decimal:
    """A cost whose ``part_of`` never exceeds ``amount``, in USD. ``basis_points`` is not zero."""
    _require_counts(basis_points=basis_points)
    return _usd(_scaled("amount", amount, USD_PLACES) * 10_000 // basis_points)


def estimate_tokens(text: str) -> int:
    """A rough count, four UTF-8 bytes to a token, where a provider reported none: for figures marked as estimates."""
    return tokens_of_bytes(len(text.encode(errors="surrogatepass")))


def tokens_of_bytes(size: int) -> int:
    return -(-size // 4)


# --- Prices as JSON -------------------------------------------------------------------------------------------------


def parse_tiers(value: Any) -> tuple[Tier, ...]:
    """Tiers from ``[{"above_input_tokens": 200000, "input": "4", "output": "18", ...}]``, USD per million tokens.

    Raises BadPrice that names the entry: ``tiers[0].input: ...``.
    """

    def tier(entry: dict[str, Any]) -> Tier:
        return Tier(_take(entry, "above_input_tokens"), _json_rates(entry))

    return _parse_list("tiers", value, tier)


def parse_windows(value: Any) -> tuple[Window, ...]:
    """Windows from ``[{"start": "01:00", "end": "04:00", "input": "1.32", "output": "3.96", ...}]``, times in UTC.

    Raises BadPrice that names the entry: ``windows[0].start: ...``.
    """

    def window(entry: dict[str, Any]) -> Window:
        start, end = _clock("start", _take(entry, "start")), _clock("end", _take(entry, "end"))
        return Window(start, end, _json_rates(entry))

    return _parse_list("windows", value, window)


def _parse_list(name: str, value: Any, parse: Callable[[dict[str, Any]], Entry]) -> tuple[Entry, ...]:
    if not isinstance(value, list):
        raise BadPrice("must be a list", where=name)
    entries = []
    for index, entry in enumerate(value):
        here = f"{name}[{index}]"
        if not isinstance(entry, dict):
            raise BadPrice("must be an object", where=here)
        try:
            entries.append(parse(dict(entry)))
        except BadPrice as error:
            raise BadPrice(error.text, where=".".join((here, error.where)), **error.values) from None
    return tuple(entries)


def _take(entry: dict[str, Any], name: str) -> Any:
    if name not in entry:
        raise BadPrice("is missing", where=name)
    return entry.pop(name)


def _json_rates(entry: dict[str, Any]) -> Rates:
    for name, rate in entry.items():
        # A JSON number becomes a float in somebody's hands sooner or later.
        if not isinstance(rate, str):
            raise BadPrice("must be a decimal in quotes, not %(value)r", where=name, value=rate)
    return Rates.per_mtok(**entry)


def _clock(name: str, value: Any) -> time:
    try:
        return time.fromisoformat(value)
    except (TypeError, ValueError):
        raise BadPrice("must be a time of day like 04:00, not %(value)r", where=name, value=value) from None


def _scaled(name: str, value: Decimal | str | int, places: int) -> int:
    """``value * 10**places``, exactly. Raises BadPrice for a float, a negative, or digits beyond ``places``."""
    if isinstance(value, bool) or not isinstance(value, Decimal | str | int):
        raise BadPrice("must be a decimal, not %(value)r", where=name, value=value)
    try:
        exact = Decimal(value)
    except InvalidOperation:
        raise BadPrice("is not a decimal number: %(value)r", where=name, value=value) from None
    # The bound keeps a text like 1E999999999 from being written out.
    if not exact.is_finite() or exact < 0 or exact.adjusted() > 30:
        raise BadPrice("must be a sensible amount, not negative: %(value)r", where=name, value=value)
    if exact.adjusted() < -places and exact:
        raise BadPrice("has more than %(places)d decimal places: %(value)r", where=name, places=places, value=value)
    numerator, denominator = exact.as_integer_ratio()
    scaled, rest = divmod(numerator * 10**places, denominator)
    if rest:
        raise BadPrice("has more than %(places)d decimal places: %(value)r", where=name, places=places, value=value)
    return int(scaled)


def _usd(pico: int) -> Decimal:
    return Decimal(f"{pico}E-{USD_PLACES}")


def _require_counts(**counts: int) -> None:
    for name, count in counts.items():
        if type(count) is not int or count < 0:
            raise ValueError(f"{name} must be a whole number of at least zero, not {count!r}")
