"""Reports as the API makes and gives them, and readers for each of their formats."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pyarrow.parquet as parquet

from analytics.models import Report, ReportRun
from analytics.reports import csv_format
from tests.people import Person

REPORTS = "analytics/reports"
NOON = datetime(2026, 10, 25, 12, tzinfo=UTC)
DAY = {"period": "fixed", "start": "2026-10-25", "end": "2026-10-26"}
"""The day of NOON."""
FORMATS = ("csv", "json", "jsonl", "parquet")


def made(person: Person, **fields: Any) -> dict[str, Any]:
    """A report of DAY, made through the API."""
    body = {"name": "Daily", "kind": "figures", **({} if "period" in fields else DAY), **fields}
    response = person.post(REPORTS, body)
    assert response.status_code == 201, response.content
    found: dict[str, Any] = response.json()
    return found


def run(person: Person, report: dict[str, Any], **headers: str) -> dict[str, Any]:
    response = person.post(f"{REPORTS}/{report['id']}/run", {}, **headers)
    assert response.status_code in (200, 201), response.content
    found: dict[str, Any] = response.json()
    return found


def content(response: Any) -> bytes:
    assert response.status_code == 200, response.content
    return b"".join(response.streaming_content)


def rows(person: Person, report: dict[str, Any], *, of_run: dict[str, Any] | None = None, format: str = "jsonl") -> Any:
    """The rows of a download, as their format's own reader gives them; money and ratios as text, as in the API."""
    where = f"{REPORTS}/{report['id']}" + (f"/runs/{of_run['id']}" if of_run else "")
    return READERS[format](content(person.get(f"{where}/download", format=format)))


def _csv(data: bytes) -> list[dict[str, Any]]:
    text = io.StringIO(data.decode(), newline="")
    return [
        {name: csv_format.original(cell) for name, cell in row.items()} for row in csv.DictReader(text, strict=True)
    ]


def _jsonl(data: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in data.splitlines()]


def _parquet(data: bytes) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = parquet.read_table(io.BytesIO(data)).to_pylist()
    return found


READERS = {"csv": _csv, "json": json.loads, "jsonl": _jsonl, "parquet": _parquet}


def same(value: Any) -> Any:
    """A value of any format, as something that can be compared: nothing is None, numbers are decimals, times UTC."""
    if value in ("", None):
        return None
    if isinstance(value, datetime):
        return value.astimezone(UTC)
    if isinstance(value, list):
        return value or None
    if isinstance(value, bool) or value in ("true", "false"):
        return str(value).lower()
    try:
        return Decimal(value)
    except ArithmeticError:
        pass
    try:
        return datetime.fromisoformat(value).astimezone(UTC)
    except ValueError:
        return value


def total(found: list[dict[str, Any]], name: str) -> Decimal:
    return sum((Decimal(row[name] or 0) for row in found), start=Decimal(0))


def make(person: Person, **fields: Any) -> Report:
    """A row of a report, past the API."""
    fields = {"name": "Daily", "kind": "figures", "period": "yesterday", **fields}
    return Report.objects.create(workspace=person.workspace, created_by=person.user, **fields)


def runs_of(report: Report) -> list[ReportRun]:
    return list(ReportRun.objects.filter(workspace_id=report.workspace_id, report=report).order_by("pk"))
