"""What is added up of calls, and what is made of the sums: one definition for every screen, report and alert.

``docs/analytics.md`` lists them with an example each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from operator import add
from typing import Any, Self

from synapscale.common.money import UsdField, usd_text

TIMED = "(u.status = 'success' AND u.latency_ms IS NOT NULL)"
"""Latency is that of answers that came whole: how long a failure took says nothing about a model's speed."""
ANSWERED = "(u.output_tokens + u.reasoning_tokens)"
OF_A_CALL: dict[str, str] = {
    "calls": "1",
    "messages": "(CASE WHEN u.attempt = 1 THEN 1 ELSE 0 END)",
    "input_tokens": ("(u.input_tokens + u.cached_input_tokens + u.cache_write_5m_tokens + u.cache_write_1h_tokens)"),
    "cached_input_tokens": "u.cached_input_tokens",
    "cache_write_tokens": "(u.cache_write_5m_tokens + u.cache_write_1h_tokens)",
    "output_tokens": ANSWERED,
    "reasoning_tokens": "u.reasoning_tokens",
    "total_tokens": "u.total_tokens",
    "charged_usd": "u.charged_usd",
    "cost_usd": "u.cost_usd",
    "timed_calls": f"(CASE WHEN {TIMED} THEN 1 ELSE 0 END)",
    "latency_ms": f"(CASE WHEN {TIMED} THEN u.latency_ms ELSE 0 END)",
    "timed_output_tokens": f"(CASE WHEN {TIMED} THEN {ANSWERED} ELSE 0 END)",
    "first_token_calls": f"(CASE WHEN {TIMED} AND u.time_to_first_token_ms IS NOT NULL THEN 1 ELSE 0 END)",
    "first_token_ms": f"(CASE WHEN {TIMED} THEN COALESCE(u.time_to_first_token_ms, 0) ELSE 0 END)",
}
"""SQL: what one row ``u`` of ``usage_logs`` adds to each of the stored sums."""

BY_STATUS = {
    "failed": ("error", "lost"),
    "interrupted": ("interrupted",),
}
BY_KEY = {"own_key_calls": ("user",)}
_MONEY = frozenset({"charged_usd", "cost_usd"})
_USD = UsdField()
_NAMES = (*OF_A_CALL, *BY_STATUS, *BY_KEY)
_NOTHING = (0,) * len(_NAMES)


def sums_sql(row: str = "x") -> str:
    """SQL: all that ``Figures`` is made of, over rows that have the stored sums, a status and a key source."""
    whole = (
        "CAST({} AS bigint)"  # SUM of BIGINT is NUMERIC, which is slower to read; only money may need that much room
    )

    def part(column: str, values: Iterable[str]) -> str:
        listed = ", ".join(f"'{value}'" for value in values)
        return whole.format(f"SUM(CASE WHEN {row}.{column} IN ({listed}) THEN {row}.calls ELSE 0 END)")

    return ", ".join(
        [
            *(f"SUM({row}.{name})" if name in _MONEY else whole.format(f"SUM({row}.{name})") for name in OF_A_CALL),
            *(part("status", values) for values in BY_STATUS.values()),
            *(part("key_source", values) for values in BY_KEY.values()),
        ]
    )


