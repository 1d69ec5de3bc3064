"""How long figures take over millions of calls: ``python -m benchmarks.analytics``. See ``benchmarks/README.md``."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from benchmarks import usage_rows
from benchmarks.harness import Case, print_table, round_trip, scratch_database, set_up
from benchmarks.usage_rows import Made

LIMIT_MS = 300.0
ROWS = 10_000_000
RUNS = 7
PER_SECOND = 1_000
"""Calls that the job must keep up with."""


def cases(made: Made) -> list[Case]:
    from django.test import Client
    from django.utils import timezone

    client, now = Client(), timezone.now()

    def get(token: str, path: str, days: int = 30, **query: Any) -> Callable[[], Any]:
        window = {"start": (now - timedelta(days=days)).isoformat(), "end": now.isoformat()}
        has_window = path.startswith("analytics/") and path != "analytics/metrics"
        address = f"/api/v1/{path}?{urlencode({**(window if has_window else {}), **query}, doseq=True)}"
        return lambda: client.get(address, headers={"Authorization": f"Bearer {token}"})

    usage, costs, owner, member, staff = "analytics/usage", "analytics/costs", made.owner, made.member, made.staff
    sao = {"tz": "America/Sao_Paulo"}
    asked = {
        "workspace, 30 days": get(owner, usage),
        "workspace, 90 days": get(owner, usage, 90),
        "workspace, 90 days, São Paulo": get(owner, usage, 90, **sao),
        "workspace, 90 days, Kolkata": get(owner, usage, 90, tz="Asia/Kolkata"),
        "workspace, 90 days, hours": get(owner, usage, 90, granularity="hour"),
        "workspace, 1 day, minutes": get(owner, usage, 1, granularity="minute"),
        "workspace, 90 days, by model": get(owner, usage, 90, group_by="llm"),
        "workspace, 90 days, by provider": get(owner, costs, 90, group_by="provider", **sao),
        "workspace, 30 days, by user": get(owner, usage, group_by="user"),
        "workspace, 90 days, by user, months": get(owner, usage, 90, group_by="user", granularity="month"),
        "workspace, 90 days, by agent": get(owner, usage, 90, group_by="agent"),
        "workspace, 90 days, by agent, São Paulo": get(owner, usage, 90, group_by="agent", **sao),
        "workspace, 90 days, by key and status": get(owner, usage, 90, group_by="key_source,status", **sao),
        "workspace, 90 days, errors of a model": get(owner, usage, 90, status="error", llm=str(made.llm_id)),
        "workspace, 90 days, of a user": get(owner, usage, 90, user=str(made.member_id), **sao),
        "workspace, 90 days, of an agent": get(owner, usage, 90, agent=str(made.agent_id), **sao),
        "workspace, 30 days, a tag": get(owner, usage, tag="customer:c1"),
        "workspace, 30 days, by 50 tags": get(owner, usage, tag="customer:*", group_by="tag"),
        "member, 90 days, by model": get(member, usage, 90, group_by="llm", **sao),
        "users/me": get(member, "analytics/users/me", 90),
        "workspaces/…": get(owner, f"analytics/workspaces/{made.workspace_id}"),
        "llms/…": get(owner, f"analytics/llms/{made.llm_id}", 90),
        "models/compare": get(owner, "analytics/models/compare"),
        "metrics": get(owner, "analytics/metrics"),
        "fleet, 90 days": get(staff, usage, 90, **sao),
        "fleet, 90 days, by model": get(staff, usage, 90, group_by="llm", **sao),
        "fleet, 90 days, by provider and status": get(staff, costs, 90, group_by="provider,status"),
        "fleet, 30 days, by workspace, no series": get(staff, usage, 30, group_by="workspace", granularity="month"),
        "fleet, 90 days, a workspace by model": get(staff, usage, 90, group_by="llm", workspace=str(made.workspace_id)),
        "fleet, llms/…": get(staff, f"analytics/llms/{made.llm_id}", 90),
        "fleet, models/compare": get(staff, "analytics/models/compare"),
        "fleet, metrics": get(staff, "analytics/metrics"),
    }
    return [
        Case("SELECT 1", round_trip, runs=200),
        Case("one token's own account, through the API", get(owner, "me"), runs=RUNS),
        *(Case(name, call, runs=RUNS) for name, call in asked.items()),
    ]


def prove(made: Made) -> None:
    """The sums say what the calls say, whatever they are grouped by. Exits where they don't."""
    from django.utils import timezone

    from analytics import query
    from analytics.query import Wanted

    now = timezone.now()
    edges: list[datetime] = [now - timedelta(days=days) for days in (89.3, 60, 30.5, 0)]
    for wanted, by in (
        (Wanted(made.workspace_id), ("llm", "agent")),
        (Wanted(made.workspace_id), ("user", "status")),
        (Wanted(None), ("llm", "key_source")),
        (Wanted(None), ("workspace",)),
    ):
        known, counted = (
            query.figures(wanted, edges=edges, by=by, uses_sums=uses_sums).figures for uses_sums in (True, False)
        )
        if known != counted:
            raise SystemExit(f"by {by}, the sums differ from the calls")
    print("the sums say what the calls say")


def keep_up(seconds: int = 10) -> float:
    """The calls of ``seconds`` at the rate that is promised, put back into the tail; how long the job takes to add them.

    They are added a second time, so the sums are wrong afterwards: the last thing to do with this database.
    """
    from django.db import connection

    from analytics import rollups

    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO usage_tail (id, created_at, workspace_id, usage_log_id) SELECT gen_random_uuid(), now(), "
            "workspace_id, id FROM usage_logs ORDER BY created_at DESC LIMIT %s",
            [seconds * PER_SECOND],
        )
    start = time.perf_counter()
    rollups.roll_up()
    return time.perf_counter() - start


def main() -> int:
    """The table; 1 when something takes longer than it may, or the job does not keep up."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=ROWS, help="calls to make")
    rows = parser.parse_args().rows
    set_up()
    from django.db import connection

    from analytics import rollups

    with scratch_database():
        with connection.cursor() as cursor:
            cursor.execute("SET statement_timeout = 0")
        made = usage_rows.fill(rows)
        start = time.perf_counter()
        rollups.rebuild()
        print(f"sums of {rows:,} calls made in {time.perf_counter() - start:.0f} s")
        with connection.cursor() as cursor:
            cursor.execute("VACUUM ANALYZE")
        return measure(made)


def measure(made: Made) -> int:
    prove(made)
    measured = cases(made)
    for case in measured:
        case.measure()
    slow = print_table(measured, limit_ms=LIMIT_MS)
    for name in slow:
        print(f"more than {LIMIT_MS:.0f} ms: {name}")
    keep_up(seconds=1)  # warms caches
    took = [keep_up() for _ in range(3)]
    print(f"10 seconds of {PER_SECOND:,} calls/s are added in {', '.join(f'{one:.2f}' for one in took)} s")
    return 1 if slow or max(took) > 10 else 0


if __name__ == "__main__":
    sys.exit(main())
