"""A report as a file that is streamed: memory stays the same however long it is, and nothing is held between two pages.

It may take hours, so every few seconds it is looked again whether its reader still may have it.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator
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

CHECK_SECONDS = 5.0
"""The most that is sent to somebody who may not have it any more: what is read within so many seconds, and one piece."""


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


class NoLongerAllowed(Exception):
    """Raised between two pieces, so that the file breaks off and does not look whole."""


def table_of(asked: Asked, kind: str) -> Table:
    return calls.table(asked) if kind == Report.Kind.CALLS else figures.table(asked)


def file_of(asked: Asked, *, kind: str, name: str, format_: str, is_allowed: Callable[[], bool]) -> File:
    """Nothing is read yet. ``is_allowed`` says whether its reader may have ``asked`` still."""
    writer = WRITERS[Format(format_)]
    file_name = f"{slugify(name, allow_unicode=True) or 'report'}_{_days(asked.window)}.{format_}"
    pieces = _while_allowed(writer.write(table_of(asked, kind)), is_allowed)
    return File(file_name, writer.content_type, pieces)


def _while_allowed(pieces: Iterator[bytes], is_allowed: Callable[[], bool]) -> Iterator[bytes]:
    looked = time.monotonic()
    for piece in pieces:
        if time.monotonic() - looked >= CHECK_SECONDS:
            if not is_allowed():
                raise NoLongerAllowed
            looked = time.monotonic()
        yield piece


def count(asked: Asked, kind: str) -> int | None:
    """How many rows it would have now; None where that would take long. Raises Unprocessable."""
    return calls.count(asked) if kind == Report.Kind.CALLS else figures.count(asked)


def _days(window: Window) -> str:
    """The first and the last day that the window has something of."""
    first = window.start.astimezone(window.tz).date()
    last = max(window.start, window.end - timedelta(microseconds=1)).astimezone(window.tz).date()
    return f"{first}_{last}"
