"""Views whose actions may end in a coroutine, and routes with or without a trailing slash."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from asgiref.sync import markcoroutinefunction
from django.core.exceptions import RequestDataTooBig
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest
from rest_framework.request import Request
from rest_framework.routers import SimpleRouter

from synapscale.common.db import in_db
from synapscale.common.errors import Refusal


def require_asgi(request: Request) -> None:
    """Raises a Refusal under WSGI (``runserver``, gunicorn's own workers): its event loop ends with the request, and a
    call of a model that outlives its client would end with it.
    """
    if not isinstance(request._request, ASGIRequest):
        raise Refusal(
            "Models are called by the ASGI server alone: serve synapscale.asgi.", code="needs_asgi", status=503
        )


class AsyncActionsMixin:
    """Lets a DRF viewset's action end in a coroutine.

    Everything DRF does before an action (authentication, permissions, throttles, parsing) is blocking, and so is the
    action itself: all of it runs in one hop to a database thread. What the action returns is the response, or a
    coroutine that makes it; that one is awaited with no thread and no connection held.

    A client that goes away does not cancel any of it: money may be reserved already, so it runs to its end.
    """

    @classmethod
    def as_view(cls, *args: Any, **kwargs: Any) -> Callable[..., Any]:
        return markcoroutinefunction(super().as_view(*args, **kwargs))  # type: ignore[misc]

    async def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        with suppress(RequestDataTooBig):  # raised again when it is parsed, and answered there
            _ = request.body  # now: Django closes the file that it lies in when the client goes away
        work = asyncio.create_task(self._dispatch(request, *args, **kwargs))
        _unfinished.add(work)
        work.add_done_callback(_unfinished.discard)
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            self.client_gone()
            raise

    def client_gone(self) -> None:
        """The client has gone away before its response began; the work goes on."""

    async def _dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        view: Any = self
        view.args, view.kwargs = args, kwargs

        def blocking() -> tuple[Request, Any]:
            drf_request = view.initialize_request(request, *args, **kwargs)
            view.request, view.headers = drf_request, view.default_response_headers
            try:
                view.initial(drf_request, *args, **kwargs)
                name = (request.method or "").lower()
                handler = getattr(view, name, None) if name in view.http_method_names else None
                return drf_request, (handler or view.http_method_not_allowed)(drf_request, *args, **kwargs)
            except Exception as error:
                return drf_request, view.handle_exception(error)

        drf_request, outcome = await in_db(blocking)
        if asyncio.iscoroutine(outcome):
            try:
                outcome = await outcome
            except Exception as error:
                outcome = view.handle_exception(error)
        view.response = view.finalize_response(drf_request, outcome, *args, **kwargs)
        return view.response


_unfinished: set[asyncio.Task[Any]] = set()
"""Requests being worked on; the loop itself keeps only weak references."""


class OptionalSlashRouter(SimpleRouter):
    """Routes that answer with and without a trailing slash: clients differ, and a redirect would lose a POST."""

    def __init__(self) -> None:
        super().__init__()
        self.trailing_slash = "/?"
