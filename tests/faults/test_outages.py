"""The database goes away and comes back."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx2
import psycopg
import pytest
from django.db import connection

from billing.models import HoldIncident, Wallet
from conversations.models import Message, UsageLog
from tests.conftest import wait_for
from tests.faults.conftest import Chat, ServerProcess
from tests.people import fund
from tests.providers.standins import StandIn

pytestmark = pytest.mark.usefixtures("audited")


@contextmanager
def database_away() -> Iterator[None]:
    """PostgreSQL throws everybody out and lets nobody in; SQLite is locked by another writer."""
    name = str(connection.settings_dict["NAME"])
    connection.close()
    if connection.vendor == "sqlite":
        other = sqlite3.connect(name, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            other.execute("ROLLBACK")
            other.close()
        return
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as admin:
        admin.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
        try:
            admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
            yield
        finally:
            admin.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')
    connection.connect()


class Client(threading.Thread):
    """Posts one message and keeps what comes back."""

    def __init__(self, chat: Chat, server: ServerProcess) -> None:
        super().__init__(daemon=True)
        self.chat, self.server = chat, server
        self.response: httpx2.Response | None = None
        self.start()

    def run(self) -> None:
        try:
            self.response = self.chat.post(self.server)
        except httpx2.HTTPError:
            return


def spooled(folder: Path) -> list[Path]:
    return list((folder / "spool").glob("*.json"))


def settings_for(server: Callable[..., ServerProcess], **more: Any) -> ServerProcess:
    return server(SQLITE_BUSY_SECONDS=1, SWEEP_SECONDS=0, **more)


def test_no_call_is_made_while_the_database_is_away(
    start: Callable[..., ServerProcess], chat: Chat, provider: StandIn
) -> None:
    fund(chat.person.workspace, "1")
    server = settings_for(start)
    with database_away():
        answer = chat.post(server)
        assert answer.status_code == 503
        assert answer.json()["error"]["code"] == "database_unavailable"
        assert answer.headers["Retry-After"] == "5"
        assert provider.requests == []
    wait_for(lambda: chat.post(server).status_code == 201, "the server to find its database again")
    assert len(provider.requests) == 1


def test_an_answer_waits_on_disk_for_the_database(
    start: Callable[..., ServerProcess], chat: Chat, provider: StandIn, tmp_path: Path
) -> None:
    fund(chat.person.workspace, "1")
    provider.answer(text="Worth waiting for.", wait=2, usage={"input": 10, "output": 4})
    server = settings_for(start)
    client = Client(chat, server)
    wait_for(lambda: provider.requests != [], "the call to reach the provider")
    with database_away():
        wait_for(lambda: spooled(tmp_path) != [], "the answer to be spooled")
        assert spooled(tmp_path)[0].stat().st_mode & 0o777 == 0o600
        assert client.response is None
    client.join(40)

    assert client.response is not None
    assert client.response.status_code == 201, client.response.text
    assert client.response.json()["cost"] == "0.000018"
    assert spooled(tmp_path) == []
    assert Wallet.objects.get(workspace=chat.person.workspace).balance == Decimal("0.999982")


def test_an_answer_on_disk_survives_the_process_too(
    start: Callable[..., ServerProcess], chat: Chat, provider: StandIn, tmp_path: Path
) -> None:
    """The provider is done, the database is away, and then the server is killed: the customer pays once, for all of it."""
    fund(chat.person.workspace, "1")
    provider.answer(text="Worth waiting for.", wait=2, usage={"input": 10, "output": 4})
    server = settings_for(start)
    Client(chat, server)
    wait_for(lambda: provider.requests != [], "the call to reach the provider")
    with database_away():
        wait_for(lambda: spooled(tmp_path) != [], "the answer to be spooled")
        server.kill()

    start(SWEEP_SECONDS=1)
    wait_for(lambda: spooled(tmp_path) == [], "the spool to be settled")
    answer = Message.objects.get(workspace=chat.person.workspace, role="assistant")
    log = UsageLog.objects.get(workspace=chat.person.workspace)
    assert (answer.status, answer.content) == ("sent", "Worth waiting for.")
    assert (log.status, log.is_estimate, log.charged_usd) == ("success", False, Decimal("0.000018"))
    assert Wallet.objects.get(workspace=chat.person.workspace).balance == Decimal("0.999982")


def test_a_call_under_way_outlives_an_outage_that_is_longer_than_its_lease(
    start: Callable[..., ServerProcess], chat: Chat, provider: StandIn
) -> None:
    """Its own server sweeps as soon as the database is back, and must not be faster than the renewal."""
    fund(chat.person.workspace, "1")
    words = [f"word{number:03d} " for number in range(400)]
    provider.answer(text="".join(words), chunks=words, delay=0.02, usage={"input": 10, "output": 400})
    server = start(HOLD_LEASE_SECONDS=2, SQLITE_BUSY_SECONDS=1, SWEEP_SECONDS=1)
    client = Client(chat, server)
    wait_for(lambda: provider.requests != [], "the call to reach the provider")
    with database_away():
        over = time.monotonic() + 4
        wait_for(lambda: time.monotonic() > over, "the lease to run out")
    client.join(60)

    assert client.response is not None
    assert client.response.status_code == 201, client.response.text
    log = UsageLog.objects.get(workspace=chat.person.workspace)
    assert (log.status, log.is_estimate, log.charged_usd) == ("success", False, Decimal("0.00081"))
    assert not HoldIncident.objects.filter(workspace=chat.person.workspace).exists()
