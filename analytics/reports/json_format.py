"""JSON: an object for each row, one a line or all in one array. Money and ratios are decimal strings, as in the API."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from analytics.reports.columns import Row, Table


def write_lines(table: Table) -> Iterator[bytes]:
    yield b""
    names = [column.name for column in table.columns]
    for page in table.pages:
        yield "".join(f"{_object(names, row)}\n" for row in page).encode()


def write(table: Table) -> Iterator[bytes]:
    """One array, an object a line."""
    yield b"["
    names, parted = [column.name for column in table.columns], "\n"
    for page in table.pages:
        if page:
            yield (parted + ",\n".join(_object(names, row) for row in page)).encode()
            parted = ",\n"
    yield b"\n]\n"


def _object(names: list[str], row: Row) -> str:
    # In ASCII: some readers of lines take U+2028 and the like for the end of one.
    return json.dumps({name: _value(value) for name, value in zip(names, row, strict=True)})


def _value(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value
