"""How long reports take and how much memory: ``python -m benchmarks.reports [rows [format …]]``. See ``benchmarks/README.md``.

Each download has a process of its own, so that the most memory it ever had is that of the download.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import subprocess
import sys
import time
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from benchmarks.harness import scratch_database, set_up

ROWS = 1_000_000
SMALL_HOURS = 1
"""The window that the memory of the whole is compared with."""
MAX_RATIO = 1.5
FORMATS = ("csv", "jsonl", "parquet")
"""JSON as an array is written as its lines are."""


def main(rows: int, formats: tuple[str, ...]) -> None:
    set_up()
    with scratch_database():
        from django.db import connection

        from analytics import rollups
        from benchmarks import usage_rows

        usage_rows.WORKSPACES = 1  # all of them in one
        began = time.perf_counter()
        with connection.cursor() as cursor:
            cursor.execute("SET statement_timeout = 0")
        made = usage_rows.fill(rows)
        rollups.rebuild()
        with connection.cursor() as cursor:
            cursor.execute("VACUUM ANALYZE")
        print(f"{rows:,} calls in one workspace, made in {time.perf_counter() - began:.0f} s\n")
        url = urlsplit(os.environ["DATABASE_URL"])
        os.environ["DATABASE_URL"] = urlunsplit(url._replace(path=f"/{connection.settings_dict['NAME']}"))
        connection.close()
        print(
            "| format | rows | MB | first bytes | all | rows/s | peak memory | of a small one |\n|---|---|---|---|---|---|---|---|"
        )
        ratios = [_compare(format_, str(made.workspace_id)) for format_ in formats]
    if max(ratios) > MAX_RATIO:
        sys.exit(f"Memory grows with the rows: {max(ratios):.2f} times that of a small download.")


def _compare(format_: str, workspace_id: str) -> float:
    small, whole = (_in_process(format_, workspace_id, window) for window in ("small", "whole"))
    ratio = whole["peak_mb"] / small["peak_mb"]
    print(
        f"| {format_} | {whole['rows']:,} | {whole['bytes'] / 1e6:.0f} | {whole['first_ms']:.0f} ms | "
        f"{whole['seconds']:.1f} s | {whole['rows'] / whole['seconds']:,.0f} | {whole['peak_mb']:.0f} MB | "
        f"{ratio:.2f} ({small['rows']:,} rows) |",
        flush=True,
    )
    return float(ratio)


def _in_process(format_: str, workspace_id: str, window: str) -> Any:
    command = [sys.executable, "-m", "benchmarks.reports", "--download", format_, workspace_id, window]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)  # noqa: S603
    return json.loads(done.stdout)


def download(format_: str, workspace_id: str, window: str) -> None:
    """Read a file to its end as the server does, and say how that went."""
    set_up()
    from datetime import UTC, datetime, timedelta
    from zoneinfo import ZoneInfo

    from analytics.reports import calls, definitions, files, rights
    from conversations.windows import Window
    from workspaces.models import Membership

    owner = Membership.objects.get(workspace_id=workspace_id, role="owner")
    end = datetime.now(UTC) - timedelta(days=2) if window == "small" else datetime.now(UTC) + timedelta(days=1)
    start = end - (timedelta(hours=SMALL_HOURS) if window == "small" else timedelta(days=365))
    member = rights.member_of(owner.workspace_id, owner.user_id)
    asked = definitions.asked(member, {}, kind="calls", window=Window(start, end, ZoneInfo("UTC")))
    rows = calls.count(asked)

    async def read() -> tuple[int, float, float]:
        began, first, size = time.perf_counter(), 0.0, 0
        async for piece in files.file_of(
            asked, kind="calls", name="bench", format_=format_, is_allowed=lambda: True
        ).stream():
            first = first or time.perf_counter() - began
            size += len(piece)
        return size, first, time.perf_counter() - began

    size, first, seconds = asyncio.run(read())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"rows": rows, "bytes": size, "first_ms": first * 1000, "seconds": seconds, "peak_mb": peak}))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--download"]:
        download(*sys.argv[2:5])
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else ROWS, tuple(sys.argv[2:]) or FORMATS)
