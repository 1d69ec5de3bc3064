"""``/metrics``: what ``common.metrics`` counted, and what is read from the database at the moment of asking."""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import logging
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import DatabaseError, InterfaceError
from django.db.models import Count, Sum
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_safe
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from billing.models import Hold
from llm.circuits import CIRCUITS
from llm.providers import PROVIDERS
from synapscale.common import metrics, periodic
from synapscale.common.api_errors import error_body
from synapscale.common.db import submit_probe
from synapscale.common.models import PeriodicJob
from synapscale.common.tenancy import fleet_wide

logger = logging.getLogger(__name__)
TIME_LIMIT_SECONDS = 3.0
_FORWARDED = ("X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-IP", "Forwarded", "Via")


@dataclass(frozen=True, slots=True)
class Stored:
    """What only the database knows."""

    open_holds: int
    held_usd: float
    jobs: list[PeriodicJob] = field(default_factory=list)


def _read() -> Stored:
    with fleet_wide():
        held = Hold.objects.filter(state=Hold.State.HELD).aggregate(n=Count("pk"), amount=Sum("amount"))
    known = [job.name for job in periodic.jobs()]
    jobs = list(PeriodicJob.objects.filter(name__in=known).order_by("name"))
    return Stored(open_holds=held["n"], held_usd=float(held["amount"] or 0), jobs=jobs)


class _StoredCollector:
    """As samples; without a database only that there is none."""

    def __init__(self, stored: Stored | None) -> None:
        self._stored = stored

    def collect(self) -> Iterable[Metric]:
        stored = self._stored
        yield GaugeMetricFamily("synapscale_database_up", "Whether the database answered.", value=int(bool(stored)))
        if stored is None:
            return
        yield GaugeMetricFamily("synapscale_open_holds", "Open reservations.", value=stored.open_holds)
        yield GaugeMetricFamily("synapscale_held_usd", "Money reserved.", value=stored.held_usd)
        last = GaugeMetricFamily(
            "synapscale_periodic_job_last_success_timestamp_seconds", "When a job last succeeded.", labels=["job"]
        )
        runs = CounterMetricFamily("synapscale_periodic_job_runs", "Runs of a job.", labels=["job"])
        failures = CounterMetricFamily("synapscale_periodic_job_failures", "Failed runs.", labels=["job"])
        for job in stored.jobs:
            if job.succeeded_at is not None:
                last.add_metric([job.name], job.succeeded_at.timestamp())
            runs.add_metric([job.name], job.runs)
            failures.add_metric([job.name], job.failures)
        yield from (last, runs, failures)


@require_safe
async def scrape(request: HttpRequest) -> HttpResponse:
    if refused := _refusal(request):
        return refused
    stored: Stored | None = None
    try:
        stored = await asyncio.wait_for(asyncio.wrap_future(submit_probe(_read)), TIME_LIMIT_SECONDS)
    except (TimeoutError, DatabaseError, InterfaceError) as error:  # the rest is told all the same
        logger.warning("metrics are told without what is stored: %s", type(error).__name__)
    encode, content_type = choose_encoder(request.headers.get("Accept", ""))
    return HttpResponse(encode(_registry(stored)), content_type=content_type, headers={"Cache-Control": "no-store"})


def _registry(stored: Stored | None) -> Any:
    for provider in PROVIDERS:
        metrics.CIRCUIT_STATE.labels(provider).set(metrics.CIRCUIT_STATES[CIRCUITS.state(provider)])
    registry = CollectorRegistry()
    registry.register(_StoredCollector(stored))
    if folder := os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        _forget_dead(Path(folder))
        MultiProcessCollector(registry, path=folder)
    else:
        registry.register(metrics.REGISTRY)
    return registry


def _forget_dead(folder: Path) -> None:
    """A process that was killed has no calls under way any more."""
    for pid in {path.stem.rpartition("_")[2] for path in folder.glob("gauge_live*_*.db")}:
        try:
            os.kill(int(pid), 0)
        except ProcessLookupError:
            mark_process_dead(int(pid), path=str(folder))
        except (OSError, ValueError):
            continue


def _refusal(request: HttpRequest) -> HttpResponse | None:
    """With METRICS_TOKEN that token is asked for; without one, only this machine may ask, and not through a proxy."""
    if settings.METRICS_TOKEN:
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), settings.METRICS_TOKEN.encode()):
            return None
        body = error_body("not_authenticated", "The bearer token of METRICS_TOKEN is asked for.", request=request)
        return JsonResponse(body, status=401, headers={"WWW-Authenticate": 'Bearer realm="metrics"'})
    if _is_loopback(request.META.get("REMOTE_ADDR", "")) and not any(name in request.headers for name in _FORWARDED):
        return None
    message = "Without METRICS_TOKEN, metrics are told to this machine alone."
    return JsonResponse(error_body("permission_denied", message, request=request), status=403)


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False
