"""Knowing how a process is, and never thinking a living one dead."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from synapscale.common import processes
from synapscale.common.processes import Condition, condition, own_identity
from tests.conftest import wait_for


def is_dead(identity: str) -> bool:
    return condition(identity) is Condition.DEAD


def is_alive(identity: str) -> bool:
    return condition(identity) is Condition.ALIVE


def identity_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def child() -> subprocess.Popen[str]:
    script = (
        "import time; from synapscale.common.processes import own_identity as i; print(i(), flush=True); time.sleep(60)"
    )
    return subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)


def test_a_process_is_dead_when_it_is_killed_and_not_before() -> None:
    process = child()
    identity = identity_of(process)
    assert identity.split(":")[-2] == str(process.pid)
    assert not is_dead(identity)
    assert is_alive(identity)
    process.kill()
    wait_for(lambda: is_dead(identity), "the process to be dead, though nobody has waited for it")
    assert not is_alive(identity)
    process.wait()
    assert is_dead(identity)
    assert not is_alive(identity)


def test_a_process_that_is_hidden_from_us_is_not_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under hidepid there is no /proc entry of somebody else's process."""
    process = child()
    identity = identity_of(process)

    def hidden(pid: int) -> None:
        raise FileNotFoundError(f"/proc/{pid}/stat")

    with monkeypatch.context() as patch:
        patch.setattr(processes, "_stat", hidden)
        assert condition(identity) is Condition.UNKNOWN
        patch.setattr(os, "kill", not_ours)
        assert condition(identity) is Condition.UNKNOWN
    process.kill()
    process.wait()
    monkeypatch.setattr(processes, "_stat", hidden)
    assert is_dead(identity)


def not_ours(pid: int, number: int) -> None:
    raise PermissionError(pid)


def test_a_stopped_process_is_neither_alive_nor_dead() -> None:
    process = child()
    identity = identity_of(process)
    process.send_signal(signal.SIGSTOP)
    wait_for(lambda: condition(identity) is Condition.STOPPED, "the process to be stopped")
    process.send_signal(signal.SIGCONT)
    wait_for(lambda: is_alive(identity), "the process to go on")
    process.kill()
    process.wait()


def test_the_own_process_is_alive_and_keeps_its_identity() -> None:
    assert own_identity() == own_identity()
    assert not is_dead(own_identity())
    assert is_alive(own_identity())


def test_another_process_with_the_same_pid_is_another() -> None:
    place, pid, started_at = own_identity().rsplit(":", 2)
    assert pid == str(os.getpid())
    assert is_dead(f"{place}:{pid}:{int(started_at) - 1}")
    assert not is_alive(f"{place}:{pid}:{int(started_at) - 1}")


def test_of_another_machine_or_container_nothing_is_known() -> None:
    boot, namespace, pid, _ = own_identity().split(":")
    elsewhere = f"00000000-0000-0000-0000-000000000000:{namespace}:{pid}:1"
    for identity in (elsewhere, f"{boot}:1:{pid}:1", "", "nonsense", "a:b:c:d"):
        assert condition(identity) is Condition.UNKNOWN