class _Count:
    """One of the numbers of ``Figures``, by its name."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.place = _NAMES.index(name)

    def __get__(self, figures: Figures, owner: type | None = None) -> int:
        return figures.numbers[self.place]


class _Usd(_Count):
    def __get__(self, figures: Figures, owner: type | None = None) -> Decimal:  # type: ignore[override]
        return _USD.from_scaled(figures.numbers[self.place])


class Figures:
    """Sums over calls. Money in USD, times in ms.

    A tuple of whole numbers underneath, money in pico-dollars: there are tens of thousands of these to be added up.
    """

    __slots__ = ("numbers",)

    calls = _Count()
    messages = _Count()
    input_tokens = _Count()
    cached_input_tokens = _Count()
    cache_write_tokens = _Count()
    output_tokens = _Count()
    reasoning_tokens = _Count()
    total_tokens = _Count()
    charged_usd = _Usd()
    cost_usd = _Usd()
    timed_calls = _Count()
    latency_ms = _Count()
    timed_output_tokens = _Count()
    first_token_calls = _Count()
    first_token_ms = _Count()
    failed = _Count()
    interrupted = _Count()
    own_key_calls = _Count()

    def __init__(self, numbers: tuple[int, ...] = _NOTHING) -> None:
        self.numbers = numbers

    @classmethod
    def of(cls, row: Iterable[Any]) -> Self:
        """From a row of ``sums_sql``; nothing at all sums up to None."""
        return cls(tuple([int(number or 0) for number in row]))

    @classmethod
    def total(cls, of: Iterable[Figures]) -> Self:
        """All of them added up."""
        columns = tuple(zip(*(figures.numbers for figures in of), strict=True))
        return cls(tuple(map(sum, columns))) if columns else cls()

    @classmethod
    def named(cls, **values: int | Decimal) -> Self:
        """With these values, money in USD; what is not named is 0."""
        unknown = set(values) - set(_NAMES)
        if unknown:
            raise TypeError(f"No such sums: {unknown}")
        return cls(
            tuple(
                _USD.to_scaled(Decimal(values.get(name, 0))) if name in _MONEY else int(values.get(name, 0))
                for name in _NAMES
            )
        )

    def __add__(self, other: Figures) -> Figures:
        return Figures(tuple(map(add, self.numbers, other.numbers)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Figures) and self.numbers == other.numbers

    def __hash__(self) -> int:
        return hash(self.numbers)

    def __repr__(self) -> str:
        said = (f"{name}={number}" for name, number in zip(_NAMES, self.numbers, strict=True) if number)
        return f"Figures({', '.join(said)})"

    @property
    def successful(self) -> int:
        return self.calls - self.failed - self.interrupted


def ratio(part: int | Decimal, whole: int, *, places: int) -> Decimal | None:
    """``part / whole``, rounded half up; None where there is nothing to divide by."""
    if not whole:
        return None
    return (Decimal(part) / whole).quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP)


def _text(value: Decimal | None) -> str | None:
    return None if value is None else format(value, "f")


def _money(value: Decimal | None) -> str | None:
    return None if value is None else usd_text(value)


@dataclass(frozen=True, slots=True)
class Metric:
    """A figure that the API shows: what it is, where it comes from, in what, and how it is made of the sums."""

    definition: str
    source: str
    unit: str
    of: Callable[[Figures], Any]
    is_money: bool = False


METRICS: dict[str, Metric] = {
    "calls": Metric(
        "Provider calls. One message that fell back to another model is several.",
        "rows of `usage_logs`",
        "calls",
        lambda f: f.calls,
    ),
    "messages": Metric(
        "Messages that were answered, or tried. It counts for the model that was tried first.",
        "`attempt` 1",
        "messages",
        lambda f: f.messages,
    ),
    "successful": Metric("Calls whose answer came whole.", "status `success`", "calls", lambda f: f.successful),
    "failed": Metric(
        "Calls that ended in an error or were lost.", "status `error` or `lost`", "calls", lambda f: f.failed
    ),
    "interrupted": Metric(
        "Calls that broke off half-way; what had come is kept and charged.",
        "status `interrupted`",
        "calls",
        lambda f: f.interrupted,
    ),
    "error_rate": Metric(
        "`failed / calls`, to 4 places.",
        "`usage_logs`",
        "share, 0 to 1",
        lambda f: _text(ratio(f.failed, f.calls, places=4)),
    ),
    "input_tokens": Metric(
        "Tokens of prompts, cached ones and cache writes included.",
        "all four input columns of `usage_logs`",
        "tokens",
        lambda f: f.input_tokens,
    ),
    "cached_input_tokens": Metric(
        "Those of them that the provider had cached.",
        "`cached_input_tokens`",
        "tokens",
        lambda f: f.cached_input_tokens,
    ),
    "cache_write_tokens": Metric(
        "Those of them that the provider wrote into its cache.",
        "`cache_write_5m_tokens` + `cache_write_1h_tokens`",
        "tokens",
        lambda f: f.cache_write_tokens,
    ),
    "output_tokens": Metric(
        "Tokens of answers, reasoning included.",
        "`output_tokens` + `reasoning_tokens`",
        "tokens",
        lambda f: f.output_tokens,
    ),
    "reasoning_tokens": Metric(
        "Those of them that were reasoning.", "`reasoning_tokens`", "tokens", lambda f: f.reasoning_tokens
    ),
    "total_tokens": Metric("Input and output.", "`total_tokens`", "tokens", lambda f: f.total_tokens),
    "cost": Metric(
        "What the wallet paid for the calls. Refunds are the ledger's, not taken off here.",
        "`charged_usd`",
        "USD, exact",
        lambda f: usd_text(f.charged_usd),
        is_money=True,
    ),
    "provider_cost": Metric(
        "What the providers ask for the calls, on whosever key.",
        "`cost_usd`",
        "USD, exact",
        lambda f: usd_text(f.cost_usd),
        is_money=True,
    ),
    "average_cost": Metric(
        "`cost / calls`, to 12 places.",
        "`usage_logs`",
        "USD",
        lambda f: _money(ratio(f.charged_usd, f.calls, places=12)),
        is_money=True,
    ),
    "own_key_share": Metric(
        "Calls on users' own keys / calls, to 4 places.",
        "`key_source` `user`",
        "share, 0 to 1",
        lambda f: _text(ratio(f.own_key_calls, f.calls, places=4)),
        is_money=True,
    ),
    "average_latency_ms": Metric(
        "Mean time to the whole answer, of successful calls.",
        "`latency_ms`",
        "ms, to 1 place",
        lambda f: _text(ratio(f.latency_ms, f.timed_calls, places=1)),
    ),
    "average_first_token_ms": Metric(
        "Mean time to the first token, of successful calls that were streamed.",
        "`time_to_first_token_ms`",
        "ms, to 1 place",
        lambda f: _text(ratio(f.first_token_ms, f.first_token_calls, places=1)),
    ),
    "tokens_per_second": Metric(
        "Output tokens of successful calls / the seconds that these took.",
        "`output_tokens` + `reasoning_tokens`, `latency_ms`",
        "tokens per second, to 2 places",
        lambda f: _text(ratio(f.timed_output_tokens * 1000, f.latency_ms, places=2)),
    ),
}


def shown(figures: Figures, names: Iterable[str] = METRICS) -> dict[str, Any]:
    """The metrics of ``figures`` by name, as JSON."""
    return {name: METRICS[name].of(figures) for name in names}


MONEY_METRICS = ("calls", *(name for name, metric in METRICS.items() if metric.is_money))
