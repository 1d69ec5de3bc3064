from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import DatabaseError, connection
from django.test import Client

from tests.admin.rows import Office
from tests.house import house  # noqa: F401
from workspaces.models import User


@pytest.fixture
def root(db: None) -> User:
    return User.objects.create_superuser("root@example.org")


@pytest.fixture
def office(root: User) -> Office:
    """The back office as a superuser sees it."""
    client = Client()
    client.force_login(root)
    return Office(client)


@pytest.fixture
def clerk(db: None) -> User:
    """Staff without any permission."""
    return User.objects.create_user("clerk@example.org", is_staff=True)


@pytest.fixture
def clerks_office(clerk: User) -> Office:
    client = Client()
    client.force_login(clerk)
    return Office(client)


@pytest.fixture
def full_log() -> Iterator[None]:
    """A database that takes no more entries into the audit log."""

    def refuse(execute: Any, sql: str, *args: Any) -> Any:
        if sql.startswith("INSERT INTO") and "auditlog_logentry" in sql:
            raise DatabaseError("The disk is full.")
        return execute(sql, *args)

    with connection.execute_wrapper(refuse):
        yield
