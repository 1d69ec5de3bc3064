"""Calling an adapter from a plain test: one event loop per call, everything closed at its end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from llm.errors import ProviderError
from llm.providers import Timeouts, adapter_for
from llm.providers.pool import POOL
from llm.types import (
    CallRequest,
    CallResult,
    ChatMessage,
    Credentials,
    StreamEvent,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
    UsageSeen,
)
from tests.providers.standins import StandIn

KEY = "sk-canary-0123456789abcdef"
FAMILIES = ("openai", "anthropic", "google")
T = TypeVar("T")


def request(content: str = "Hi", **fields: Any) -> CallRequest:
    fields = {"model": "model-1", "messages": (ChatMessage("user", content),), "max_tokens": 100, **fields}
    return CallRequest(**fields)


def credentials(server: StandIn, provider: str) -> Credentials:
    return Credentials(provider, KEY, server.base_url(provider))


def run(call: Awaitable[T]) -> T:
    async def closing() -> T:
        try:
            return await call
        finally:
            await POOL.aclose()

    return asyncio.run(closing())


def complete(
    server: StandIn, provider: str, call: CallRequest | None = None, *, timeouts: Timeouts | None = None
) -> CallResult:
    adapter = adapter_for(provider, timeouts=timeouts)
    return run(adapter.complete(call or request(), credentials(server, provider)))


def body_of(server: StandIn, provider: str, call: CallRequest | None = None, **fields: Any) -> dict[str, Any]:
    """The body that arrives at the provider for a request."""
    complete(server, provider, call or request(**fields))
    return server.requests[-1].body


def count_tokens(
    server: StandIn, provider: str, call: CallRequest | None = None, *, timeouts: Timeouts | None = None
) -> int | None:
    adapter = adapter_for(provider, timeouts=timeouts)
    return run(adapter.count_tokens(call or request(), credentials(server, provider)))


def list_models(server: StandIn, provider: str, *, timeouts: Timeouts | None = None) -> list[str]:
    return run(adapter_for(provider, timeouts=timeouts).list_models(credentials(server, provider)))


async def until(is_so: Callable[[], bool]) -> None:
    """Wait for something that happens in another thread, ten seconds at most."""
    for _ in range(1000):
        if is_so():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it never came to that")


class Streamed:
    """What a stream brought: its events and, if it broke, the error."""

    def __init__(self) -> None:
        self.events: list[StreamEvent] = []
        self.error: ProviderError | None = None

    @property
    def texts(self) -> list[str]:
        return [event.text for event in self.events if isinstance(event, TextDelta)]

    @property
    def thoughts(self) -> list[ThinkingDelta]:
        return [event for event in self.events if isinstance(event, ThinkingDelta)]

    @property
    def calls(self) -> list[ToolCallDelta]:
        return [event for event in self.events if isinstance(event, ToolCallDelta)]

    @property
    def seen(self) -> list[UsageSeen]:
        return [event for event in self.events if isinstance(event, UsageSeen)]

    @property
    def result(self) -> CallResult:
        assert self.error is None, self.error
        assert isinstance(self.events[-1], CallResult)
        assert not any(isinstance(event, CallResult) for event in self.events[:-1])
        return self.events[-1]


def stream(
    server: StandIn, provider: str, call: CallRequest | None = None, *, timeouts: Timeouts | None = None
) -> Streamed:
    async def listen() -> Streamed:
        streamed = Streamed()
        events = adapter_for(provider, timeouts=timeouts).stream(call or request(), credentials(server, provider))
        try:
            async with contextlib.aclosing(events):  # type: ignore[type-var]
                async for event in events:
                    streamed.events.append(event)
        except ProviderError as error:
            streamed.error = error
        return streamed

    return run(listen())
