"""Middleware: a request id on everything, only our own host names, and the browser's middleware where browsers go.

Django's session, CSRF, authentication and message middleware each cost an async request a hop to a thread. API requests
carry a token and need none of them, so they pass by.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any

from asgiref.sync import iscoroutinefunction
from csp import middleware as csp
from django.contrib.auth import middleware as auth
from django.contrib.messages import middleware as messages
from django.contrib.sessions import middleware as sessions
from django.core.exceptions import DisallowedHost
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.middleware import csrf, locale
from django.utils import translation
from django.utils.decorators import sync_and_async_middleware
from django.utils.deprecation import MiddlewareMixin

from synapscale.common import audit, logs
from synapscale.common.api_errors import API_PREFIXES, unknown_host
from synapscale.common.models import new_id
from synapscale.common.visible import visible_json, visible_page

PROBE_PATHS = frozenset({"/healthz", "/readyz", "/metrics"})
"""Called by machines of the operator's, by IP address too: whatever the Host header says, and without HTTPS."""
OFFICE_PATH = "/admin/"
DOCS_PATH = "/api/docs/"
"""A page for people among the addresses for programs."""
_CLIENT_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


def _request_id(request: HttpRequest) -> str:
    """The client's own ``X-Request-ID`` where it is a plain token, else a new one."""
    given = request.headers.get("X-Request-ID", "")
    return given if _CLIENT_REQUEST_ID.fullmatch(given) else new_id().hex


@sync_and_async_middleware
def RequestIDMiddleware(get_response: Callable[[HttpRequest], Any]) -> Callable[[HttpRequest], Any]:  # noqa: N802
    """Names every request, in the response's ``X-Request-ID``, in errors and in log lines; and forgets who acted in it."""
    if iscoroutinefunction(get_response):

        async def amiddleware(request: HttpRequest) -> HttpResponseBase:
            request.request_id = _request_id(request)  # type: ignore[attr-defined]
            logs.request_id.set(request.request_id)  # type: ignore[attr-defined]
            logs.begin_request()
            audit.begin(None)
            try:
                response = await get_response(request)
            finally:
                audit.begin(None)
            response["X-Request-ID"] = request.request_id  # type: ignore[attr-defined]
            return response

        return amiddleware

    def middleware(request: HttpRequest) -> HttpResponseBase:
        request.request_id = _request_id(request)  # type: ignore[attr-defined]
        token = logs.request_id.set(request.request_id)  # type: ignore[attr-defined]
        begun = logs.begin_request()
        try:
            response = get_response(request)
        finally:
            audit.begin(None)
            logs.end_request(begun)
            logs.request_id.reset(token)
        response["X-Request-ID"] = request.request_id  # type: ignore[attr-defined]
        return response

    return middleware


@sync_and_async_middleware
def HostMiddleware(get_response: Callable[[HttpRequest], Any]) -> Callable[[HttpRequest], Any]:  # noqa: N802
    """Refuses API requests to a host name that is none of ALLOWED_HOSTS.

    Django checks the name only where somebody asks for it, and while an API request is answered hardly anybody does.
    """

    def refusal(request: HttpRequest) -> HttpResponseBase | None:
        if request.path.startswith(API_PREFIXES):
            try:
                request.get_host()
            except DisallowedHost:
                return unknown_host(request)
        return None

    if iscoroutinefunction(get_response):

        async def amiddleware(request: HttpRequest) -> HttpResponseBase:
            refused = refusal(request)
            return await get_response(request) if refused is None else refused

        return amiddleware

    def middleware(request: HttpRequest) -> HttpResponseBase:
        refused = refusal(request)
        return get_response(request) if refused is None else refused

    return middleware


def _is_for_programs(request: HttpRequest) -> bool:
    if request.path.startswith(DOCS_PATH):
        return False
    return request.path.startswith(API_PREFIXES) or request.path in PROBE_PATHS


class _BrowsersOnly:
    """Lets API requests and probes pass by the middleware it is mixed into."""

    get_response: Callable[[HttpRequest], Any]

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        if _is_for_programs(request):
            return self.get_response(request)
        return super().__call__(request)  # type: ignore[misc]


class SessionMiddleware(_BrowsersOnly, sessions.SessionMiddleware):
    pass


class CsrfViewMiddleware(_BrowsersOnly, csrf.CsrfViewMiddleware):
    def process_view(self, request: HttpRequest, *args: Any) -> Any:
        if _is_for_programs(request):
            return None
        return super().process_view(request, *args)


class AuthenticationMiddleware(_BrowsersOnly, auth.AuthenticationMiddleware):
    pass


class AuditMiddleware(_BrowsersOnly, MiddlewareMixin):
    """Tells the audit log who is at work in the back office. Comes after authentication."""

    def process_request(self, request: HttpRequest) -> None:
        audit.begin(audit.Acting(request=request))


class MessageMiddleware(_BrowsersOnly, messages.MessageMiddleware):
    pass


class CSPMiddleware(_BrowsersOnly, csp.CSPMiddleware):
    """Sends the policy of ``CONTENT_SECURITY_POLICY``; templates find the nonce as ``request.csp_nonce``."""


class LocaleMiddleware(_BrowsersOnly, locale.LocaleMiddleware):
    """The language that somebody chose in the back office, or that their browser prefers."""

    def process_response(self, request: HttpRequest, response: Any) -> Any:
        response = super().process_response(request, response)
        # Or the thread's next request, if it is one of the API's, would be answered in this language.
        translation.deactivate()
        return response


class VisibleTextMiddleware(_BrowsersOnly, MiddlewareMixin):
    """Shows what people wrote with signs for what can't be seen (``common.visible``). Here, where no template can forget it."""

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        if not isinstance(response, HttpResponse) or not request.path.startswith(OFFICE_PATH):
            return response
        kind = response.headers.get("Content-Type", "").partition(";")[0]
        if kind == "text/html":
            text = response.text
            if (shown := visible_page(text)) is not text:
                response.content = shown.encode(response.charset)
        elif kind == "application/json" and b"\\u" in response.content:  # what is hidden is escaped there
            response.content = visible_json(response.text).encode()
        return response
