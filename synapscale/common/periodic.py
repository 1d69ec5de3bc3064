"""Work that is due every so often, done once across all processes and machines, whoever calls and how often.

An app registers its jobs in ``AppConfig.ready``. The servers' background loop and ``manage.py tick`` both run what is due.
A job is claimed by one conditional UPDATE on the database's clock. The claim is a lease that is renewed while the job
runs, so a process that dies frees it within a minute. It saves work, it is no lock: one that was stopped for longer may
find that another has begun, so a job is driven by state, and doing it twice does no harm.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import DatabaseError, InterfaceError
from django.db.models import DateTimeField, ExpressionWrapper, F, Q
from django.db.models.functions import Now
from django.utils.functional import Promise

from synapscale.common.db import in_background, in_db
from synapscale.common.models import PeriodicJob, new_id

logger = logging.getLogger(__name__)
LEASE = timedelta(seconds=60)
_RENEWAL_SECONDS = LEASE.total_seconds() / 3
_LONGEST_POLL = 30.0
"""Seconds. So late at most is a job whose turn came while no process looked."""


@dataclass(frozen=True, slots=True)
class Job:
    """Something that is done every ``seconds``."""

    name: str
    setting: str
    """The setting that says every how many seconds; with 0 no server runs it by itself."""
    run: Callable[[], Any]
    """Blocking (it gets a thread of its own) or a coroutine function. What it returns is told as text; where that has a
    ``failed`` that is not 0, the run counts as failed."""
    description: str | Promise
    is_everywhere: bool = False
    """Every process runs it for itself, because what it looks after lies in the process or on its machine."""

    @property
    def seconds(self) -> int:
        return int(getattr(settings, self.setting))


@dataclass(frozen=True, slots=True)
class Result:
    """How one run of a job ended."""

    job: Job
    report: str = ""
    error: str = ""
    """The kind of error, without what it said: that may repeat secrets. It is in the log, masked."""

    @property
    def has_failed(self) -> bool:
        return bool(self.error)


_jobs: dict[str, Job] = {}
_last_runs: dict[str, float] = {}
"""When this process last ran its jobs that run everywhere, on the monotonic clock."""


def register(
    *, name: str, setting: str, run: Callable[[], Any], description: str | Promise, is_everywhere: bool = False
) -> None:
    """Add a job. ``setting`` names a setting in seconds. Raises ValueError for a name that is taken."""
    job = Job(name=name, setting=setting, run=run, description=description, is_everywhere=is_everywhere)
    if _jobs.get(name, job).setting != setting:
        raise ValueError(f"There is a job “{name}” already.")
    _jobs[name] = job


def jobs() -> list[Job]:
    """In the order in which they were registered: apps below come first."""
    return list(_jobs.values())


async def run_due(*, is_forced: bool = False) -> list[Result]:
    """Run what is due, one job after another; with ``is_forced`` whatever no other process is running at the moment.

    A job that fails does not keep the others from running.
    """
    results = [await run_if_due(job, is_forced=is_forced) for job in jobs()]
    return [result for result in results if result is not None]


async def run_if_due(job: Job, *, is_forced: bool = False) -> Result | None:
    """Run one job if it is its turn; None when it is not, or another process has it."""
    claim = new_id()
    try:
        if job.is_everywhere:
            if not is_forced and not _is_due_here(job):
                return None
        elif not await in_db(_claim, job, claim, is_forced):
            return None
    except (DatabaseError, InterfaceError) as error:
        logger.warning("job %s can't be claimed, will try again: %s", job.name, type(error).__name__)
        return Result(job, error=type(error).__name__)
    begun = time.monotonic()
    keeper = None if job.is_everywhere else asyncio.create_task(_keep(job, claim))
    try:
        result = await _run(job)
    finally:
        if keeper is not None:
            keeper.cancel()
    try:
        await in_db(_note, job, claim, result, time.monotonic() - begun)
    except (DatabaseError, InterfaceError) as error:  # what the job did is done; its lease runs out by itself
        logger.warning("the end of job %s can't be noted: %s", job.name, type(error).__name__)
    return result


async def regularly(job: Job) -> None:
    """The life of a job in a server: at start-up and then whenever it is due, whatever becomes of it."""
    while True:
        try:
            await run_if_due(job)
        except Exception:
            logger.exception("job %s broke off, will try again", job.name)
        await asyncio.sleep(min(job.seconds, _LONGEST_POLL))


async def _run(job: Job) -> Result:
    try:
        if inspect.iscoroutinefunction(job.run):
            report = await job.run()
        else:
            report = await in_background(job.run)
    except DatabaseError as error:
        logger.warning("job %s failed, will try again: %s", job.name, type(error).__name__)
        return Result(job, error=type(error).__name__)
    except Exception as error:
        logger.exception("job %s failed, will try again", job.name)
        return Result(job, error=type(error).__name__)
    # A report that counts failures: what went well is done, the rest will be tried again.
    return Result(job, report="" if report is None else str(report), error="Incomplete" if _failed(report) else "")


def _failed(report: Any) -> bool:
    return bool(getattr(report, "failed", 0))


def _is_due_here(job: Job) -> bool:
    now, last = time.monotonic(), _last_runs.get(job.name)
    if last is not None and now - last < job.seconds:
        return False
    _last_runs[job.name] = now
    return True


def _claim(job: Job, claim: uuid.UUID, is_forced: bool) -> bool:
    """Whether the job is due and nobody else's: then it is ours. One statement, and another for a job that is new."""
    if _try_to_claim(job, claim, is_forced):
        return True
    if PeriodicJob.objects.filter(name=job.name).exists():
        return False
    PeriodicJob.objects.bulk_create([PeriodicJob(name=job.name)], ignore_conflicts=True)
    return _try_to_claim(job, claim, is_forced)


