"""What the calls of a model would have cost at other prices: exact, each call at the rates that it would have met.

Calls are added up in the database by what decides about rates, so that a million of them come back as a few rows: the
workspace, between which thresholds the prompt lies, and between which hours of the day (UTC) the call was priced.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time
from decimal import Decimal
from typing import Any

from django.db import connection

from analytics import engine
from analytics.spans import Span
from llm import pricing
from llm.models import LLM
from llm.pricing import PriceTable
from llm.types import Usage
from synapscale.common.money import ZERO, UsdField
from synapscale.common.tenancy import fleet_wide

_ANY_DAY = datetime(2026, 1, 1, tzinfo=UTC)
_PROMPT = "(u.input_tokens + u.cached_input_tokens + u.cache_write_5m_tokens + u.cache_write_1h_tokens)"
_PRICED = "(CASE WHEN u.total_tokens = 0 AND u.status IN ('error', 'lost') THEN 0 ELSE 1 END)"
"""A call that failed without using a token costs no fee either (``conversations.metering.cost_of_call``)."""
_SUMS = ", ".join(
    [
        "COUNT(*)",
        f"SUM({_PRICED})",
        *(f"SUM(u.{name})" for name in ("input_tokens", "cached_input_tokens", "cache_write_5m_tokens")),
        *("SUM(u.cache_write_1h_tokens)", "SUM(u.output_tokens)", "SUM(u.reasoning_tokens)", "SUM(u.cost_usd)"),
    ]
)
_USD = UsdField()


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
    without markups. One query, for operators.
    """
    thresholds = sorted({tier.above_input_tokens + 1 for table in tables for tier in table.tiers})
    clock = sorted({edge for table in tables for window in table.windows for edge in (window.start, window.end)})
    totals: dict[uuid.UUID, list[Any]] = defaultdict(lambda: [0, ZERO, *([ZERO] * len(tables))])
    for workspace, tier, hours, calls, priced, *tokens, paid in _rows(llm, span, thresholds, clock):
        usage = Usage(*(int(count) for count in tokens))
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
    calls = (
        f"SELECT u.workspace_id, {tier} AS tier, {hours} AS hours, {_SUMS} FROM usage_logs u "
        f"WHERE {'u.workspace_id = w.id AND ' if is_postgresql else ''}u.llm_id = %s AND u.created_at >= %s AND u.created_at < %s GROUP BY 1, 2, 3"
    )
    # Workspace by workspace, by the index that begins with it and the model: the calls of all other models are not read.
    sql = f"SELECT x.* FROM workspaces w CROSS JOIN LATERAL ({calls}) x" if is_postgresql else calls
    with fleet_wide(), connection.cursor() as cursor:
        cursor.execute(sql, [*given, engine.param(llm.pk), *engine.params(span)])
        return cursor.fetchall()
