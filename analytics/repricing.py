"""What the calls of a model would have cost at other prices: exact, each call at the rates that it would have met.

The usual price is one for all calls, and the sums that there are anyway (docs/adr/0011) tell what they would have cost. But
sums have no hour of admission, don't tell a short prompt from a long one, a cache write of five minutes from one of an
hour, or which failed call used tokens and so costs a fee. The few calls of the last three kinds have an index
(``usage_logs_priced_apart``): each is taken out of what the sums say and put where it belongs, in the same statement. For
rates by the hour of the day, and for prompts that are not as long as those in the index, every call is read.

Either way calls are added up in the database by what decides about rates, so that a million of them come back as a few
rows: the workspace, between which thresholds the prompt lies, and between which hours of the day (UTC) the call was priced.
"""

from __future__ import annotations

import logging
import uuid
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time
from decimal import Decimal
from typing import Any

from django.db import connection

from analytics import engine, query
from analytics.measures import ANSWERED
from analytics.spans import Span
from conversations.models.usage import LONG_PROMPT
from llm import pricing
from llm.models import LLM
from llm.pricing import PriceTable
from llm.types import Usage
from synapscale.common.money import ZERO, UsdField
from synapscale.common.tenancy import fleet_wide

logger = logging.getLogger(__name__)
_ANY_DAY = datetime(2026, 1, 1, tzinfo=UTC)
_PROMPT = "(u.input_tokens + u.cached_input_tokens + u.cache_write_5m_tokens + u.cache_write_1h_tokens)"
_PRICED = "(CASE WHEN u.total_tokens = 0 AND u.status IN ('error', 'lost') THEN 0 ELSE 1 END)"
"""A call that failed without using a token costs no fee either (``conversations.metering.cost_of_call``)."""
_ADDED = {
    "calls": "COUNT(*)",
    "priced": f"SUM({_PRICED})",
    "fresh": "SUM(u.input_tokens)",
    "cached": "SUM(u.cached_input_tokens)",
    "minutes": "SUM(u.cache_write_5m_tokens)",
    "hour": "SUM(u.cache_write_1h_tokens)",
    "answered": f"SUM({ANSWERED})",
    "paid": "SUM(u.cost_usd)",
}
"""SQL: what is added up of calls ``u``. From ``fresh`` to ``answered`` in the order of ``Usage``, which is made of them."""
_TOLD = {
    "calls": "SUM(x.calls)",
    "priced": "SUM(CASE WHEN x.status IN ('error', 'lost') THEN 0 ELSE x.calls END)",
    "fresh": "SUM(x.input_tokens - x.cached_input_tokens - x.cache_write_tokens)",
    "cached": "SUM(x.cached_input_tokens)",
    "minutes": "SUM(x.cache_write_tokens)",
    "hour": "0",
    "answered": "SUM(x.output_tokens)",
    "paid": "SUM(x.cost_usd)",
}
"""The same as sums ``x`` tell it: all cache writes are of five minutes, and no call that failed costs a fee."""
_WHOLE = {"whole": "SUM(CASE WHEN u.status IN ('error', 'lost') THEN 0 ELSE 1 END)"}
"""Of the calls that stand apart, so many as the sums take for ones that cost a fee: those that did not fail."""
_TAKEN_OUT = {
    **{name: f"-a.{name}" for name in _ADDED},
    "priced": "-a.whole",
    "minutes": "-a.minutes - a.hour",
    "hour": "0",
}
"""What the sums tell of the calls ``a`` that stand apart, to be taken out of them."""
_USD = UsdField()
_KEYS = 3
"""Of the columns of a row: workspace, tier and hours come before what was added up."""


@dataclass(frozen=True, slots=True)
class Costs:
    """``calls`` calls: what they did cost, and what they would have cost at each of the prices, in USD."""

    calls: int
    paid: Decimal
    at: tuple[Decimal, ...]


@dataclass(frozen=True, slots=True)
class Repriced:
    total: Costs
    by_workspace: dict[uuid.UUID, Costs]


