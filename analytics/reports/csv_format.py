"""CSV as RFC 4180 has it: UTF-8, CRLF, a line of names first. Safe to open in a spreadsheet."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator
from typing import Any

from analytics.reports.columns import Table, Type

QUOTE = "'"
_BEGINNING = r"(^|[;\t\r\n])"
"""Where a cell begins: also where the list separator is a semicolon, as in Brazil and Germany, and quotes don't help."""
_FORMULA = re.compile(rf"{_BEGINNING}(?=[-=+@\t\r\n＝＋－＠{QUOTE}])")
"""With what spreadsheets begin a formula (the wide ones in some languages), or lose white space before one."""
_QUOTED = re.compile(rf"{_BEGINNING}{QUOTE}")


def safe(text: str) -> str:
    """``text`` with an apostrophe before it where a spreadsheet would take it for a formula.

    Also where it begins with one already: so whoever takes one off has exactly what it was (``original``). See OWASP's
    “CSV Injection”.
    """
    return _FORMULA.sub(rf"\1{QUOTE}", text)


def original(cell: str) -> str:
    return _QUOTED.sub(r"\1", cell)


def write(table: Table) -> Iterator[bytes]:
    cells = [_CELLS[column.type] for column in table.columns]
    yield _lines([[column.name for column in table.columns]])
    for page in table.pages:
        yield _lines(
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


def _lines(rows: list[list[str]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()
