"""The pool of PostgreSQL connections, when the database has restarted behind its back."""

from __future__ import annotations

import os
import threading

import psycopg
import pytest
from django.conf import settings
from django.db import connection

from synapscale.common.tenancy import fleet_wide
from tests.together import at_once
from workspaces.models import Workspace

pytestmark = pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has no connections to lose")


def fill_the_pool() -> None:
    """As many connections as the pool may have are in use at once, and then given back."""
    together = threading.Barrier(settings.DATABASE_POOL_SIZE)

    def use_one(_: int) -> None:
        connection.ensure_connection()
        together.wait(20)  # longer than the pool waits

    at_once(settings.DATABASE_POOL_SIZE, use_one)


def cut_all() -> int:
    """End every connection to the test's database, as a restart does; how many there were."""
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as admin:
        cut = admin.execute(
            "SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity WHERE datname = %s",
            [connection.settings_dict["NAME"]],
        ).fetchone()
    assert cut is not None
    return int(cut[0])


def test_the_first_query_after_a_restart_finds_a_live_connection(transactional_db: None) -> None:
    """However many dead ones the pool still holds."""
    connection.close()
    fill_the_pool()
    assert cut_all() >= settings.DATABASE_POOL_SIZE
    with fleet_wide():
        assert Workspace.objects.count() == 0


def test_a_connection_that_dies_in_use_is_not_given_out_again(transactional_db: None) -> None:
    connection.ensure_connection()
    cut_all()
    with pytest.raises(Exception, match=r"terminating connection|server closed"), fleet_wide():
        Workspace.objects.count()
    connection.close()
    with fleet_wide():
        assert Workspace.objects.count() == 0
