"""Calls as the server runs them, on an event loop and against the stand-in, without the server."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from conversations import chat
from conversations.admission import Admitted
from conversations.calls import Call
from conversations.outcomes import Outcome
from llm import client


async def until(is_so: Callable[[], Any], what: str) -> None:
    """Wait until something is so, or fail saying what was waited for."""
    try:
        async with asyncio.timeout(20):
            while not is_so():  # noqa: ASYNC110 (a state of another thread)
                await asyncio.sleep(0.005)
    except TimeoutError:
        pytest.fail(f"waited in vain for {what}")


Scenario = Callable[[Call], Awaitable[None]]


async def nothing(call: Call) -> None:
    """For a call to which nothing happens."""


def run(admitted: Admitted, scenario: Scenario = nothing, *, streams: bool = True) -> tuple[Call, Outcome]:
    """Start the call, let the scenario happen to it, and wait for its end."""

    async def main() -> tuple[Call, Outcome]:
        try:
            call = chat.start(admitted, streams=streams)
            await scenario(call)
            _, outcome = await asyncio.wait_for(call.outcome(), 20)
            return call, outcome
        finally:
            await client.aclose_all()

    return asyncio.run(main())


class Gate:
    """Holds a job up on its database thread until it is opened."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str) -> None:
        self.reached, self._is_open = threading.Event(), threading.Event()
        real = getattr(owner, name)

        def held_up(*args: Any, **kwargs: Any) -> Any:
            self.reached.set()
            assert self._is_open.wait(20)
            return real(*args, **kwargs)

        monkeypatch.setattr(owner, name, held_up)

    def open(self) -> None:
        self._is_open.set()
