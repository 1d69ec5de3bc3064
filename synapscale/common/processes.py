"""Telling whether another process is dead, where that can be known for certain."""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import Enum
from pathlib import Path


def own_identity() -> str:
    """This process, unlike any other that ever ran: boot, PID namespace, PID and start time. "" where that is not known.

    The namespace keeps containers of one machine apart, which may use the same PIDs.
    """
    try:
        return f"{_place()}:{os.getpid()}:{_stat(os.getpid()).started_at}"
    except OSError:  # not Linux
        return ""


class Condition(Enum):
    ALIVE = "alive"
    STOPPED = "stopped"
    """Alive, but not running (``SIGSTOP``, a debugger): it does not look after its calls."""
    DEAD = "dead"
    UNKNOWN = "unknown"
    """Of another machine or container, or hidden from us: nobody here can tell."""


def condition(identity: str) -> Condition:
    """How the process is, as far as that can be known for certain."""
    own = _of_this_place(identity)
    if own is None:
        return Condition.UNKNOWN
    pid, started_at = own
    try:
        stat = _stat(pid)
    except FileNotFoundError:
        return Condition.UNKNOWN if _exists(pid) else Condition.DEAD
    except OSError:
        return Condition.UNKNOWN
    if stat.started_at != started_at or stat.state in _DEAD:  # or only its parent has not looked yet
        return Condition.DEAD
    return Condition.STOPPED if stat.state in _STOPPED else Condition.ALIVE


def _of_this_place(identity: str) -> tuple[int, str] | None:
    """Its PID and start time, where it is a process of this machine and container."""
    try:
        place, pid, started_at = identity.rsplit(":", 2)
        return (int(pid), started_at) if place == _place() else None
    except (OSError, ValueError):
        return None


def _place() -> str:
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{boot}:{os.stat('/proc/self/ns/pid').st_ino}"


@dataclass(frozen=True, slots=True)
class _Stat:
    state: str
    started_at: str
    """In clock ticks since boot."""


_DEAD, _STOPPED = frozenset("ZX"), frozenset("Tt")


def _stat(pid: int) -> _Stat:
    """The 3rd and 22nd field of stat. The name before them, in parentheses, may contain anything."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return _Stat(state=fields[0], started_at=fields[19])


def _exists(pid: int) -> bool:
    """Whether there is such a process, though it may be hidden from us (``hidepid``)."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # somebody else's
    return True