def _try_to_claim(job: Job, claim: uuid.UUID, is_forced: bool) -> bool:
    is_free = Q(running_until__isnull=True) | Q(running_until__lt=Now())
    is_due = Q(started_at__isnull=True) | Q(started_at__lte=_now_and(-timedelta(seconds=job.seconds)))
    rows = PeriodicJob.objects.filter(is_free, name=job.name)
    if not is_forced:
        rows = rows.filter(is_due)
    return rows.update(started_at=Now(), running_until=_now_and(LEASE), claim=claim, runs=F("runs") + 1) == 1


async def _keep(job: Job, claim: uuid.UUID) -> None:
    """Renew the lease until cancelled."""
    while True:
        await asyncio.sleep(_RENEWAL_SECONDS)
        with suppress(DatabaseError, InterfaceError):  # the next renewal may find the database again
            await in_db(PeriodicJob.objects.filter(name=job.name, claim=claim).update, running_until=_now_and(LEASE))


def _note(job: Job, claim: uuid.UUID, result: Result, seconds: float) -> None:
    """How it went, and for how long. A run that lost its lease leaves that of its successor alone."""
    rows = PeriodicJob.objects.filter(name=job.name)
    changes: dict[str, Any] = {"finished_at": Now(), "error": result.error[:100]}
    if result.has_failed:
        changes["failures"] = F("failures") + 1
    else:
        changes["succeeded_at"] = Now()
    if job.is_everywhere:
        changes |= {"started_at": _now_and(-timedelta(seconds=seconds)), "runs": F("runs") + 1}
        if not rows.update(**changes):
            PeriodicJob.objects.bulk_create([PeriodicJob(name=job.name)], ignore_conflicts=True)
            rows.update(**changes)
    else:
        rows.update(**changes)
        rows.filter(claim=claim).update(running_until=None, claim=None)


def _now_and(delta: timedelta) -> Any:
    return ExpressionWrapper(Now() + delta, output_field=DateTimeField())


def start_all() -> list[asyncio.Task[None]]:
    """What a server does by itself. A job with 0 seconds is left to cron."""
    return [asyncio.create_task(regularly(job), name=f"job {job.name}") for job in jobs() if job.seconds]
