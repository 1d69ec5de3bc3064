"""What the two databases say differently: truncated times, keys made in SQL, and ``width_bucket``."""

from __future__ import annotations

import json
import uuid
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, time
from functools import lru_cache
from typing import Any

from django.db import connection
from django.db.backends.signals import connection_created
from django.db.models.fields import DateTimeField, UUIDField

NO_AGENT = uuid.UUID(int=0)


def is_postgresql() -> bool:
    return connection.vendor == "postgresql"


def param(value: Any) -> Any:
    """``value`` as the database at hand stores it."""
    if isinstance(value, uuid.UUID):
        return UUIDField().get_db_prep_value(value, connection)
    if isinstance(value, datetime):
        return DateTimeField().get_db_prep_value(value, connection)
    return value


def params(values: Iterable[Any]) -> list[Any]:
    return [param(value) for value in values]


def as_uuid(value: Any) -> uuid.UUID | None:
    return value if value is None or isinstance(value, uuid.UUID) else uuid.UUID(value)


def as_time(value: Any) -> datetime:
    """A time as a statement of our own gives it: SQLite's is text, in UTC."""
    found = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def hour_of(column: str) -> str:
    """SQL: the hour (UTC) that a time is in."""
    return f"date_trunc('hour', {column}, 'UTC')" if is_postgresql() else f"(substr({column}, 1, 13) || ':00:00')"


def day_of(column: str) -> str:
    """SQL: the midnight (UTC) before a time."""
    return f"date_trunc('day', {column}, 'UTC')" if is_postgresql() else f"(substr({column}, 1, 10) || ' 00:00:00')"


def new_key() -> str:
    """SQL: a fresh primary key."""
    return "gen_random_uuid()" if is_postgresql() else "lower(hex(randomblob(16)))"


def zero_uuid() -> str:
    return f"'{NO_AGENT}'::uuid" if is_postgresql() else f"'{NO_AGENT.hex}'"


def number_among(column: str, kind: str) -> str:
    """SQL with one parameter, a list of ascending ``edges``: how many of them are at most ``column``.

    ``kind`` is the edges' type in PostgreSQL.
    """
    return f"width_bucket({column}, %s::{kind}[])" if is_postgresql() else f"width_bucket({column}, %s)"


def edges(values: Sequence[Any]) -> Any:
    """The parameter for ``number_among``."""
    given = [param(value) for value in values]
    return given if is_postgresql() else json.dumps(given)


def clock(column: str, values: Sequence[time]) -> tuple[str, Any]:
    """SQL: the time of day (UTC) of a time, and the parameter for ``number_among`` with these ascending times of day."""
    if is_postgresql():
        return f"({column} AT TIME ZONE 'UTC')::time", list(values)
    # Stored as text; a time with microseconds sorts after the same one without.
    return f"substr({column}, 12, 15)", json.dumps([value.isoformat() for value in values])


def among(column: str, values: Sequence[Any]) -> tuple[str, list[Any]]:
    """SQL for ``column IN values``, and its parameters."""
    if not values:
        return "1 = 0", []
    return f"{column} IN ({', '.join(['%s'] * len(values))})", params(values)


@lru_cache(maxsize=64)
def _parsed(text: str) -> list[Any]:
    found: list[Any] = json.loads(text)
    return found


def _width_bucket(value: Any, text: str) -> int | None:
    return None if value is None else bisect_right(_parsed(text), value)


def _teach_sqlite(sender: Any, connection: Any, **kwargs: Any) -> None:
    if connection.vendor == "sqlite":
        connection.connection.create_function("width_bucket", 2, _width_bucket, deterministic=True)


def connect() -> None:
    """SQLite learns PostgreSQL's ``width_bucket`` on every connection from now on."""
    connection_created.connect(_teach_sqlite, dispatch_uid="analytics.width_bucket", weak=False)


def any_of(column: str, keys: Sequence[uuid.UUID]) -> tuple[str, list[Any]]:
    """SQL with one parameter, for thousands of keys."""
    if is_postgresql():
        return f"{column} = ANY(%s)", [list(keys)]
    return f"{column} IN (SELECT value FROM json_each(%s))", [json.dumps([key.hex for key in keys])]
