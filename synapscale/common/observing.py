"""The middleware that measures and traces requests."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from asgiref.sync import iscoroutinefunction
from django.http import HttpRequest, HttpResponseBase
from django.utils.decorators import sync_and_async_middleware

from synapscale.common import metrics, tracing
from synapscale.common.middleware import PROBE_PATHS


@sync_and_async_middleware
def ObservingMiddleware(get_response: Callable[[HttpRequest], Any]) -> Callable[[HttpRequest], Any]:  # noqa: N802
    """Counts and times every request by its route, never by its address. A stream counts until it begins. What the server
    asks of itself (``request.is_our_own``) is no traffic.
    """
    if iscoroutinefunction(get_response):

        async def amiddleware(request: HttpRequest) -> HttpResponseBase:
            observed = _Observed(request)
            response: HttpResponseBase = await get_response(request)
            observed.end(response)
            return response

        return amiddleware

    def middleware(request: HttpRequest) -> HttpResponseBase:
        if getattr(request, "is_our_own", False):
            own: HttpResponseBase = get_response(request)
            return own
        observed = _Observed(request)
        response: HttpResponseBase = get_response(request)
        observed.end(response)
        return response

    return middleware


def route_of(request: HttpRequest) -> str:
    """The pattern of the URL configuration that matched; "" where none did."""
    match = request.resolver_match
    return match.route if match else ""


class _Observed:
    """One request, from when it came until its response begins. Probes are counted, but not traced."""

    def __init__(self, request: HttpRequest) -> None:
        self._request = request
        self._started = time.perf_counter()
        self._method = metrics.bounded(request.method or "", metrics.METHODS)
        self._span, self._token = tracing.OFF, None
        if request.path not in PROBE_PATHS:
            self._span, self._token = tracing.start_request(
                request.headers, method=self._method, request_id=getattr(request, "request_id", "")
            )

    def end(self, response: HttpResponseBase) -> None:
        route, status = metrics.template(route_of(self._request)), response.status_code
        seconds = time.perf_counter() - self._started
        metrics.answered(route=route, method=self._method, status=status, seconds=seconds)
        tracing.end_request(self._span, self._token, method=self._method, route=route, status=status)
