"""Runs of reports: on demand, or made when they are due.

What is due is seen in the report's ``next_run_at``; whoever moves that on by a conditional UPDATE makes the run, in the same
transaction. A run then waits until somebody has looked whether it can be read. Each step is driven by what is stored, so
it may be cut off anywhere, and be done by several processes at once. A run that breaks whoever looks is given up after a day.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from django.db import DatabaseError, IntegrityError, transaction
from django.utils import timezone
from django.utils.translation import gettext_noop

from analytics.asking import Asked, Asker
from analytics.models import Report, ReportMail, ReportRun
from analytics.reports import definitions, files, mails, rights, schedule
from analytics.reports.saving import members_among, owners_of
from analytics.reports.windows import window_of
from conversations.windows import Window
from synapscale.common import stored_words
from synapscale.common.db import retry_transaction
from synapscale.common.errors import Conflict, NotFound, Refusal
from synapscale.common.tenancy import fleet_wide

logger = logging.getLogger(__name__)
BATCH = 200
"""Reports, runs and mails that one call looks at; what is more waits for the next."""
GIVE_UP_AFTER = timedelta(days=1)
_GIVEN_UP = gettext_noop(
    "It could not be read for a day, for a reason that is not yours. Run it again; should it fail again, ask the operators."
)
stored_words.register(
    "analytics.ReportRun.error", _GIVEN_UP, definitions.OUTDATED, rights.MAKER_LEFT, rights.NOT_YOURS, is_shared=True
)
State = ReportRun.State


@dataclass(slots=True)
class Done:
    """What ``run_due`` did."""

    runs: int = 0
    mails: int = 0
    failed: int = 0
    """Runs that can't be read, and mails that could not be sent."""

    def __str__(self) -> str:
        return f"{self.runs} runs made, {self.mails} mails sent, {self.failed} failed"


def run_due(*, now: datetime | None = None) -> Done:
    """Make the runs that are due, and send the links to them. Safe at any time, any number of times, and at once.

    A report that was due several times since it last ran gets one run, of the last time.
    """
    given, now = now, now or timezone.now()
    done = Done()
    with fleet_wide():
        due = list(Report.objects.filter(next_run_at__lte=now).order_by("next_run_at", "pk")[:BATCH])
    for report in due:
        try:
            done.runs += retry_transaction(_make_due, report, now)
        except Exception:
            done.failed += 1  # the others run all the same
            logger.exception("report %s did not run, will try again", report.pk)
    with fleet_wide():
        waiting = list(ReportRun.objects.filter(state=State.QUEUED).select_related("report").order_by("pk")[:BATCH])
    for run in waiting:
        try:
            done.failed += finish(run, now=now) is State.FAILED
        except Exception:
            done.failed += 1
            logger.exception("run %s is not finished, will try again", run.pk)
            if now - run.created_at >= GIVE_UP_AFTER:
                _give_up(run, now)
    sent = mails.send_due(now=given, limit=BATCH)
    done.mails, done.failed = sent.sent, done.failed + sent.failed
    return done


def _make_due(report: Report, now: datetime) -> bool:
    """Whether this process has made the run."""
    due_at = schedule.last_until(report, now)
    with transaction.atomic():
        seen = Report.objects.filter(workspace_id=report.workspace_id, pk=report.pk, next_run_at=report.next_run_at)
        # As it was seen: a report that has been changed meanwhile is looked at again.
        if not seen.filter(updated_at=report.updated_at).update(next_run_at=schedule.next_after(report, now)):
            return False
        if ReportRun.objects.filter(workspace_id=report.workspace_id, report=report, due_at=due_at).exists():
            return False  # it had run already, and its hour was changed since
        _queued(report, report.created_by_id, now=due_at, due_at=due_at)
    return True


def run_now(report: Report, who: Asker, *, idempotency_key: str = "") -> tuple[ReportRun, bool]:
    """A run of the window as it is now, and whether it is new. The same key again is the same run."""
    now = timezone.now()
    if idempotency_key and (known := _run_with(report, who, idempotency_key)):
        return known, False
    try:
        with transaction.atomic():
            run = _queued(report, who.user.pk, now=now, idempotency_key=idempotency_key)
    except IntegrityError:
        known = _run_with(report, who, idempotency_key) if idempotency_key else None
        if known is None:
            raise NotFound("The report has just been deleted.") from None
        return known, False  # the other request was faster
    finish(run, now=now)
    run.refresh_from_db()
    return run, True


