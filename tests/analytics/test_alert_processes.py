"""Two processes, each with connections of its own, look at the rules and send at the same time: everything happens once."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from llm.models import LLM
from tests.analytics.alerting import Listener, alerts, deliveries, make_endpoint, make_rule
from tests.analytics.usage import Call, write
from tests.faults.conftest import ROOT, database_environment
from tests.people import Cast, join

pytestmark = pytest.mark.django_db(transaction=True)
USERS = 15
SCRIPT = """
import asyncio, datetime, sys
import django
django.setup()
from analytics.alerting.delivering import deliver_due
from analytics.alerting.evaluating import evaluate_due
print("ready", flush=True)
for line in sys.stdin:
    now = datetime.datetime.fromisoformat(line.strip())
    done = []
    for step in range(5):
        found = evaluate_due(now=now + datetime.timedelta(milliseconds=step))
        sent = asyncio.run(deliver_due(now=now + datetime.timedelta(seconds=1)))
        done.append((len(found.fired), len(found.resolved), len(found.failed), sent.sent))
    print("done", *map(sum, zip(*done)), flush=True)
"""


class Processes:
    def __init__(self, processes: list[subprocess.Popen[str]]) -> None:
        self._processes = processes

    def look(self, now: datetime) -> tuple[int, ...]:
        """What all of them together have fired, resolved, failed at and sent, each looking five times."""
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.write(f"{now.isoformat()}\n")
            process.stdin.flush()
        numbers = [[int(number) for number in self.line_of(process, "done")] for process in self._processes]
        return tuple(map(sum, zip(*numbers, strict=True)))

    @staticmethod
    def line_of(process: subprocess.Popen[str], word: str) -> list[str]:
        """The rest of the next line that begins with ``word``; mails are written between."""
        assert process.stdout is not None
        for line in process.stdout:
            if re.match(rf"{word}\b", line):
                return line.split()[1:]
        raise AssertionError("the process has ended")


@contextmanager
def running(count: int) -> Iterator[Processes]:
    environment = {**os.environ, **database_environment()}
    started = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT],
            cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for _ in range(count)
    ]  # fmt: skip
    try:
        for process in started:
            Processes.line_of(process, "ready")
        yield Processes(started)
    finally:
        for process in started:
            process.kill()
            process.communicate()


def test_two_processes_fire_resolve_and_tell_once(cast: Cast, llm: LLM) -> None:
    make_rule(cast.alice.workspace)
    people = [join(cast.alice.workspace, f"user-{number}", "member") for number in range(USERS)]
    moment = timezone.now()
    write(Call(moment, person, llm, cost=3_000_000) for person in people)
    with Listener().running() as listener, running(2) as processes:
        make_endpoint(cast.alice.workspace, listener.url)
        assert processes.look(moment + timedelta(seconds=1)) == (USERS, 0, 0, 2 * USERS)
        assert [one.state for one in alerts()] == ["firing"] * USERS
        assert processes.look(moment + timedelta(hours=2)) == (0, USERS, 0, 2 * USERS)
        assert [one.state for one in alerts()] == ["resolved"] * USERS
    told: list[Any] = sorted((got.alert["subject"]["id"], got.document["type"]) for got in listener.received)
    assert told == sorted(
        (str(person.user.pk), event) for person in people for event in ("alert.firing", "alert.resolved")
    )
    assert {one.state for one in deliveries()} == {"sent"}
