"""Telling whether another process is dead, where that can be known for certain."""

from __future__ import annotations

import os
from pathlib import Path


def own_identity() -> str:
    """This process, unlike any other that ever ran: boot, PID namespace, PID and start time. "" where that is not known.

    The namespace keeps containers of one machine apart, which may use the same PIDs.
    """
    try:
        return f"{_place()}:{os.getpid()}:{_started_at(os.getpid())}"
    except OSError:  # not Linux
        return ""


def is_dead(identity: str) -> bool:
    """Whether the process is certainly gone. False for one of another machine or container: nobody here can tell."""
    try:
        place, pid, started_at = identity.rsplit(":", 2)
        if place != _place():
            return False
    except (OSError, ValueError):
        return False
    try:
        return _started_at(int(pid)) != started_at
    except FileNotFoundError:
        return True
    except OSError:
        return False


def _place() -> str:
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{boot}:{os.stat('/proc/self/ns/pid').st_ino}"


def _started_at(pid: int) -> str:
    """In clock ticks since boot: the 22nd field of stat. The name before it, in parentheses, may contain anything."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    state, started_at = fields[0], fields[19]
    if state in {"Z", "X"}:  # dead, only its parent has not looked yet
        raise FileNotFoundError(pid)
    return started_at
