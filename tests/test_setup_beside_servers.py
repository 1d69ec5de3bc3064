"""``setup`` where a server was killed, or is at work: nothing that was answered is lost, and the next one starts."""

from __future__ import annotations

import sqlite3
import threading

import httpx2
import pytest

from tests.conftest import wait_for
from tests.installation import SERVER, Installation, Server
from tests.installed import fail_at, installed, once, trial_of

__all__ = ["installed", "once"]
pytestmark = pytest.mark.timeout(600)
SLOW = "a " * 100
"""The demo model says it again word for word, which takes it two seconds."""


def address(server: Server, access: dict[str, str]) -> str:
    return f"{server.url}/api/v1/conversations/{access['conversation_id']}/messages"


def headers(access: dict[str, str]) -> dict[str, str]:
    return {"Authorization": f"Bearer {access['token']}"}


def listen(server: Server, access: dict[str, str], *, until: str) -> None:
    """Listen to an answer until ``until`` has come."""
    body = {"content": SLOW, "stream": True}
    with httpx2.stream("POST", address(server, access), json=body, headers=headers(access), timeout=60) as answer:
        heard = b""
        for piece in answer.iter_raw():
            heard += piece
            if until.encode() in heard:
                return


@pytest.mark.parametrize("when", ["at once", "long after the lease"])
def test_what_a_killed_server_left_does_not_keep_the_next_from_starting(installed: Installation, when: str) -> None:
    access = trial_of(installed)
    with installed.serve(SWEEP_SECONDS="0") as server:
        listen(server, access, until="event: delta")
        server.process.kill()
        server.process.wait()
    assert installed.sql("SELECT state FROM holds") == [("held",)]
    if when != "at once":
        installed.sql("UPDATE holds SET lease_until = '2026-01-01 00:00:00'")

    ended = installed.manage("setup", "--demo")
    assert ended.returncode == 0, ended.stderr
    assert "leftovers: 0 replayed, 0 interrupted, 1 lost, 0 reconciled" in ended.stdout
    assert "verify: 5/5" in ended.stdout
    assert installed.sql("SELECT state FROM holds") == [("expired",)]
    assert installed.manage("audit_ledger").returncode == 0


class Client(threading.Thread):
    """Sends one message after another and keeps the ids of the answers it was given."""

    def __init__(self, server: Server, access: dict[str, str]) -> None:
        super().__init__(daemon=True)
        self.server, self.access = server, access
        self.answers: list[str] = []
        self.refused: list[str] = []
        self.is_done = threading.Event()
        self.start()

    def run(self) -> None:
        while not self.is_done.is_set():
            body = {"content": f"Message {len(self.answers)}"}
            response = httpx2.post(
                address(self.server, self.access), json=body, headers=headers(self.access), timeout=60
            )
            if response.status_code == 201:
                self.answers.append(response.json()["message"]["id"])
            else:
                self.refused.append(response.text)


def test_beside_a_server_a_failed_setup_loses_none_of_its_answers(installed: Installation) -> None:
    """It had changed the catalogue before it failed; the server was answering, and charging for it, all the time."""
    access = trial_of(installed)
    installed.sql("UPDATE llms SET display_name = 'Renamed' WHERE provider = 'grok'")
    with installed.serve() as server:
        client = Client(server, access)
        wait_for(lambda: len(client.answers) > 3, "the first answers")
        fail_at(installed, "trial workspace")
        before = len(client.answers)
        for _ in range(2):
            ended = installed.manage("setup", "--demo")
            assert ended.returncode == 1
            assert "“trial workspace” failed: " in ended.stderr
        assert len(client.answers) > before + 3
        client.is_done.set()
        client.join(60)

        chat = f"{server.url}/api/v1/conversations/{access['conversation_id']}"
        stored = [httpx2.get(f"{chat}/messages/{answer}", headers=headers(access)) for answer in client.answers]
        assert {response.status_code for response in stored} == {200}
        assert {response.json()["usage"]["status"] for response in stored} == {"success"}
        shown = httpx2.get(chat, headers=headers(access)).json()
    assert client.refused == []
    assert shown["message_count"] == 2 * len(client.answers)
    assert installed.sql("SELECT count(*) FROM llms WHERE display_name = 'Renamed'") == [(1,)]
    assert installed.manage("audit_ledger").returncode == 0


def test_a_setup_that_can_not_have_the_database_changes_nothing(installed: Installation) -> None:
    """Somebody writes for longer than it waits."""
    if SERVER:
        ended = installed.manage("setup", DATABASE_URL="postgresql://nobody@127.0.0.1:1/nowhere")
    else:
        other = sqlite3.connect(installed.database, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        ended = installed.manage("setup", SQLITE_BUSY_SECONDS="1")
        other.execute("ROLLBACK")
        other.close()
    assert ended.returncode == 1
    assert "CommandError: The database can't be had: " in ended.stderr
    assert ended.stderr.endswith("Nothing was changed.\n")
    assert "Traceback" not in ended.stderr
    assert ended.stdout == ""
