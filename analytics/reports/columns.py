"""What a row of a report is made of, whatever the format that it is written in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

Row = Sequence[Any]
Pages = Iterator[list[Row]]
"""Rows, so many at a time as are read at once."""


class Type(Enum):
    """What a value is. Each but TEXTS may be None, where there is nothing to say."""

    TEXT = "str"
    INTEGER = "int"
    DECIMAL = "str: an exact decimal, as the API writes it"
    TIME = "datetime, with its zone"
    BOOLEAN = "bool"
    TEXTS = "list of str"


@dataclass(frozen=True, slots=True)
class Column:
    name: str
    type: Type = Type.TEXT


@dataclass(frozen=True, slots=True)
class Table:
    """Columns, and the rows that have a value for each. ``pages`` reads when it is asked, and can be read once."""

    columns: tuple[Column, ...]
    pages: Pages
