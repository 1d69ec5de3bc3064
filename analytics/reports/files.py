"""A report as a file that is streamed: memory stays the same however long it is, and nothing is held between two pages."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import timedelta

from django.utils.text import slugify

from analytics.asking import Asked
from analytics.models import Report
from analytics.reports import calls, figures
from analytics.reports.columns import Table
from analytics.reports.formats import WRITERS, Format
from conversations.windows import Window
from synapscale.common.db import in_db


@dataclass(frozen=True, slots=True)
class File:
    name: str
    content_type: str
    pieces: Iterator[bytes]
    """Each reads what it needs, and gives its connection back no later than it ends."""

    async def stream(self) -> AsyncIterator[bytes]:
        """The same pieces, each made by one job on a database thread. A client that takes its time keeps nobody waiting;
        one that goes away ends it with the piece that is being made.
        """
        while (piece := await in_db(next, self.pieces, None)) is not None:
            if piece:
                yield piece


def table_of(asked: Asked, kind: str) -> Table:
    return calls.table(asked) if kind == Report.Kind.CALLS else figures.table(asked)


def file_of(asked: Asked, *, kind: str, name: str, format_: str) -> File:
    """Nothing is read yet."""
    writer = WRITERS[Format(format_)]
    file_name = f"{slugify(name, allow_unicode=True) or 'report'}_{_days(asked.window)}.{format_}"
    return File(file_name, writer.content_type, writer.write(table_of(asked, kind)))


def count(asked: Asked, kind: str) -> int | None:
    """How many rows it would have now; None where that would take long. Raises Unprocessable."""
    return calls.count(asked) if kind == Report.Kind.CALLS else figures.count(asked)


def _days(window: Window) -> str:
    """The first and the last day that the window has something of."""
    first = window.start.astimezone(window.tz).date()
    last = max(window.start, window.end - timedelta(microseconds=1)).astimezone(window.tz).date()
    return f"{first}_{last}"
