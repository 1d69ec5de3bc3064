"""System checks: what must be so before money is handled."""

from __future__ import annotations

import sqlite3
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.db import connection

_WAL_FIXED = (3, 51, 3)
_REQUIRED_ON = ("fsync", "full_page_writes", "synchronous_commit")


@register(Tags.security)
def master_keys_are_sound(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    errors: list[CheckMessage] = []
    seen = set()
    for entry in settings.MASTER_KEYS:
        key_id, separator, secret = entry.partition(":")
        if not separator or not key_id or len(secret) < 32:
            errors.append(
                Error(
                    "Each of MASTER_KEYS is “id:secret” with a secret of 32 characters or more.", id="synapscale.E002"
                )
            )
        elif secret == settings.SECRET_KEY:
            errors.append(Error("A master key must differ from SECRET_KEY.", id="synapscale.E003"))
        if key_id in seen:
            errors.append(Error("Two of MASTER_KEYS have the same id.", id="synapscale.E004"))
        seen.add(key_id)
    return errors


@register(Tags.security, deploy=True)
def sqlite_is_for_laptops(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """SQLite before 3.51.3 can corrupt a WAL file when several processes write (sqlite.org/wal.html#walresetbug)."""
    if connection.vendor == "sqlite" and sqlite3.sqlite_version_info < _WAL_FIXED:
        return [
            Warning(
                f"SQLite {sqlite3.sqlite_version} is safe with one writing process only.",
                hint="Run one server process, or use PostgreSQL (DATABASE_URL).",
                id="synapscale.W001",
            )
        ]
    return []


@register(Tags.database)
def postgresql_is_durable(app_configs: Any, databases: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """A commit that the server acknowledges must be on disk. Runs with ``migrate`` and ``check --database default``."""
    if not databases or connection.vendor != "postgresql":
        return []
    with connection.cursor() as cursor:
        cursor.execute("SELECT name, setting FROM pg_settings WHERE name = ANY(%s)", [list(_REQUIRED_ON)])
        off = sorted(name for name, setting in cursor.fetchall() if setting == "off")
    return [
        Error(f"PostgreSQL runs with {name}=off: acknowledged commits can be lost.", id="synapscale.E005")
        for name in off
    ]
