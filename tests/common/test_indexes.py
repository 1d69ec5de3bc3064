"""An index is made beside those who write, however long they take, and begun anew where it was given up half-way."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from django.apps import apps
from django.db import connection, models
from django.db.migrations.state import ProjectState

from synapscale.common.indexes import AddIndexOnline

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has one writer at a time"),
]
NAME = "llms_made_for_a_test"
LIMIT_MS = 200


@pytest.fixture
def state(transactional_db: None) -> Iterator[ProjectState]:
    """The session gives up a lock after ``LIMIT_MS``."""
    with connection.cursor() as cursor:
        cursor.execute(f"SET lock_timeout = {LIMIT_MS}")
        cursor.execute("SET statement_timeout = 20000")
        yield ProjectState.from_apps(apps)
        cursor.execute("RESET lock_timeout")
        cursor.execute("RESET statement_timeout")
        cursor.execute(f'DROP INDEX IF EXISTS "{NAME}"')


def other_session() -> Any:
    url = urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{connection.settings_dict['NAME']}").geturl()
    return psycopg.connect(url, autocommit=True)


def make_index(state: ProjectState) -> None:
    made = AddIndexOnline("llm", models.Index(fields=["-created_at"], name=NAME))
    after = state.clone()
    made.state_forwards("llm", after)
    with connection.schema_editor(atomic=False) as editor:
        made.database_forwards("llm", editor, state, after)


def validity() -> list[bool]:
    """Of the indexes of that name: whether they are finished."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT indisvalid FROM pg_index JOIN pg_class c ON c.oid = indexrelid WHERE relname = %s", [NAME]
        )
        return [is_valid for (is_valid,) in cursor.fetchall()]


def limits() -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('lock_timeout'), current_setting('statement_timeout')")
        return list(cursor.fetchone())


def test_it_waits_for_an_older_transaction_longer_than_for_a_lock(state: ProjectState) -> None:
    with other_session() as other:
        other.execute("BEGIN")
        other.execute("UPDATE llms SET created_at = created_at")  # locks the table against it until this ends
        ending = threading.Timer(5 * LIMIT_MS / 1000, lambda: other.execute("COMMIT"))
        ending.start()
        began = time.monotonic()
        try:
            make_index(state)
        finally:
            ending.join()
    assert time.monotonic() - began > 2 * LIMIT_MS / 1000
    assert validity() == [True]


def test_one_that_was_given_up_is_made_anew(state: ProjectState) -> None:
    with other_session() as other, other_session() as hasty:
        other.execute("BEGIN")
        other.execute("UPDATE llms SET created_at = created_at")
        hasty.execute(f"SET lock_timeout = {LIMIT_MS}")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            hasty.execute(f'CREATE INDEX CONCURRENTLY "{NAME}" ON llms (created_at DESC)')
        other.execute("ROLLBACK")
    assert validity() == [False]

    make_index(state)
    assert validity() == [True]


def test_one_that_is_whole_is_left_alone(state: ProjectState) -> None:
    make_index(state)
    with pytest.raises(Exception, match="already exists"):
        make_index(state)
    assert validity() == [True]


def test_the_limits_of_the_session_are_in_force_again(state: ProjectState) -> None:
    make_index(state)
    assert limits() == ["10s", "30s"]
