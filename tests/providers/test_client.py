"""Calling a model: when it is tried again, how long it waits, and when it gives up."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from django.conf import settings

from llm import client
from llm.errors import (
    ProviderAuthenticationError,
    ProviderError,
    ProviderNotConfigured,
    ProviderQuotaExhausted,
    ProviderRateLimited,
    ProviderTimeout,
    ProviderUnavailable,
    StreamInterrupted,
)
from llm.providers.pool import POOL
from llm.types import CallResult, Credentials, StreamEvent, TextDelta
from tests.providers.calling import FAMILIES, KEY, credentials, request
from tests.providers.standins import StandIn, answer, fault, refusal

families = pytest.mark.parametrize("name", FAMILIES)
roads = pytest.mark.parametrize("is_streamed", [False, True])


class Call:
    """One call through the client, its waits recorded instead of slept."""

    def __init__(self, server: StandIn, name: str, *, is_streamed: bool, who: Credentials | None = None) -> None:
        self.waits: list[float] = []
        self.events: list[StreamEvent] = []
        self.error: ProviderError | None = None
        self.who = who or credentials(server, name)
        try:
            asyncio.run(self._run(is_streamed))
        except ProviderError as error:
            self.error = error

    async def _run(self, is_streamed: bool) -> None:
        try:
            if is_streamed:
                async for event in client.stream(request(), self.who, sleep=self._sleep):
                    self.events.append(event)
            else:
                self.events.append(await client.complete(request(), self.who, sleep=self._sleep))
        finally:
            await client.aclose_all()

    async def _sleep(self, seconds: float) -> None:
        self.waits.append(seconds)

    @property
    def text(self) -> str:
        assert self.error is None, self.error
        assert isinstance(self.events[-1], CallResult)
        return self.events[-1].text


@pytest.fixture
def tuned(monkeypatch: pytest.MonkeyPatch) -> Any:
    def tune(**values: float) -> None:
        for name, value in values.items():
            monkeypatch.setattr(settings, name, value, raising=False)

    return tune


@families
@roads
def test_rate_limit_is_waited_out(provider: StandIn, name: str, is_streamed: bool) -> None:
    provider.script(refusal(429, vendor=name, headers={"retry-after": "2"}), answer("Here."))
    call = Call(provider, name, is_streamed=is_streamed)
    assert (call.text, call.waits, len(provider.requests)) == ("Here.", [2.0], 2)


@families
@roads
def test_a_long_wait_is_the_callers_to_decide(provider: StandIn, name: str, is_streamed: bool) -> None:
    provider.always(refusal(429, vendor=name, headers={"retry-after": "21"}))
    call = Call(provider, name, is_streamed=is_streamed)
    assert type(call.error) is ProviderRateLimited
    assert (call.error.retry_after, call.waits, len(provider.requests)) == (21.0, [], 1)


@families
@roads
@pytest.mark.parametrize("status", [500, 503, 529])
def test_a_short_outage_is_survived(provider: StandIn, name: str, is_streamed: bool, status: int) -> None:
    provider.script(refusal(status, vendor=name), refusal(status, vendor=name), answer("Here."))
    call = Call(provider, name, is_streamed=is_streamed)
    assert (call.text, len(provider.requests)) == ("Here.", 3)
    assert 0 <= call.waits[0] <= 0.5
    assert 0 <= call.waits[1] <= 1.0


@families
@roads
def test_attempts_are_bounded(provider: StandIn, name: str, is_streamed: bool, tuned: Any) -> None:
    provider.always(refusal(500, vendor=name))
    call = Call(provider, name, is_streamed=is_streamed)
    assert (type(call.error), len(call.waits), len(provider.requests)) == (ProviderUnavailable, 2, 3)
    provider.requests.clear()
    tuned(LLM_MAX_ATTEMPTS=1)
    call = Call(provider, name, is_streamed=is_streamed)
    assert (type(call.error), call.waits, len(provider.requests)) == (ProviderUnavailable, [], 1)


@roads
@pytest.mark.parametrize(
    ("behaviour", "expected"),
    [
        (refusal(401), ProviderAuthenticationError),
        (refusal(429, code="insufficient_quota"), ProviderQuotaExhausted),
    ],
)
def test_what_cannot_get_better_is_not_repeated(
    provider: StandIn, is_streamed: bool, behaviour: Any, expected: type[ProviderError]
) -> None:
    provider.always(behaviour)
    call = Call(provider, "openai", is_streamed=is_streamed)
    assert (type(call.error), call.waits, len(provider.requests)) == (expected, [], 1)


def test_nothing_is_repeated_once_text_has_been_shown(provider: StandIn) -> None:
    provider.script(fault("cut", after=2, chunks=["One", " two"]), answer("Never asked for."))
    call = Call(provider, "openai", is_streamed=True)
    assert call.events == [TextDelta("One")]
    assert (type(call.error), len(provider.requests)) == (StreamInterrupted, 1)


@families
def test_a_stream_that_breaks_before_its_first_word_is_tried_again(provider: StandIn, name: str) -> None:
    provider.script(fault("cut", after={"openai": 1, "anthropic": 2, "google": 0}[name]), answer("Here."))
    call = Call(provider, name, is_streamed=True)
    assert (call.text, len(provider.requests)) == ("Here.", 2)
    assert "".join(event.text for event in call.events if isinstance(event, TextDelta)) == "Here."


@roads
def test_one_deadline_covers_all_attempts(provider: StandIn, is_streamed: bool, tuned: Any) -> None:
    tuned(LLM_TOTAL_TIMEOUT=1.0, LLM_FIRST_TOKEN_TIMEOUT=0.7)
    provider.always(fault("hang"))
    started = time.monotonic()
    call = Call(provider, "openai", is_streamed=is_streamed)
    assert type(call.error) is ProviderTimeout
    assert 0.6 < time.monotonic() - started < 3


@roads
def test_no_wait_beyond_the_deadline(provider: StandIn, is_streamed: bool, tuned: Any) -> None:
    tuned(LLM_TOTAL_TIMEOUT=5.0)
    provider.always(refusal(429, headers={"retry-after": "6"}))
    call = Call(provider, "openai", is_streamed=is_streamed)
    assert (type(call.error), call.waits) == (ProviderRateLimited, [])


@roads
def test_unknown_provider(provider: StandIn, is_streamed: bool) -> None:
    call = Call(provider, "openai", is_streamed=is_streamed, who=Credentials("nobody", KEY))
    assert type(call.error) is ProviderNotConfigured


@roads
def test_the_demo_provider_needs_no_key(provider: StandIn, is_streamed: bool, tuned: Any) -> None:
    tuned(LLM_DEMO_DELAY=0)
    call = Call(provider, "openai", is_streamed=is_streamed, who=Credentials("demo", ""))
    assert call.text == "This is the demo provider: no model was called. You wrote: Hi"
    assert provider.requests == []


def test_settings_have_sensible_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CONNECT_TIMEOUT", "FIRST_TOKEN_TIMEOUT", "IDLE_TIMEOUT", "TOTAL_TIMEOUT", "MAX_ATTEMPTS"):
        monkeypatch.delattr(settings, f"LLM_{name}", raising=False)
    monkeypatch.delattr(settings, "LLM_MAX_RETRY_WAIT", raising=False)
    policy = client.policy()
    timeouts = policy.timeouts
    assert (timeouts.connect, timeouts.first_token, timeouts.idle, timeouts.total) == (10, 120, 60, 600)
    assert (policy.max_attempts, policy.max_retry_wait) == (3, 20)


def test_connections_are_kept_between_calls_and_closed_at_the_end(provider: StandIn) -> None:
    async def run() -> None:
        who = credentials(provider, "openai")
        others = len(POOL)  # of other event loops: a server may be running beside
        await client.complete(request(), who)
        await client.complete(request(), who)
        assert len(POOL) == others + 1
        await client.aclose_all()
        assert len(POOL) == others

    asyncio.run(run())
