"""What is added up of calls, and what is made of the sums: one definition for every screen, report and alert.

``docs/analytics.md`` lists them with an example each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, Self

from synapscale.common.money import ZERO, UsdField, usd_text

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


def sums_sql(row: str = "x") -> str:
    """SQL: all that ``Figures`` is made of, over rows that have the stored sums, a status and a key source."""

    def part(column: str, values: Iterable[str]) -> str:
        listed = ", ".join(f"'{value}'" for value in values)
        return f"SUM(CASE WHEN {row}.{column} IN ({listed}) THEN {row}.calls ELSE 0 END)"

    return ", ".join(
        [
            *(f"SUM({row}.{name})" for name in OF_A_CALL),
            *(part("status", values) for values in BY_STATUS.values()),
            *(part("key_source", values) for values in BY_KEY.values()),
        ]
    )


@dataclass(slots=True)
class Figures:
    """Sums over calls, and what is made of them. Money in USD, times in ms; a ratio of nothing is None."""

    calls: int = 0
    messages: int = 0
    input_tokens: int = 0
    cached_input_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    total_tokens: int = 0
    charged_usd: Decimal = ZERO
    cost_usd: Decimal = ZERO
    timed_calls: int = 0
    latency_ms: int = 0
    timed_output_tokens: int = 0
    first_token_calls: int = 0
    first_token_ms: int = 0
    failed: int = 0
    interrupted: int = 0
    own_key_calls: int = 0

    @classmethod
    def of(cls, numbers: Iterable[Any]) -> Self:
        """From a row of ``sums_sql``. PostgreSQL's SUM of BIGINT is NUMERIC: all of them are whole numbers."""
        money = UsdField()
        found = cls()
        for one, number in zip(fields(cls), numbers, strict=True):
            whole = int(number or 0)
            setattr(found, one.name, money.from_scaled(whole) if one.name in _MONEY else whole)
        return found

    def __iadd__(self, other: Figures) -> Self:
        for one in fields(self):
            setattr(self, one.name, getattr(self, one.name) + getattr(other, one.name))
        return self

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


def shown(figures: Figures, *, only_money: bool = False) -> dict[str, Any]:
    """The metrics of ``figures`` by name, as JSON."""
    wanted = {"calls"} if only_money else set(METRICS)
    return {name: metric.of(figures) for name, metric in METRICS.items() if name in wanted or metric.is_money}
