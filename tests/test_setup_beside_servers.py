"""``setup`` where a server was killed, or is at work: nothing that was answered is lost, and the next one starts."""

from __future__ import annotations

import httpx2
import pytest

from tests.installation import Installation, Server
from tests.installed import installed, once, trial_of

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
