"""SDK clients, kept open between calls.

A TLS handshake per message would cost more than many answers take to start. Clients belong to the event loop that
opened them and to one key, so that nothing one customer's calls leave behind (cookies, connections) is used for
another's.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    import httpx2

logger = logging.getLogger(__name__)

MAX_CLIENTS = 256
"""Per event loop. Each idle client costs a few kilobytes and its kept-alive connections."""
MAX_IDLE_SECONDS = 600.0
"""A client, and with it the decrypted key, is let go after this long without a call."""


@dataclass(frozen=True)
class PoolKey:
    provider: str
    api_key: str = field(repr=False)
    base_url: str
    connect_timeout: float
    guard: str = ""
    """What the client may connect to; see ``Credentials.guard``."""


@dataclass
class _Entry:
    client: Any
    http: httpx2.AsyncClient
    uses: int = 0
    used_at: float = 0.0


class ClientPool:
    """At most ``max_clients`` clients per event loop, the least recently used let go first, never one in use."""

    def __init__(self, *, max_clients: int = MAX_CLIENTS, max_idle: float = MAX_IDLE_SECONDS) -> None:
        self.max_clients = max_clients
        self.max_idle = max_idle
        self._loops: WeakKeyDictionary[asyncio.AbstractEventLoop, OrderedDict[PoolKey, _Entry]] = WeakKeyDictionary()
        # Loops live in different threads; the entries of one loop are only ever touched by that loop.
        self._lock = threading.Lock()

    def _entries(self) -> OrderedDict[PoolKey, _Entry]:
        loop = asyncio.get_running_loop()
        with self._lock:
            for closed in [other for other in self._loops if other.is_closed()]:
                del self._loops[closed]  # their connections can no longer be closed in an orderly way
            return self._loops.setdefault(loop, OrderedDict())

    @asynccontextmanager
    async def lease(self, key: PoolKey, build: Callable[[httpx2.AsyncClient], Any]) -> AsyncIterator[Any]:
        """The client for ``key``, built with ``build`` if there is none. It is not closed while the lease lasts."""
        from llm.providers.transport import new_http_client

        entries = self._entries()
        entry = entries.get(key)
        if entry is None:
            http = new_http_client(connect_timeout=key.connect_timeout, guard=key.guard)
            entry = entries[key] = _Entry(build(http), http)
        entries.move_to_end(key)
        entry.uses += 1
        try:
            await self._trim(entries)
            yield entry.client
        finally:
            entry.uses -= 1
            entry.used_at = time.monotonic()

    async def _trim(self, entries: OrderedDict[PoolKey, _Entry]) -> None:
        now = time.monotonic()
        excess = len(entries) - self.max_clients
        for key, entry in list(entries.items()):
            if entry.uses:
                continue
            if excess <= 0 and now - entry.used_at < self.max_idle:
                break  # the rest was used later still
            del entries[key]  # before the await: nobody may lease a client that is being closed
            excess -= 1
            await _close(entry)

    async def aclose(self, provider: str | None = None) -> None:
        """Close this loop's clients, all of them or one provider's, in use or not."""
        entries = self._entries()
        for key, entry in list(entries.items()):
            if provider in (None, key.provider):
                del entries[key]
                await _close(entry)

    def __len__(self) -> int:
        return sum(len(entries) for entries in self._loops.values())


async def _close(entry: _Entry) -> None:
    try:
        await entry.http.aclose()
    except Exception:  # a connection that does not close cleanly is gone all the same
        logger.debug("A provider connection did not close cleanly.")


POOL = ClientPool()
