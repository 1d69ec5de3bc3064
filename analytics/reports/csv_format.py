"""Reports as CSV: a line of names first. Safe to open in a spreadsheet (``synapscale.common.csv_text``)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from analytics.reports.columns import Table, Type
from synapscale.common.csv_text import lines, original, safe

__all__ = ["original", "safe", "write"]


def write(table: Table) -> Iterator[bytes]:
    cells = [_CELLS[column.type] for column in table.columns]
    yield lines([[column.name for column in table.columns]])
    for page in table.pages:
        yield lines(
            [["" if value is None else cell(value) for value, cell in zip(row, cells, strict=True)] for row in page]
        )


_CELLS: dict[Type, Callable[[Any], str]] = {
    Type.TEXT: safe,
    Type.TEXTS: lambda texts: safe(", ".join(texts)),  # no label has a comma
    Type.TIME: lambda moment: str(moment.isoformat()),
    Type.BOOLEAN: lambda value: "true" if value else "false",
    Type.INTEGER: str,
    Type.DECIMAL: str,
}
"""Numbers and times stay what they are, with a minus or without; only text can be a formula."""
