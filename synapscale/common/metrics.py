"""What is counted for Prometheus; ``/metrics`` tells it (``synapscale/scrape.py``).

Each metric is counted by one line at the place where it happens. Labels are bounded: never a user, a workspace or free text,
and what is not known in advance is ``other`` (``bounded``). Money is a float here and nowhere else: it is for graphs, and
the ledger has the digits.

With ``PROMETHEUS_MULTIPROC_DIR`` set the values lie in files there, so that one process can tell those of all.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from functools import lru_cache
from typing import Any

if _folder := os.environ.get("PROMETHEUS_MULTIPROC_DIR"):  # the library reads it when it is imported
    os.makedirs(_folder, exist_ok=True)

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

OTHER = "other"
MAX_MODELS = 200
"""So many models have a label of their own, in each process; more are ``other``."""
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
CIRCUIT_STATES = {"closed": 0, "half_open": 1, "open": 2}
_CODE = re.compile(r"[a-z0-9_]{1,60}")
_FAST = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
_SLOW = (0.05, 0.1, 0.25, 0.5, 1, 2, 3, 5, 7.5, 10, 15, 20, 30, 60, 120, 300, 600)

REGISTRY = CollectorRegistry()


def _counter(name: str, text: str, *labels: str) -> Counter:
    return Counter(f"synapscale_{name}", text, labels, registry=REGISTRY)


def _histogram(name: str, text: str, *labels: str, buckets: tuple[float, ...]) -> Histogram:
    return Histogram(f"synapscale_{name}", text, labels, registry=REGISTRY, buckets=buckets)


HTTP_REQUESTS = _counter("http_requests", "Requests answered.", "route", "method", "status")
HTTP_SECONDS = _histogram(
    "http_request_duration_seconds", "Until the response begins.", "route", "method", buckets=_FAST
)
PROVIDER_CALLS = _counter("provider_calls", "Calls of models that ended.", "provider", "model", "status")
PROVIDER_ERRORS = _counter("provider_errors", "Calls of models that failed.", "provider", "code")
CALL_SECONDS = _histogram(
    "provider_call_duration_seconds", "From the call to the end of the answer.", "provider", "model", buckets=_SLOW
)
FIRST_TOKEN_SECONDS = _histogram(
    "time_to_first_token_seconds", "From the call to the first piece.", "provider", "model", buckets=_SLOW
)
TOKENS = _counter("tokens", "Tokens metered.", "provider", "model", "class")
COST = _counter("cost_usd", "What providers cost.", "provider", "model")
CHARGED = _counter("charged_usd", "What wallets paid.", "provider", "model")
HOLDS_OPENED = _counter("holds_opened", "Reservations made.")
HOLDS_RESOLVED = _counter("holds_resolved", "Reservations resolved: settled, released or expired.", "state")
REFUSALS = _counter("refusals", "Requests refused.", "code")
CALLS_IN_FLIGHT = Gauge(
    "synapscale_calls_in_flight", "Calls under way.", registry=REGISTRY, multiprocess_mode="livesum"
)
CIRCUIT_STATE = Gauge(
    "synapscale_circuit_state",
    "0 closed, 1 half open, 2 open; of several processes the worst.",
    ("provider",),
    registry=REGISTRY,
    multiprocess_mode="livemax",
)

_models: dict[str, set[str]] = {}


def bounded(value: str, known: Collection[str]) -> str:
    return value if value in known else OTHER


def code(value: str) -> str:
    """An error's code as a label. Codes are words of our own source; anything else is ``other``."""
    return value if _CODE.fullmatch(value) else OTHER


def provider_and_model(model: str) -> tuple[str, str]:
    """The labels of “provider/name”. Names are of the catalogue, which operators keep; there may be many all the same."""
    provider, separator, name = model.partition("/")
    if not separator:
        return OTHER, OTHER
    if sum(map(len, _models.values())) >= MAX_MODELS and name not in _models.get(provider, ()):
        return (provider if provider in _models else OTHER), OTHER
    _models.setdefault(provider, set()).add(name)
    return provider, name


@lru_cache(maxsize=1000)
def template(route: str) -> str:
    """A route of the URL configuration as ``/api/v1/conversations/{pk}``; ``other`` where no route matched."""
    if not route:
        return OTHER
    named = re.sub(r"\(\?P<(\w+)>(?:\[[^]]*\]|\\.|[^()\\])*\)", r"{\1}", route)
    named = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", named)
    named = re.sub(r"/\?|[\^$]|\\Z|\\(?=[./-])", lambda found: "/" if found[0] == "/?" else "", named)
    return "/" + named.strip("/")


def answered(*, route: str, method: str, status: int, seconds: float) -> None:
    """A request was answered. ``route`` is a ``template``, ``method`` one of METHODS or ``other``."""
    HTTP_REQUESTS.labels(route, method, f"{status // 100}xx").inc()
    HTTP_SECONDS.labels(route, method).observe(seconds)


def metered(
    *,
    model: str,
    status: str,
    error_code: str,
    latency_ms: int | None,
    time_to_first_token_ms: int | None,
    tokens: dict[str, int],
    cost: Any,
    charged: Any,
) -> None:
    """A call of a model was metered. ``cost`` and ``charged`` are in USD."""
    provider, name = provider_and_model(model)
    PROVIDER_CALLS.labels(provider, name, status).inc()
    if error_code:
        PROVIDER_ERRORS.labels(provider, code(error_code)).inc()
    if latency_ms is not None:
        CALL_SECONDS.labels(provider, name).observe(latency_ms / 1000)
    if time_to_first_token_ms is not None:
        FIRST_TOKEN_SECONDS.labels(provider, name).observe(time_to_first_token_ms / 1000)
    for kind, count in tokens.items():
        if count:
            TOKENS.labels(provider, name, kind).inc(count)
    COST.labels(provider, name).inc(float(cost))
    CHARGED.labels(provider, name).inc(float(charged))
