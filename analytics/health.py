"""How the whole system does: one status for each of its parts, and since when it is so.

Statuses are kept in ``health_states``: a restart, or another process that looks, does not begin the time anew.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.core.handlers.base import BaseHandler
from django.db import connection
from django.http import HttpRequest
from django.utils import timezone

from analytics import query, rollups
from analytics.measures import Figures, ratio, shown
from analytics.models import HealthState
from analytics.query import Wanted
from billing.models import Hold
from conversations.models import Message
from llm.circuits import CIRCUITS
from llm.models import LLM, LLMPrice
from synapscale.common.models import PeriodicJob
from synapscale.common.tenancy import fleet_wide

OK, DEGRADED, DOWN = HealthState.Status.OK, HealthState.Status.DEGRADED, HealthState.Status.DOWN
MINUTES = 5
FAILING_SHARE = 0.5
LEAST_CALLS = 5
"""Fewer calls than this say nothing about a provider."""
SLOW_MS = 5_000
BUSY_SHARE = 0.8
"""Of the connections that the database allows."""
LATE = timedelta(minutes=5)
"""Work that is due has waited for too long."""
_GRACE = timedelta(minutes=2)
"""Beyond a lease, until the sweeper has seen to it."""
_ADDRESSES = (
    ("/healthz", 200),
    ("/readyz", 200),
    ("/api/v1/me", 401),
    ("/api/v1/conversations", 401),
    ("/v1/models", 401),
)
"""What a stranger gets there, from a server that responds."""


@dataclass(frozen=True, slots=True)
class Found:
    """How one part does. ``value`` is for operators; figures, no content."""

    status: str
    value: Any
    detail: str


@dataclass(frozen=True, slots=True)
class _Lately:
    """What several checks look at: the last minutes of calls, by model."""

    figures: dict[Any, Figures]
    llms: list[LLM]

    def of(self, provider: str) -> Figures:
        total = Figures()
        for llm in self.llms:
            if llm.provider == provider:
                total += self.figures.get(llm.pk, Figures())
        return total

    def total(self) -> Figures:
        return sum(self.figures.values(), start=Figures())


def _lately() -> _Lately:
    end = timezone.now()
    answer = query.figures(Wanted(None), edges=[end - timedelta(minutes=MINUTES), end], by=("llm",))
    active = LLM.objects.active().select_related("connection")
    return _Lately({key[0]: figures for (_, key), figures in answer.figures.items()}, list(active))


def _providers(lately: _Lately) -> Found:
    names = sorted({llm.provider for llm in lately.llms})
    failing = [name for name in names if CIRCUITS.state(name) == "open" or is_failing(lately.of(name))]
    active = len(names) - len(failing)
    status = OK if not failing and names else DEGRADED if active else DOWN
    detail = f"Failing: {', '.join(failing)}." if failing else "All answer, as far as they were asked."
    return Found(status, {"active": active, "total": len(names), "failing": failing}, detail)


def is_failing(figures: Figures) -> bool:
    """Whether most of a provider's calls fail; of a few calls nothing is said."""
    return figures.calls >= LEAST_CALLS and figures.failed >= figures.calls * FAILING_SHARE


def _models(lately: _Lately) -> Found:
    callable_ = [llm for llm in lately.llms if llm.connection is None or llm.connection.is_active]
    priced = set(LLMPrice.objects.valid_at(timezone.now()).values_list("llm_id", flat=True))
    available = sum(llm.pk in priced for llm in callable_)
    unpriced = len(callable_) - available
    status = DOWN if not available else DEGRADED if unpriced else OK
    detail = (
        f"{unpriced} active models have no price, and are not called."
        if unpriced
        else "All active models have a price."
    )
    return Found(status, {"available": available, "active": len(lately.llms)}, detail)


def _connections(lately: _Lately) -> Found:
    if connection.vendor != "postgresql":
        return Found(OK, {"used": 1, "most": None}, "SQLite: a connection for each thread.")
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT (SELECT COUNT(*) FROM pg_stat_activity WHERE backend_type = 'client backend'), "
            "current_setting('max_connections')::int"
        )
        used, most = cursor.fetchone()
    status = OK if used < most * BUSY_SHARE else DEGRADED
    return Found(status, {"used": used, "most": most}, f"{used} of {most} connections are in use.")


class _OwnRequest(HttpRequest):
    """A request of the server's to itself."""

    is_our_own = True

    def _get_scheme(self) -> str:
        return "https" if settings.HTTPS else "http"


def _is_worth_a_line(record: logging.LogRecord) -> bool:
    """That a stranger is refused is what a look at our own addresses expects; only what breaks is logged."""
    return record.levelno >= logging.ERROR or not isinstance(getattr(record, "request", None), _OwnRequest)


