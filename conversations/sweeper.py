"""Calls whose process died: what had arrived is kept and charged as an estimate, the rest of the hold is given back.

Driven by state (a hold past its lease, or of a process known to be dead), so it may run anywhere, at any time, any
number of times.
"""

from __future__ import annotations

import logging
import math
import time
import uuid
from dataclasses import dataclass

from django.conf import settings
from django.db import InterfaceError, OperationalError, connection, transaction
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_noop

from billing import holds, spending
from billing.models import Hold
from conversations import calls
from conversations.metering import meter_message
from conversations.models import Message
from conversations.outcomes import Outcome
from conversations.settling import apply, replay_spool
from llm.types import Usage
from synapscale.common.db import retry_transaction
from synapscale.common.money import ZERO
from synapscale.common.tenancy import fleet_wide

logger = logging.getLogger(__name__)
_BATCH = 100
_GRACE_SECONDS = 30
"""What servers are given beyond a lease to find the database again."""


@dataclass(slots=True)
class SweepReport:
    """What one sweep did."""

    replayed: int = 0
    """Outcomes found in the spool."""
    interrupted: int = 0
    """Calls charged for what had been checkpointed."""
    lost: int = 0
    """Calls of which nothing had arrived: released."""
    metered: int = 0
    """Answers that were final already, saved around the signal, and only had to be metered."""

    def __str__(self) -> str:
        text = f"{self.replayed} replayed, {self.interrupted} interrupted, {self.lost} lost"
        return f"{text}, {self.metered} metered" if self.metered else text


def sweep(*, ignores_leases: bool = False) -> SweepReport:
    """Finish every call that nobody runs any more (or every open one, when no server is running).

    Answers that lie complete in the spool are settled first. Goes workspace by workspace, one short transaction a call.
    """
    report = SweepReport(replayed=replay_spool())
    is_due = Q(state=Hold.State.HELD) if ignores_leases else _abandoned()
    for workspace_id in _workspaces_with_work(is_due):
        due = Hold.objects.filter(is_due, workspace_id=workspace_id).order_by("id")
        batch = list(due[:_BATCH])
        while batch:
            for hold in batch:
                _finish(hold, report, is_due)
            # Past this batch, whatever became of it: calls that can't be finished must not stand before the others.
            batch = list(due.filter(pk__gt=batch[-1].pk)[:_BATCH])
    return report


def _abandoned() -> Q:
    try:
        return holds.abandoned(running=calls.running_holds(), judges_others=_has_been_there_for_long())
    except (OperationalError, InterfaceError):
        _OUTAGE.last_seen = time.monotonic()
        raise


@dataclass(slots=True)
class _Outage:
    last_seen: float = -math.inf
    """When this process last found the database away, on the monotonic clock."""


_OUTAGE = _Outage()


def _has_been_there_for_long() -> bool:
    """Whether the database has been there for as long as servers need to renew the leases of their calls.

    After an outage all of them have run out, and whoever sweeps first would end the others' calls.
    """
    long = settings.HOLD_LEASE_SECONDS + _GRACE_SECONDS
    return time.monotonic() - _OUTAGE.last_seen >= long and _database_age() >= long


def _database_age() -> float:
    """For how many seconds the database has been running. SQLite runs in the process itself, and is never away."""
    if connection.vendor != "postgresql":
        return math.inf
    with connection.cursor() as cursor:
        cursor.execute("SELECT extract(epoch FROM clock_timestamp() - pg_postmaster_start_time())")
        return float(cursor.fetchone()[0])


def _workspaces_with_work(is_due: Q) -> list[uuid.UUID]:
    with fleet_wide():
        rows = Hold.objects.filter(is_due).order_by("workspace_id")
        return list(rows.values_list("workspace_id", flat=True).distinct())


def _finish(hold: Hold, report: SweepReport, is_due: Q) -> None:
    try:
        status = retry_transaction(_finish_one, hold, is_due)
    except holds.HoldGone:
        return  # its own process, or another sweep, was faster
    except Exception:  # one bad call must not keep the others held
        logger.exception("hold %s could not be finished, will try again", hold.pk)
        return
    if status is None:
        return
    setattr(report, status, getattr(report, status) + 1)
    logger.warning("the call of hold %s was left alone: %s", hold.pk, status)


def _finish_one(hold: Hold, is_due: Q) -> str | None:
    """Finish the call of ``hold``: as what the report counts it, or None when it is not due any more."""
    with transaction.atomic():
        # The message first: the order of locks is the same as in settling.
        message = (
            Message.objects.select_for_update(of=("self",)).filter(workspace_id=hold.workspace_id, hold=hold).first()
        )
        if not Hold.objects.filter(is_due, workspace_id=hold.workspace_id, pk=hold.pk).exists():
            return None  # renewed or resolved meanwhile
        if message is None:
            holds.resolve(hold=hold, state=Hold.State.EXPIRED, charged=ZERO)
            spending.settle(hold, charged=ZERO, at=timezone.now())
            holds.give_back(hold=hold)
            return "lost"
        if message.is_final:
            meter_message(message)
            return "metered"
        return _save_as_swept(message)


def _save_as_swept(message: Message) -> str:
    checkpoint = message.call.get("checkpoint", {})
    seen = checkpoint.get("seen_usage")
    written = checkpoint.get("written_bytes", len(message.content.encode()))
    thought = checkpoint.get("thought_bytes", 0)
    has_text = written > 0 or thought > 0
    outcome = Outcome(
        status=Message.Status.INTERRUPTED if has_text else Message.Status.ERROR,
        content=message.content,
        written_bytes=written,
        thought_bytes=thought,
        seen_usage=Usage(**seen) if seen else None,
        error_code="interrupted" if has_text else "lost",
        error_message=gettext_noop("The server stopped while this answer was being written.")
        if has_text
        else gettext_noop("The server stopped before any of the answer had arrived."),
        latency_ms=checkpoint.get("latency_ms"),
        time_to_first_token_ms=checkpoint.get("time_to_first_token_ms"),
        http_status=503,
        is_lost=not has_text,
        is_swept=True,
    )
    apply(message, outcome)
    return "interrupted" if has_text else "lost"
