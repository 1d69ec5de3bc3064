"""Corruption on purpose: the guards of the database lifted inside a transaction that is rolled back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection, transaction


def run(sql: str) -> int:
    """Run one statement past all guards of Django; how many rows it changed."""
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return int(cursor.rowcount)


def settle_constraints() -> None:
    """Check now what PostgreSQL would check at the commit."""
    if connection.vendor == "postgresql":
        run("SET CONSTRAINTS ALL IMMEDIATE")
        run("SET CONSTRAINTS ALL DEFERRED")


@contextmanager
def unguarded(*checks: tuple[str, str]) -> Iterator[None]:
    """No trigger and no foreign key fires, and the CHECK constraints ``(table, name)`` are gone. All of it is rolled
    back at the end, with whatever was done meanwhile.
    """
    with transaction.atomic():
        if connection.vendor == "postgresql":
            run("SET CONSTRAINTS ALL IMMEDIATE")
            for table, name in checks:
                run(f'ALTER TABLE "{table}" DROP CONSTRAINT "{name}"')
            run("SET LOCAL session_replication_role = replica")
        else:
            with connection.cursor() as cursor:
                cursor.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")
                triggers = [row[0] for row in cursor.fetchall()]
            for name in triggers:
                run(f'DROP TRIGGER "{name}"')
            run(f"PRAGMA ignore_check_constraints = {1 if checks else 0}")
        try:
            yield
        finally:
            transaction.set_rollback(True)
    if connection.vendor == "sqlite":
        run("PRAGMA ignore_check_constraints = 0")
