"""How long answers took, by model: the counts of calls per step of latency, exact like any other figure."""

from __future__ import annotations

import uuid
from collections import defaultdict
from datetime import datetime
from typing import Any

from django.db import connection

from analytics import engine, latency
from analytics.measures import TIMED
from analytics.models import FleetLatencyDay, LatencyDay
from analytics.query import Wanted, conditions_on_calls, reading
from analytics.spans import DAY, cover, loose

Counts = dict[int, int]
"""Successful calls by the step of their latency."""
_KEPT = {"llm"}


def counts_by_llm(wanted: Wanted, *, start: datetime, end: datetime) -> dict[uuid.UUID, Counts]:
    """The counts of the calls of ``wanted`` from ``start`` on, before ``end``. One query."""
    kept = {name for name, _ in wanted.conditions()} <= _KEPT and not wanted.tags
    covered = cover([start, end], DAY) if kept else loose([start, end])
    parts: list[tuple[str, list[Any]]] = []
    step = engine.number_among("u.latency_ms", "integer")
    edges = engine.edges(latency.EDGES)
    if covered.whole is not None:
        table = FleetLatencyDay if wanted.workspace_id is None else LatencyDay
        where, given = ["s.day >= %s", "s.day < %s"], engine.params(covered.whole)
        if wanted.workspace_id is not None:
            where.append("s.workspace_id = %s")
            given.append(engine.param(wanted.workspace_id))
        if wanted.llm_ids is not None:
            condition, values = engine.among("s.llm_id", sorted(wanted.llm_ids))
            where.append(condition)
            given += values
        parts.append(
            (f"SELECT s.llm_id, s.step, s.calls FROM {table._meta.db_table} s WHERE {' AND '.join(where)}", given)
        )
        where, given = conditions_on_calls(wanted, (covered.whole,), "u.workspace_id", "t.workspace_id")
        tail = "usage_tail t JOIN usage_logs u ON u.workspace_id = t.workspace_id AND u.id = t.usage_log_id"
        parts.append(
            (
                f"SELECT u.llm_id, {step} AS step, 1 AS calls FROM {tail} WHERE {TIMED} AND {' AND '.join(where)}",
                [edges, *given],
            )
        )
    if covered.loose:
        where, given = conditions_on_calls(wanted, covered.loose, "u.workspace_id")
        parts.append(
            (
                f"SELECT u.llm_id, {step} AS step, 1 AS calls FROM usage_logs u WHERE {TIMED} AND {' AND '.join(where)}",
                [edges, *given],
            )
        )
    sql = (
        "SELECT llm_id, step, SUM(calls) FROM ("
        + " UNION ALL ".join(part for part, _ in parts)
        + ") x GROUP BY llm_id, step"
    )
    with reading(wanted), connection.cursor() as cursor:
        cursor.execute(sql, [value for _, values in parts for value in values])
        rows = cursor.fetchall()
    found: dict[uuid.UUID, Counts] = defaultdict(dict)
    for llm_id, number, calls in rows:
        key = engine.as_uuid(llm_id)
        assert key is not None
        found[key][int(number)] = int(calls)
    return found


def percentiles_json(counts: Counts) -> dict[str, int | None]:
    """``{"p50": …, "p95": …, "p99": …}`` in ms."""
    return {f"p{percent}": value for percent, value in latency.percentiles(counts).items()}


def added(counts: dict[uuid.UUID, Counts]) -> Counts:
    """The counts of all models together."""
    found: Counts = defaultdict(int)
    for one in counts.values():
        for step, calls in one.items():
            found[step] += calls
    return found
