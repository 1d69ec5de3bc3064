"""Periodic jobs: what is due is done once, whoever calls, and one that fails keeps no other from its turn."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from synapscale.common import periodic
from synapscale.common.models import PeriodicJob, new_id
from tests.faults.conftest import ROOT, database_environment

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def registry(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    """Only the jobs of the test."""
    monkeypatch.setattr(periodic, "_jobs", {})
    monkeypatch.setattr(periodic, "_last_runs", {})
    settings.HOURLY = 3600


def register(name: str, run: Any, **fields: Any) -> None:
    periodic.register(name=name, setting="HOURLY", run=run, description="a test's", **fields)


def run(**options: Any) -> dict[str, str]:
    """What was run, and what came of it."""
    results = asyncio.run(periodic.run_due(**options))
    return {result.job.name: result.error or result.report for result in results}


def row(name: str = "count") -> PeriodicJob:
    return PeriodicJob.objects.get(name=name)


def put_back(name: str = "count", **times: Any) -> None:
    PeriodicJob.objects.filter(name=name).update(**times)


def ago(**span: float) -> Any:
    return timezone.now() - timedelta(**span)


def test_a_job_is_run_when_it_is_due() -> None:
    register("count", lambda: "counted")
    assert run() == {"count": "counted"}
    assert run() == {}
    put_back(started_at=ago(minutes=59))
    assert run() == {}
    put_back(started_at=ago(minutes=61))
    assert run() == {"count": "counted"}
    assert run(is_forced=True) == {"count": "counted"}
    stands = row()
    assert (stands.runs, stands.failures, stands.error, stands.running_until) == (3, 0, "", None)
    assert stands.started_at and stands.succeeded_at
    assert stands.started_at <= stands.succeeded_at == stands.finished_at


def test_coroutines_and_blocking_functions_are_run() -> None:
    async def coroutine() -> int:
        return 7

    register("coroutine", coroutine)
    register("blocking", PeriodicJob.objects.count)
    assert run() == {"coroutine": "7", "blocking": "2"}


def test_one_that_fails_keeps_no_other_from_its_turn(caplog: pytest.LogCaptureFixture) -> None:
    class Report:
        failed = 1

        def __str__(self) -> str:
            return "1 done, 1 failed"

    def fail() -> None:
        raise ValueError("password hunter2")

    register("first", fail)
    register("half", Report)
    register("last", lambda: None)
    assert run() == {"first": "ValueError", "half": "Incomplete", "last": ""}
    assert (row("first").error, row("first").failures, row("first").succeeded_at) == ("ValueError", 1, None)
    assert row("half").failures == 1
    assert row("last").succeeded_at is not None
    assert run() == {}  # a failed one waits for its next turn as well
    assert not any(
        "hunter2" in str(value) for value in PeriodicJob.objects.filter(name="first").values().get().values()
    )


def test_one_that_runs_elsewhere_is_left_alone_until_its_lease_is_over() -> None:
    register("count", lambda: "counted")
    PeriodicJob.objects.create(
        name="count", started_at=ago(hours=3), claim=new_id(), running_until=ago(seconds=-50), runs=1
    )
    assert run() == run(is_forced=True) == {}
    put_back(running_until=ago(seconds=1))
    assert run() == {"count": "counted"}


def test_one_that_lost_its_lease_leaves_that_of_its_successor_alone() -> None:
    successor = new_id()
    register("count", lambda: put_back(claim=successor, running_until=ago(seconds=-50)))
    run()
    assert row().claim == successor
    assert row().running_until is not None


def test_the_lease_is_renewed_while_a_job_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(periodic, "LEASE", timedelta(seconds=0.6))
    monkeypatch.setattr(periodic, "_RENEWAL_SECONDS", 0.1)
    others: list[bool] = []

    async def long() -> None:
        job = periodic.jobs()[0]
        for _ in range(4):
            await asyncio.sleep(0.4)
            others.append(await periodic.run_if_due(job, is_forced=True) is None)

    register("count", long)
    run()
    assert others == [True] * 4
    assert row().running_until is None


def test_one_of_each_process_runs_whatever_the_others_do() -> None:
    register("count", lambda: "counted", is_everywhere=True)
    PeriodicJob.objects.create(name="count", started_at=ago(seconds=1), runs=1)
    assert run() == {"count": "counted"}
    assert run() == {}
    assert (row().runs, row().running_until) == (2, None)


def test_how_long_each_took_is_known() -> None:
    register("count", lambda: time.sleep(0.3))
    register("here", lambda: time.sleep(0.3), is_everywhere=True)
    run()
    for name in ("count", "here"):
        started_at, finished_at = row(name).started_at, row(name).finished_at
        assert started_at
        assert finished_at
        assert timedelta(seconds=0.25) < finished_at - started_at < timedelta(seconds=5)


def test_a_database_that_is_away_is_an_error_of_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    from django.db import OperationalError

    def away(*args: Any) -> bool:
        raise OperationalError

    monkeypatch.setattr(periodic, "_claim", away)
    register("count", lambda: None)
    assert run() == {"count": "OperationalError"}


def test_a_name_is_taken_once() -> None:
    register("count", lambda: None)
    with pytest.raises(ValueError, match="“count”"):
        periodic.register(name="count", setting="SWEEP_SECONDS", run=print, description="another")


def test_a_server_goes_on_after_failures_and_leaves_jobs_of_no_seconds_to_cron(settings: Any) -> None:
    settings.HOURLY, settings.NEVER = 1, 0
    runs: list[str] = []

    enough = asyncio.Event()

    async def fail() -> None:
        runs.append("fails")
        if len(runs) == 3:
            enough.set()
        raise ValueError

    register("fails", fail, is_everywhere=True)
    periodic.register(name="cron", setting="NEVER", run=lambda: runs.append("cron"), description="cron's")

    async def serve() -> None:
        tasks = periodic.start_all()
        await asyncio.wait_for(enough.wait(), 20)
        for task in tasks:
            task.cancel()

    asyncio.run(serve())
    assert runs == ["fails"] * 3
    assert [*run(), *run()].count("cron") == 2  # with every tick


SCRIPT = """
import asyncio, os, sys, time
import django
django.setup()
from django.conf import settings
from synapscale.common import periodic
settings.HOURLY = 3600
periodic._jobs.clear()
out, go = sys.argv[1:]
def work():
    with open(out, "a") as file:
        file.write(f"{os.getpid()}\\n")
    time.sleep(0.5)
periodic.register(name="count", setting="HOURLY", run=work, description="")
print("ready", flush=True)
while not os.path.exists(go):
    time.sleep(0.001)
for _ in range(5):
    asyncio.run(periodic.run_due())
"""


def test_of_many_processes_one_runs_it(tmp_path: Path) -> None:
    out, go = tmp_path / "out", tmp_path / "go"
    environment = {**os.environ, **database_environment(), "DJANGO_SETTINGS_MODULE": "synapscale.settings"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(out), str(go)], cwd=ROOT, env=environment, stdout=subprocess.PIPE
        )
        for _ in range(4)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
    go.touch()
    assert [process.wait(60) for process in processes] == [0] * 4
    assert len(out.read_text().splitlines()) == 1
    assert (row().runs, row().failures) == (1, 0)
    put_back(started_at=ago(hours=2))
    again = subprocess.run([sys.executable, "-c", SCRIPT, str(out), str(go)], cwd=ROOT, env=environment, check=False)
    assert again.returncode == 0
    assert len(out.read_text().splitlines()) == 2
