"""The HTTP client under every SDK: no proxies, no redirects, no compression, and a ceiling on what it takes in. For a
host that is not a vendor's, also a guard on what it connects to.

A provider, or whatever answers in its name, must not be able to exhaust memory: a response is cut off at 32 MB, one
line of an event stream at 4 MB (SDKs buffer up to the end of the line), an error body at 64 KB. Compressed bodies are
refused: we ask for ``identity``, and a small bomb would be unpacked before anybody could count it.
"""

from __future__ import annotations

import asyncio
import functools
import ssl
from collections.abc import AsyncIterator
from contextvars import ContextVar

import httpx2

from llm import hosts
from llm.providers.failures import ResponseTooLargeError

MAX_RESPONSE_BYTES = 32 * 1024 * 1024
MAX_LINE_BYTES = 4 * 1024 * 1024
MAX_ERROR_BYTES = 64 * 1024


@functools.cache
def tls() -> ssl.SSLContext:
    """One TLS context for all clients: reading the trust store takes tens of milliseconds."""
    return httpx2.create_ssl_context(trust_env=False)


class BoundedStream(httpx2.AsyncByteStream):
    """A response body that stops at a limit.

    ``is_error`` bodies end there quietly, so that the status still comes through; others raise
    ``ResponseTooLargeError``.
    """

    def __init__(self, inner: httpx2.AsyncByteStream, *, is_error: bool, is_event_stream: bool) -> None:
        self._inner = inner
        self._is_error = is_error
        self._is_event_stream = is_event_stream
        self._is_cut = False

    def cut(self) -> None:
        """End the body here, without reading on."""
        self._is_cut = True

    def _has_ended(self) -> bool:
        return self._is_cut

    async def __aiter__(self) -> AsyncIterator[bytes]:
        received = line = 0
        limit = MAX_ERROR_BYTES if self._is_error else MAX_RESPONSE_BYTES
        if self._has_ended():
            return
        async for chunk in self._inner:
            received += len(chunk)
            if received > limit:
                if self._is_error:
                    return
                raise ResponseTooLargeError
            if self._is_event_stream:
                end = chunk.rfind(b"\n")
                line = len(chunk) - end - 1 if end >= 0 else line + len(chunk)
                if line > MAX_LINE_BYTES:
                    raise ResponseTooLargeError
            yield chunk
            if self._has_ended():
                return

    async def aclose(self) -> None:
        await self._inner.aclose()


_bodies: ContextVar[list[BoundedStream] | None] = ContextVar("bodies", default=None)


def watch_bodies() -> list[BoundedStream]:
    """A list that the bodies of the responses to this task's next requests are added to."""
    bodies: list[BoundedStream] = []
    _bodies.set(bodies)
    return bodies


class BoundedTransport(httpx2.AsyncBaseTransport):
    """Puts the limits on every response and the connect timeout on every request, whatever the SDK above asked for.

    There is no read timeout here: the first token and the pauses between tokens are timed by the adapters, which can
    tell an event from a stray byte.
    """

    def __init__(self, *, connect_timeout: float, guard: str = "") -> None:
        self._guard = guard
        self._connect_timeout = connect_timeout
        self._timeouts = {"connect": connect_timeout, "pool": connect_timeout, "write": 60.0, "read": None}
        # Admission bounds how many calls run at once; a second, hidden limit here would only turn into timeouts.
        limits = httpx2.Limits(max_connections=None, max_keepalive_connections=50, keepalive_expiry=30)
        self._inner = httpx2.AsyncHTTPTransport(verify=tls(), trust_env=False, limits=limits)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        request.extensions = {**request.extensions, "timeout": self._timeouts}
        request.headers["accept-encoding"] = "identity"
        sent = await self._pinned(request) if self._guard else request
        response = await self._inner.handle_async_request(sent)
        is_error = response.status_code >= 300
        encoding = response.headers.get("content-encoding", "identity").strip().lower()
        if encoding not in ("", "identity"):
            if not is_error:
                await response.aclose()
                raise ResponseTooLargeError
            del response.headers["content-encoding"]  # read as it is, for the status is all we need
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        body = BoundedStream(
            response.stream,
            is_error=is_error,
            is_event_stream=response.headers.get("content-type", "").startswith("text/event-stream"),
        )
        bodies = _bodies.get()
        if bodies is not None:
            bodies.append(body)
        response.stream = body
        return response

    async def _pinned(self, request: httpx2.Request) -> httpx2.Request:
        """The same request to the address that its host has now, if that is allowed; host and TLS name stay the name.

        The name is not looked up again for the connection: a second answer could be another one.
        """
        host, is_plain = request.url.raw_host.decode("ascii"), request.url.scheme != "https"
        port = request.url.port or (80 if is_plain else 443)
        try:
            async with asyncio.timeout(self._connect_timeout):
                address = await hosts.resolve(host, port, guard=self._guard, is_plain=is_plain)
        except TimeoutError:
            raise httpx2.ConnectTimeout("The name of the host was not resolved in time.") from None
        except OSError:
            raise httpx2.ConnectError("The name of the host can't be resolved.") from None
        return httpx2.Request(
            request.method,
            request.url.copy_with(host=address),
            headers=request.headers,
            stream=request.stream,
            extensions={**request.extensions, "sni_hostname": host},
        )

    async def aclose(self) -> None:
        await self._inner.aclose()


def new_http_client(*, connect_timeout: float, guard: str = "") -> httpx2.AsyncClient:
    """A client for one SDK client: each has its own, so that cookies never travel from one key to another, nor a
    connection from one host's name to another's. ``guard``: see ``Credentials.guard``."""
    return httpx2.AsyncClient(
        transport=BoundedTransport(connect_timeout=connect_timeout, guard=guard),
        trust_env=False,
        follow_redirects=False,
        timeout=None,
    )