logging.getLogger("django.request").addFilter(_is_worth_a_line)


def _endpoints(lately: _Lately) -> Found:
    """Asks some of our own addresses, within this process."""
    handler, wrong, slowest = BaseHandler(), list[str](), 0.0
    handler.load_middleware()
    for path, expected in _ADDRESSES:
        request = _OwnRequest()
        request.method, request.path, request.path_info = "GET", path, path
        request.META = {"SERVER_NAME": _host(), "SERVER_PORT": "443", "HTTP_HOST": _host(), "REMOTE_ADDR": "127.0.0.1"}
        start = time.perf_counter()
        response = handler.get_response(request)
        slowest = max(slowest, time.perf_counter() - start)
        if response.status_code != expected:
            wrong.append(path)
    total = len(_ADDRESSES)
    status = OK if not wrong else DEGRADED if len(wrong) < total else DOWN
    value = {"responsive": total - len(wrong), "total": total, "slowest_ms": round(slowest * 1000)}
    return Found(status, value, f"Not as they should: {', '.join(wrong)}." if wrong else "All asked responded.")


def _host() -> str:
    named = [host for host in settings.ALLOWED_HOSTS if host != "*"]
    return named[0].removeprefix(".") if named else "localhost"


def _response_time(lately: _Lately) -> Found:
    total = lately.total()
    mean = ratio(total.latency_ms, total.timed_calls, places=1)
    status = OK if mean is None or mean <= SLOW_MS else DEGRADED
    detail = "No answer came in the last minutes." if mean is None else f"Of {total.timed_calls} answers."
    return Found(status, {"average_ms": shown(total)["average_latency_ms"], "minutes": MINUTES}, detail)


def _queue(lately: _Lately) -> Found:
    now = timezone.now()
    waiting, oldest = rollups.lag()
    with fleet_wide():
        overdue = Message.objects.filter(autotag_due_at__lt=now - LATE).count()
    is_late = overdue > 0 or (oldest is not None and now - oldest > LATE)
    value = {"calls_not_summed": waiting, "oldest_at": _iso(oldest), "tags_overdue": overdue}
    return Found(
        DEGRADED if is_late else OK, value, "Work waits for too long." if is_late else "Work is done as it comes."
    )


def _sweep(lately: _Lately) -> Found:
    with fleet_wide():
        late = Hold.objects.filter(state=Hold.State.HELD, lease_until__lt=timezone.now() - _GRACE).count()
    job = PeriodicJob.objects.filter(name="sweep").first()
    last = job.succeeded_at if job else None
    value = {"holds_past_lease": late, "last_success_at": _iso(last)}
    return Found(
        DEGRADED if late else OK, value, f"{late} holds wait to be finished." if late else "No call is left alone."
    )


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


CHECKS: dict[str, Callable[[_Lately], Found]] = {
    "llm_providers_active": _providers,
    "total_models_available": _models,
    "database_connections": _connections,
    "api_endpoints_responsive": _endpoints,
    "average_response_time": _response_time,
    "queue": _queue,
    "sweep": _sweep,
}


def look() -> dict[str, tuple[Found, datetime]]:
    """How each part does, and since when it has the status that it has. About twenty queries."""
    lately, now = _lately(), timezone.now()
    found = {name: check(lately) for name, check in CHECKS.items()}
    known = HealthState.objects.in_bulk()
    changed = [
        HealthState(name=name, status=one.status, since=now)
        for name, one in found.items()
        if name not in known or known[name].status != one.status
    ]
    HealthState.objects.bulk_create(
        changed, update_conflicts=True, unique_fields=["name"], update_fields=["status", "since"]
    )
    since = {name: state.since for name, state in known.items()} | {state.name: state.since for state in changed}
    return {name: (one, since[name]) for name, one in found.items()}


def as_json(*, with_values: bool) -> dict[str, Any]:
    """What the API says; figures only for operators."""
    found = look()
    parts = {
        name: {
            "status": one.status,
            "since": since.isoformat(),
            **({"value": one.value, "detail": one.detail} if with_values else {}),
        }
        for name, (one, since) in found.items()
    }
    statuses = {name: one.status for name, (one, _) in found.items()}
    # Without models nothing can be asked; whatever else fails leaves something that works.
    needed = {statuses["llm_providers_active"], statuses["total_models_available"]}
    whole = DOWN if DOWN in needed else OK if set(statuses.values()) == {OK} else DEGRADED
    return {"at": timezone.now().isoformat(), "status": whole, "checks": parts}