def reprice(llm: LLM, *, tables: Sequence[PriceTable], span: Span) -> Repriced:
    """All calls of ``llm`` in ``span``, of all workspaces, at each of ``tables``. What providers ask for, on whosever key,
    without markups. One query, for operators; a second one where sums turn out to be damaged.
    """
    thresholds = sorted({tier.above_input_tokens + 1 for table in tables for tier in table.tiers})
    clock = sorted({edge for table in tables for window in table.windows for edge in (window.start, window.end)})
    totals: dict[uuid.UUID, list[Any]] = defaultdict(lambda: [0, ZERO, *([ZERO] * len(tables))])
    for workspace, tier, hours, calls, priced, *tokens, paid in _rows(llm, span, thresholds, clock):
        usage = Usage(*(int(count) for count in tokens))  # reasoning costs what any other answer does
        prompt = thresholds[tier - 1] if tier else 0
        moment = datetime.combine(_ANY_DAY, clock[hours - 1] if hours else time(), UTC)
        costs = [
            pricing.cost_of_many(table, usage, input_tokens=prompt, at=moment, calls=int(priced)) for table in tables
        ]
        sums = totals[engine.as_uuid(workspace)]  # type: ignore[index]
        sums[:] = [known + new for known, new in zip(sums, [calls, _USD.from_scaled(int(paid)), *costs], strict=True)]
    by_workspace = {key: Costs(calls, paid, tuple(costs)) for key, (calls, paid, *costs) in totals.items()}
    every = by_workspace.values()
    total = Costs(
        calls=sum(one.calls for one in every),
        paid=sum((one.paid for one in every), start=ZERO),
        at=tuple(sum((one.at[number] for one in every), start=ZERO) for number in range(len(tables))),
    )
    return Repriced(total, by_workspace)


def _rows(llm: LLM, span: Span, thresholds: list[int], clock: list[time]) -> list[Any]:
    if clock or (thresholds and thresholds[0] <= LONG_PROMPT):
        return _read(*_calls(llm, span, thresholds, clock))
    rows = _read(*_sums(llm, span, thresholds))
    if all(number >= 0 for row in rows for number in row[_KEYS:]):
        return rows
    # More stands apart than there is in all, as after a table was restored in part.
    logger.error("the sums of %s contradict its calls, which are read instead: rebuild_rollups makes them again", llm)
    return _read(*_calls(llm, span, thresholds, clock))


def _read(sql: str, given: list[Any]) -> list[Any]:
    with fleet_wide(), connection.cursor() as cursor:
        cursor.execute(sql, given)
        return cursor.fetchall()


def _sums(llm: LLM, span: Span, thresholds: list[int]) -> tuple[str, list[Any]]:
    """SQL, and its parameters: what the sums tell, the calls that stand apart out of it, and these as they are."""
    sums, given = query.rows_sql(query.Wanted(None, llm_ids=frozenset({llm.pk})), edges=span, by=("workspace",))
    apart = "u.cache_write_1h_tokens > 0 OR (u.status IN ('error', 'lost') AND u.total_tokens > 0)"
    if thresholds:
        # Written out, so that PostgreSQL sees that all of them are in the index.
        apart += f" OR {_PROMPT} > {thresholds[0] - 1}"
    calls, of_calls = _calls(llm, span, thresholds, [], only=apart, more=_WHOLE)
    sql = (
        f"WITH apart AS ({calls}) SELECT workspace_id, tier, 0, {', '.join(f'SUM({name})' for name in _ADDED)} FROM ("
        f"SELECT x.d0 AS workspace_id, 0 AS tier, {_named(_TOLD)} FROM ({sums}) x GROUP BY x.d0 "
        f"UNION ALL SELECT a.workspace_id, 0, {_named(_TAKEN_OUT)} FROM apart a "
        f"UNION ALL SELECT a.workspace_id, a.tier, {', '.join(_ADDED)} FROM apart a"
        ") x GROUP BY workspace_id, tier"
    )
    return sql, [*of_calls, *given]


def _calls(
    llm: LLM,
    span: Span,
    thresholds: list[int],
    clock: list[time],
    *,
    only: str = "1 = 1",
    more: dict[str, str] | None = None,
) -> tuple[str, list[Any]]:
    """SQL, and its parameters: the calls, ``only`` some of them maybe, read one by one."""
    given: list[Any] = []
    tier = hours = "0"
    if thresholds:
        tier = engine.number_among(_PROMPT, "bigint")
        given.append(engine.edges(thresholds))
    if clock:
        moment, edges = engine.clock("u.priced_at", clock)
        hours = engine.number_among(moment, "time")
        given.append(edges)
    is_postgresql = engine.is_postgresql()
    asked = f"u.llm_id = %s AND u.created_at >= %s AND u.created_at < %s AND ({only})"
    calls = (
        f"SELECT u.workspace_id, {tier} AS tier, {hours} AS hours, {_named({**_ADDED, **(more or {})})} "
        f"FROM usage_logs u WHERE {'u.workspace_id = w.id AND ' if is_postgresql else ''}{asked} GROUP BY 1, 2, 3"
    )
    # Workspace by workspace, by the index that begins with it and the model: the calls of all other models are not read.
    sql = f"SELECT x.* FROM workspaces w CROSS JOIN LATERAL ({calls}) x" if is_postgresql else calls
    return sql, [*given, engine.param(llm.pk), *engine.params(span)]


def _named(columns: dict[str, str]) -> str:
    return ", ".join(f"{sql} AS {name}" for name, sql in columns.items())
