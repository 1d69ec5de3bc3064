"""One client's reading of a streamed call, which is stopped when nobody reads on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from conversations.calls import Call

UNREAD_SECONDS = 30.0
"""After so long without its reading having begun, the client is taken to be gone."""


class Listening:
    """The events of a call, in the form that a streaming response takes: it closes what it has read, or failed to read.

    Not left to a generator's ``finally``, which is run when the garbage collector gets to it, and not at all where the
    client went away before the first event was asked for.
    """

    def __init__(self, events: AsyncIterator[bytes], call: Call) -> None:
        self._events = events
        self._call = call
        self._loop = asyncio.get_running_loop()
        self._unread = self._loop.call_later(UNREAD_SECONDS, call.stop)

    def __aiter__(self) -> Listening:
        return self

    async def __anext__(self) -> bytes:
        self._unread.cancel()
        return await anext(self._events)

    def close(self) -> None:
        """Called from a thread when the response is done with; a call that has ended is not changed by it."""
        self._loop.call_soon_threadsafe(self._end)

    def _end(self) -> None:
        self._unread.cancel()
        self._call.stop()
