"""Keeps the sums: adds the tail to them, a batch at a time, and makes them again from the calls.

A watermark in time would lose calls: a transaction that commits late, or a server whose clock is slow, brings a call from
before it. The tail says of every single call whether the sums have it (docs/adr/0011). A batch is one transaction that
adds calls and takes them out of the tail, so it may be cut off, repeated or run twice at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection, models, transaction
from django.utils import timezone

from analytics import engine, latency
from analytics.measures import OF_A_CALL, TIMED
from analytics.models import (
    AgentHour,
    FleetHour,
    FleetLatencyDay,
    LatencyDay,
    RollupState,
    UsageDay,
    UsageHour,
    UsageTail,
    UserDay,
)
from synapscale.common.tenancy import fleet_wide

BATCH = 20_000
STEP = "step"


@dataclass(frozen=True, slots=True)
class Rollup:
    """A table of sums: its keys, and which sums it keeps. All but those of latencies keep ``OF_A_CALL``."""

    model: type[models.Model]
    keys: tuple[str, ...]

    @property
    def table(self) -> str:
        return self.model._meta.db_table

    @property
    def is_of_latencies(self) -> bool:
        return STEP in self.keys

    @property
    def is_fleets(self) -> bool:
        return "workspace_id" not in self.keys

    def sums(self) -> dict[str, str]:
        return {"calls": "1"} if self.is_of_latencies else OF_A_CALL


ROLLUPS = (
    Rollup(UsageHour, ("workspace_id", "hour", "llm_id", "key_source", "status")),
    Rollup(UserDay, ("workspace_id", "day", "user_id", "key_source", "status")),
    Rollup(AgentHour, ("workspace_id", "hour", "agent_key", "key_source", "status")),
    Rollup(UsageDay, ("workspace_id", "day", "llm_id", "key_source", "status")),
    Rollup(LatencyDay, ("workspace_id", "day", "llm_id", STEP)),
    Rollup(FleetHour, ("hour", "llm_id", "key_source", "status")),
    Rollup(FleetLatencyDay, ("day", "llm_id", STEP)),
)


def key_sql(key: str) -> str:
    """SQL: what a call ``u`` is summed under. That of ``step`` has one parameter."""
    made = {
        "hour": engine.hour_of("u.created_at"),
        "day": engine.day_of("u.created_at"),
        "agent_key": f"COALESCE(u.agent_id, {engine.zero_uuid()})",
        STEP: engine.number_among("u.latency_ms", "integer"),
    }
    return made.get(key, f"u.{key}")


def roll_up(*, batch: int = BATCH) -> int:
    """Add the whole tail to the sums; how many calls that was. Safe to be cut off at any point, and to run twice."""
    added = 0
    while True:
        in_batch = _roll_up_batch(batch)
        added += in_batch
        if in_batch < batch:
            return added


def _roll_up_batch(size: int) -> int:
    with fleet_wide(), transaction.atomic():
        state = _locked_state()
        waiting = list(UsageTail.objects.order_by("id").values_list("id", "usage_log_id")[:size])
        if waiting:
            # By their keys, all of them each time: another statement would see calls that have come meanwhile.
            condition, calls = engine.any_of("u.id", [call for _, call in waiting])
            for rollup in ROLLUPS:
                _add(rollup, condition, calls)
            condition, rows = engine.any_of("id", [row for row, _ in waiting])
            with connection.cursor() as cursor:
                cursor.execute(f"DELETE FROM usage_tail WHERE {condition}", rows)
        if len(waiting) < size:
            state.rolled_up_at = timezone.now()
            state.save(update_fields=["rolled_up_at"])
    return len(waiting)


def rebuild() -> int:
    """Make all sums again from the calls; how many calls are in them. What is in the tail stays there.

    In one transaction: until it commits, everybody reads the old sums. A call that comes meanwhile is in the tail by the
    time it can be seen at all.
    """
    with fleet_wide(), transaction.atomic():
        state = _locked_state()
        _without_time_limit()
        not_in_tail = (
            "NOT EXISTS (SELECT 1 FROM usage_tail t WHERE t.workspace_id = u.workspace_id AND t.usage_log_id = u.id)"
        )
        with connection.cursor() as cursor:
            for rollup in ROLLUPS:
                cursor.execute(f"DELETE FROM {rollup.table}")
                _add(rollup, not_in_tail, [])
            cursor.execute(f"SELECT COALESCE(SUM(calls), 0) FROM {FleetHour._meta.db_table}")
            (calls,) = cursor.fetchone()
        state.rebuilt_at = timezone.now()
        state.save(update_fields=["rebuilt_at"])
    return int(calls)


def _add(rollup: Rollup, condition: str, condition_params: list[Any]) -> None:
    """Add the calls ``u`` that ``condition`` lets through to the sums of ``rollup``."""
    sums, keys = rollup.sums(), ", ".join(rollup.keys)
    params = [engine.edges(latency.EDGES)] if rollup.is_of_latencies else []
    where = f"({condition}) AND {TIMED}" if rollup.is_of_latencies else f"({condition})"
    table = rollup.table
    grouped = ", ".join(str(3 + number) for number in range(len(rollup.keys)))
    sql = (
        f"INSERT INTO {table} (id, created_at, {keys}, {', '.join(sums)}) "
        f"SELECT {engine.new_key()}, CURRENT_TIMESTAMP, {', '.join(key_sql(key) for key in rollup.keys)}, "
        f"{', '.join(f'SUM({sql})' for sql in sums.values())} "
        # In one order, so that whoever adds to the same rows waits instead of deadlocking.
        f"FROM usage_logs u WHERE {where} GROUP BY {grouped} ORDER BY {grouped} "
        f"ON CONFLICT ({keys}) DO UPDATE SET {', '.join(f'{name} = {table}.{name} + excluded.{name}' for name in sums)}"
    )
    with connection.cursor() as cursor:
        cursor.execute(sql, [*params, *condition_params])


def _without_time_limit() -> None:
    if engine.is_postgresql():
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL statement_timeout = 0")


def _locked_state() -> RollupState:
    """The first thing in a transaction that changes the sums: it is alone in that. On SQLite it is so anyway."""
    if engine.is_postgresql():
        with connection.cursor() as cursor:
            cursor.execute(f"LOCK TABLE {RollupState._meta.db_table} IN EXCLUSIVE MODE")
    return RollupState.objects.get_or_create(pk=1)[0]


def lag() -> tuple[int, datetime | None]:
    """How many calls wait in the tail (counted up to a million), and since when the oldest does."""
    with fleet_wide():
        rows = UsageTail.objects.order_by("id")
        oldest = rows.values_list("created_at", flat=True).first()
        waiting = rows[:1_000_000].count()
    return waiting, oldest
