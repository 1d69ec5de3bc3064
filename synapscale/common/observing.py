"""The middleware that measures requests."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from asgiref.sync import iscoroutinefunction
from django.http import HttpRequest, HttpResponseBase
from django.utils.decorators import sync_and_async_middleware

from synapscale.common import metrics


@sync_and_async_middleware
def ObservingMiddleware(get_response: Callable[[HttpRequest], Any]) -> Callable[[HttpRequest], Any]:  # noqa: N802
    """Counts and times every request by its route, never by its address. A stream counts until it begins."""
    if iscoroutinefunction(get_response):

        async def amiddleware(request: HttpRequest) -> HttpResponseBase:
            started = time.perf_counter()
            response: HttpResponseBase = await get_response(request)
            _note(request, response, started)
            return response

        return amiddleware

    def middleware(request: HttpRequest) -> HttpResponseBase:
        started = time.perf_counter()
        response: HttpResponseBase = get_response(request)
        _note(request, response, started)
        return response

    return middleware


def route_of(request: HttpRequest) -> str:
    """The pattern of the URL configuration that matched; "" where none did."""
    match = request.resolver_match
    return match.route if match else ""


def _note(request: HttpRequest, response: HttpResponseBase, started: float) -> None:
    metrics.answered(
        route=route_of(request),
        method=request.method or "",
        status=response.status_code,
        seconds=time.perf_counter() - started,
    )
