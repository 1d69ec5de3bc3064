"""``manage.py tick`` as cron meets it."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import call_command

from synapscale.common import periodic
from synapscale.common.models import PeriodicJob
from tests.conftest import wait_for
from tests.faults.conftest import ServerProcess, start

__all__ = ["start"]

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def seconds(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for job in periodic.jobs():
        setattr(settings, job.setting, 600)
    monkeypatch.setattr(periodic, "_last_runs", {})


def tick(*arguments: str) -> list[str]:
    out = io.StringIO()
    call_command("tick", *arguments, stdout=out)
    return out.getvalue().splitlines()


def test_it_does_what_is_due_once() -> None:
    assert tick()[:3] == [
        "sweep: 0 replayed, 0 interrupted, 0 lost",
        "autotag: 0 looked at, 0 failed",
        "feedback_alerts: 0 sent about 0 pieces of feedback, 0 failed",
    ]
    assert tick() == ["tick: nothing is due"]
    assert len(tick("--all")) >= 3


def test_it_exits_1_when_a_job_failed_and_runs_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken() -> None:
        raise RuntimeError("secret")

    jobs = {job.name: job for job in periodic.jobs()}
    monkeypatch.setattr(periodic, "_jobs", {**jobs, "autotag": periodic.Job("autotag", "AUTOTAG_SECONDS", broken, "")})
    out = io.StringIO()
    with pytest.raises(SystemExit) as end:
        call_command("tick", stdout=out)
    assert end.value.code == 1
    said = out.getvalue().splitlines()
    assert said[1] == "autotag: failed (RuntimeError)"
    assert said[2].startswith("feedback_alerts: 0 sent")


def test_it_shows_how_each_job_stands() -> None:
    assert tick("--list")[0] == (
        "sweep: finish calls of processes that died; every 600 s, in each process; no success yet; 0 runs, 0 failed"
    )
    tick()
    stands = tick("--list")[1]
    assert stands.startswith("autotag: let rules look at new answers; every 600 s; last success 20")
    assert stands.endswith("Z; 1 runs, 0 failed")


def test_a_server_ticks_by_itself(start: Callable[..., ServerProcess]) -> None:
    start(SWEEP_SECONDS=1, AUTOTAG_SECONDS=1, FEEDBACK_ALERT_SECONDS=0)
    wait_for(
        lambda: set(PeriodicJob.objects.filter(runs__gte=2).values_list("name", flat=True)) == {"sweep", "autotag"},
        "the server to run its jobs twice",
    )
    assert not PeriodicJob.objects.filter(name="feedback_alerts").exists()
