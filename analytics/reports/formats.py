"""A table as a file, a piece at a time: what has been written is given on, and forgotten."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from analytics.models import Report
from analytics.reports import csv_format, json_format, parquet_format
from analytics.reports.columns import Table

Format = Report.Format


@dataclass(frozen=True, slots=True)
class Writer:
    content_type: str
    write: Callable[[Table], Iterator[bytes]]
    """The first piece comes before anything is read."""


WRITERS = {
    Format.CSV: Writer("text/csv; charset=utf-8", csv_format.write),
    Format.JSON: Writer("application/json", json_format.write),
    Format.JSONL: Writer("application/x-ndjson", json_format.write_lines),
    Format.PARQUET: Writer("application/vnd.apache.parquet", parquet_format.write),
}
