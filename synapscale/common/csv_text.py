"""Lines of CSV as RFC 4180 has them (UTF-8, CRLF), and text in them that no spreadsheet takes for a formula."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence

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


def lines(rows: Iterable[Sequence[str]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()
