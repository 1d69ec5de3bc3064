"""``/healthz`` and ``/readyz``: for load balancers and Kubernetes, which call without a token and by IP address.

What strangers are told is whether, not how much: figures go to the log.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import timedelta
from functools import cache
from typing import Any

from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder
from django.db.models import DateTimeField, ExpressionWrapper
from django.db.models.functions import Now
from django.http import HttpRequest, JsonResponse
from django.views.decorators.http import require_safe

from billing.models import Hold
from synapscale.common.db import submit_probe
from synapscale.common.models import PeriodicJob
from synapscale.common.tenancy import fleet_wide
from workspaces import crypto, sealed

logger = logging.getLogger(__name__)
TIME_LIMIT_SECONDS = 3.0
_KEPT_SECONDS = 1.0
"""How long an answer serves again: whoever calls a thousand times a second costs one look."""
_SECRETS_TRIED = 3
SWEEP_GRACE = timedelta(minutes=20)
"""Beyond a lease. A process that hangs is given a quarter of an hour by the sweeper itself."""
_LONGEST_WITHOUT_SWEEP = timedelta(minutes=10)


class NotReady(Exception):
    """What a check found, in words for anybody; ``figures`` are for the log."""

    def __init__(self, detail: str, figures: str = "") -> None:
        super().__init__(detail)
        self.figures = figures


@dataclass(frozen=True, slots=True)
class Check:
    name: str
    status: str
    """``ok``, ``failed``, or ``skipped`` where an earlier one makes it pointless."""
    detail: str


def _database() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    return "The database answers."


def _migrations() -> str:
    missing = _known_migrations() - MigrationRecorder(connection).applied_migrations().keys()
    if missing:
        names = ", ".join(f"{app}.{name}" for app, name in sorted(missing))
        raise NotReady("A migration is not applied.", names)
    return "All migrations are applied."


@cache
def _known_migrations() -> frozenset[tuple[str, str]]:
    """Of the code that this process runs."""
    return frozenset(MigrationLoader(None).disk_migrations)


def _keys() -> str:
    """A few secrets of each table and key: a wrong key opens none of them, and one that is missing is found. A single row
    that is spoilt is its owner's trouble, and no reason to serve nobody.
    """
    ids = [entry.partition(":")[0] for entry in settings.MASTER_KEYS]
    _, probe = crypto.encrypt("probe", bound_to="readyz")
    crypto.decrypt(probe, key_id=crypto.current_key_id(), bound_to="readyz")
    for table in sealed.tables():
        rows = table.rows.filter(ciphertext__isnull=False)
        if rows.exclude(key_id__in=ids).exists():
            raise NotReady("A stored secret needs a master key that is not configured.", table.name)
        for key_id in ids:
            some = list(rows.filter(key_id=key_id)[:_SECRETS_TRIED])
            if some and not any(_opens(table, row) for row in some):
                raise NotReady("Stored secrets can't be decrypted.", f"{table.name}, key {key_id}")
    return "The master keys open what is stored."


def _opens(table: sealed.SealedTable, row: Any) -> bool:
    try:
        crypto.decrypt(bytes(row.ciphertext), key_id=row.key_id, bound_to=table.bound_to(row))
    except crypto.CannotDecrypt:
        return False
    return True


def _sweep() -> str:
    with fleet_wide():
        late = Hold.objects.filter(state=Hold.State.HELD, lease_until__lt=_ago(SWEEP_GRACE)).count()
    if late:
        raise NotReady("Open holds are long past their lease.", f"{late} holds")
    if settings.SWEEP_SECONDS:  # else another program sweeps, and is judged by what it leaves
        longest = max(_LONGEST_WITHOUT_SWEEP, timedelta(seconds=10 * settings.SWEEP_SECONDS))
        if PeriodicJob.objects.filter(name="sweep", succeeded_at__lt=_ago(longest)).exists():
            raise NotReady("The sweep has not succeeded lately.")
    return "No call is left alone."


CHECKS: dict[str, Callable[[], str]] = {
    "database": _database,
    "migrations": _migrations,
    "keys": _keys,
    "sweep": _sweep,
}


def _ago(span: timedelta) -> Any:
    return ExpressionWrapper(Now() - span, output_field=DateTimeField())


def look() -> list[Check]:
    """Every check, blocking. Without a database the others are skipped."""
    found: list[Check] = []
    is_there = True
    for name, check in CHECKS.items():
        if not is_there:
            found.append(Check(name, "skipped", "The database does not answer."))
            continue
        try:
            found.append(Check(name, "ok", check()))
        except NotReady as error:
            logger.warning("not ready: %s: %s %s", name, error, error.figures)
            found.append(Check(name, "failed", str(error)))
        except (DatabaseError, InterfaceError) as error:
            is_there = name != "database"
            logger.warning("not ready: %s: %s", name, type(error).__name__)
            found.append(
                Check(name, "failed", "The database does not answer." if not is_there else "It can't be read.")
            )
        except Exception:
            logger.exception("not ready: %s", name)
            found.append(Check(name, "failed", "The check broke."))
    return found


class _Looks:
    """One look at a time, and its answer kept for a moment."""

    def __init__(self) -> None:
        self.future: Future[list[Check]] | None = None
        self.begun = 0.0

    def current(self) -> Future[list[Check]]:
        now = time.monotonic()
        if self.future is None or (self.future.done() and now - self.begun > _KEPT_SECONDS):
            self.future, self.begun = submit_probe(look), now
        return self.future

    def forget(self) -> None:
        self.future = None


LOOKS = _Looks()


@require_safe
async def healthz(request: HttpRequest) -> JsonResponse:
    """The process is alive and its event loop turns. Nothing else is looked at: a restart would mend nothing else."""
    return _said({"status": "ok"})


@require_safe
async def readyz(request: HttpRequest) -> JsonResponse:
    """Whether to send requests here; ``?exclude=sweep`` leaves a check out of the verdict."""
    excluded = request.GET.getlist("exclude")
    checks: list[Check] = []
    with suppress(TimeoutError):
        checks = await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(LOOKS.current())), TIME_LIMIT_SECONDS)
    if not checks:
        checks = [Check("database", "failed", f"There was no answer within {TIME_LIMIT_SECONDS:g} s.")]
    is_ready = all(check.status == "ok" for check in checks if check.name not in excluded)
    body = {"status": "ready" if is_ready else "not_ready", "checks": [asdict(check) for check in checks]}
    return _said(body, status=200 if is_ready else 503)


def _said(body: dict[str, Any], *, status: int = 200) -> JsonResponse:
    return JsonResponse(body, status=status, headers={"Cache-Control": "no-store"})