def _run_with(report: Report, who: Asker, key: str) -> ReportRun | None:
    rows = ReportRun.objects.filter(workspace_id=report.workspace_id, report=report, asked_by=who.user)
    return rows.filter(idempotency_key=key).first()


def _queued(
    report: Report, user_id: uuid.UUID, *, now: datetime, due_at: datetime | None = None, idempotency_key: str = ""
) -> ReportRun:
    window = window_of(report, now=now)
    return ReportRun.objects.create(
        workspace_id=report.workspace_id,
        report=report,
        asked_by_id=user_id,
        due_at=due_at,
        idempotency_key=idempotency_key,
        kind=report.kind,
        definition=report.definition,
        start_at=window.start,
        end_at=window.end,
        tz=report.tz,
        format=report.format,
    )


def window_of_run(run: ReportRun) -> Window:
    return Window(run.start_at, run.end_at, ZoneInfo(run.tz))


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What is written of a run that has been looked at."""

    state: ReportRun.State
    definition: definitions.Definition
    rows: int | None = None
    error: str = ""


def finish(run: ReportRun, *, now: datetime) -> ReportRun.State:
    """Look whether it can be read, by the rights that its maker has now, and how many rows it has; then the links to it
    are due.
    """
    window = window_of_run(run)
    try:
        asked = definitions.by_its_maker(run.report, run.definition, kind=run.kind, window=window)
        outcome = _Outcome(State.DONE, definitions.frozen(run.definition, asked), rows=_count(asked, run))
    except Refusal as refusal:
        outcome = _Outcome(State.FAILED, run.definition, error=refusal.message[:500])
    retry_transaction(_write, run, outcome, now)
    return outcome.state


def _give_up(run: ReportRun, now: datetime) -> None:
    try:
        retry_transaction(_write, run, _Outcome(State.FAILED, run.definition, error=_GIVEN_UP), now)
    except DatabaseError as error:  # the next call gives it up
        logger.warning("run %s can't be given up: %s", run.pk, type(error).__name__)


def _count(asked: Asked, run: ReportRun) -> int | None:
    """None where counting takes longer than the database allows: it can be read all the same."""
    try:
        return files.count(asked, run.kind)
    except DatabaseError as error:
        logger.warning("the rows of run %s are not counted: %s", run.pk, type(error).__name__)
        return None


def _write(run: ReportRun, outcome: _Outcome, now: datetime) -> None:
    with transaction.atomic():
        queued = ReportRun.objects.filter(workspace_id=run.workspace_id, pk=run.pk, state=State.QUEUED)
        if not queued.update(finished_at=timezone.now(), **asdict(outcome)):
            return  # another process has
        if run.due_at is None:
            return
        if outcome.state is State.DONE:
            _post(run, list(members_among(run.workspace_id, run.report.recipients)), now)
        elif not _is_told(run):
            _post(run, _whom_it_fails(run), now)


def _is_told(run: ReportRun) -> bool:
    """Whether the run by schedule before this one failed as well, and the report was not changed since."""
    others = ReportRun.objects.filter(workspace_id=run.workspace_id, report=run.report_id, due_at__lt=run.due_at)
    before = others.order_by("-due_at").first()
    if before is None or before.state != State.FAILED:
        return False
    return before.finished_at is not None and before.finished_at > run.report.updated_at


def _whom_it_fails(run: ReportRun) -> list[uuid.UUID]:
    """Whoever made the report; where they have left, the owners of the workspace."""
    maker = run.report.created_by_id
    return list(members_among(run.workspace_id, [maker])) or owners_of(run.workspace_id)


def _post(run: ReportRun, users: Iterable[uuid.UUID], now: datetime) -> None:
    ReportMail.objects.bulk_create(
        ReportMail(workspace_id=run.workspace_id, report_id=run.report_id, run=run, user_id=user_id, next_try_at=now)
        for user_id in users
    )


def readable(run: ReportRun, who: Asker) -> Asked:
    """What ``who`` may see of it. Raises Refusal."""
    if run.state == State.QUEUED:
        raise Conflict("This run is not ready yet.", code="run_queued", retry_after=5)
    if run.state == State.FAILED:
        raise Conflict(f"This run has failed: {run.error}", code="run_failed")
    return definitions.of_run(run, window_of_run(run), reader=who)
