"""The database of a test process. Migrations run once: processes that test beside each other take copies of what they made."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, connection


@contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


class Original:
    """The database that the first process has migrated, kept for the others until the tests end."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self._folder = folder
        self._is_made = folder / "made"
        self._file = folder / "original.sqlite3"
        self._name = f"test_{connection.settings_dict['NAME']}_original"

    def provide(self) -> None:
        """Make the test database, by migrations or as a copy, and connect to it."""
        creation: Any = connection.creation
        with _one_at_a_time(self._folder):
            if self._is_made.exists():
                self._copy_to(creation._get_test_db_name())
                return
            creation.create_test_db(verbosity=0, autoclobber=True, serialize=False)
            if int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")) > 1:
                self._copy_from(str(connection.settings_dict["NAME"]))
                self._is_made.touch()

    def _copy_from(self, name: str) -> None:
        connection.close()
        if connection.vendor == "sqlite":
            shutil.copy(name, self._file)
            return
        connection.close_pool()  # type: ignore[attr-defined]  # nobody may be connected to what is copied
        self._create(self._name, like=name)

    def _copy_to(self, name: str) -> None:
        connection.close()
        if connection.vendor == "sqlite":
            shutil.copy(self._file, name)
        else:
            self._create(name, like=self._name)
        settings.DATABASES[DEFAULT_DB_ALIAS]["NAME"] = name
        connection.settings_dict["NAME"] = name

    def _create(self, name: str, *, like: str) -> None:
        with connection.creation._nodb_cursor() as cursor:  # type: ignore[attr-defined]
            cursor.execute(f'DROP DATABASE IF EXISTS "{name}"')
            cursor.execute(f'CREATE DATABASE "{name}" TEMPLATE "{like}"')

    def remove(self) -> None:
        """Whoever ends first does it: all have their copies by then."""
        with _one_at_a_time(self._folder):
            if self._is_made.exists() and connection.vendor == "postgresql":
                with connection.creation._nodb_cursor() as cursor:  # type: ignore[attr-defined]
                    cursor.execute(f'DROP DATABASE IF EXISTS "{self._name}"')
            self._is_made.unlink(missing_ok=True)


@pytest.fixture(scope="session")
def django_db_setup(
    django_test_environment: None,
    django_db_modify_db_settings: None,
    django_db_blocker: Any,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[None]:
    """In the place of pytest-django's, which migrates for each process."""
    before = str(connection.settings_dict["NAME"])
    folder = tmp_path_factory.getbasetemp()
    # Of a process beside others it is a folder in the one of them all.
    original = Original((folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) / "databases")
    with django_db_blocker.unblock():
        original.provide()
    yield
    with django_db_blocker.unblock():
        original.remove()
        connection.creation.destroy_test_db(before, verbosity=0)
