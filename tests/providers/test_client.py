"""Calling a model: when it is tried again, how long it waits, and when it gives up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
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
from llm.providers import Timeouts
from llm.providers.demo import DemoProvider
from llm.providers.pool import POOL
from llm.types import (
    CallRequest,
    CallResult,
    Credentials,
    StreamEvent,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
    Usage,
    UsageSeen,
)
from tests.providers.calling import FAMILIES, KEY, credentials, request
from tests.providers.standins import StandIn, answer, fault, refusal

families = pytest.mark.parametrize("name", FAMILIES)
roads = pytest.mark.parametrize("is_streamed", [False, True])


class Call:
    """One call through the client, its waits recorded instead of slept."""

    def __init__(
        self,
        server: StandIn,
        name: str,
        *,
        is_streamed: bool,
        who: Credentials | None = None,
        patience: float | None = None,
    ) -> None:
        self.patience = patience
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
                async for event in client.stream(request(), self.who, patience=self.patience, sleep=self._sleep):
                    self.events.append(event)
            else:
                result = await client.complete(request(), self.who, patience=self.patience, sleep=self._sleep)
                self.events.append(result)
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


class Breaking:
    """A provider that shows something, and then fails in a way that could be tried again."""

    def __init__(self, *events: StreamEvent) -> None:
        self.events = events
        self.count = 0

    async def stream(self, call: CallRequest, who: Credentials) -> AsyncIterator[StreamEvent]:
        self.count += 1
        for event in self.events:
            yield event
        raise ProviderUnavailable


@pytest.mark.parametrize(
    ("event", "attempts"),
    [
        (TextDelta("One"), 1),
        (ThinkingDelta("Hm"), 1),
        (ThinkingDelta("", redacted="cipher"), 1),
        (ToolCallDelta(0, id="c1", name="f"), 1),
        (UsageSeen(Usage(input=3)), 1),
    ],
)
def test_nothing_is_repeated_once_any_output_has_been_shown(
    provider: StandIn, monkeypatch: pytest.MonkeyPatch, event: StreamEvent, attempts: int
) -> None:
    breaking = Breaking(event)
    monkeypatch.setattr(client, "adapter_for", lambda *args, **kwargs: breaking)
    call = Call(provider, "openai", is_streamed=True)
    assert (type(call.error), breaking.count, call.events) == (ProviderUnavailable, attempts, [event] * attempts)


@families
def test_nothing_is_repeated_once_thinking_has_been_shown(provider: StandIn, name: str) -> None:
    after = {"openai": 2, "anthropic": 4, "google": 1}[name]
    provider.script(fault("cut", after=after, reasoning_chunks=["Hm", ", well"]), answer("Never asked for."))
    call = Call(provider, name, is_streamed=True)
    assert [event for event in call.events if isinstance(event, ThinkingDelta)] == [ThinkingDelta("Hm")]
    assert (type(call.error), len(provider.requests)) == (StreamInterrupted, 1)


@pytest.mark.parametrize("name", ["openai", "google"])
def test_a_stream_that_breaks_before_its_first_word_is_tried_again(provider: StandIn, name: str) -> None:
    provider.script(fault("cut", after={"openai": 1, "google": 0}[name]), answer("Here."))
    call = Call(provider, name, is_streamed=True)
    assert (call.text, len(provider.requests)) == ("Here.", 2)
    assert "".join(event.text for event in call.events if isinstance(event, TextDelta)) == "Here."


def test_a_prompt_whose_usage_was_reported_is_not_sent_again(provider: StandIn) -> None:
    """Anthropic reports it first of all, and bills it: a second try would be paid for, and metered nowhere."""
    provider.script(fault("cut", after=2), answer("Never asked for."))
    call = Call(provider, "anthropic", is_streamed=True)
    assert (type(call.error), len(provider.requests)) == (ProviderUnavailable, 1)
    assert [type(event) for event in call.events] == [UsageSeen]


def test_a_provider_that_says_it_failed_is_asked_again_all_the_same(provider: StandIn) -> None:
    overloaded = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    provider.script(fault("error_event", after=1, error=overloaded), answer("Here."))
    call = Call(provider, "anthropic", is_streamed=True)
    assert (call.text, len(provider.requests)) == ("Here.", 2)


@roads
def test_a_call_that_timed_out_at_the_provider_is_not_made_again(
    provider: StandIn, is_streamed: bool, tuned: Any
) -> None:
    tuned(LLM_FIRST_TOKEN_TIMEOUT=0.3, LLM_TOTAL_TIMEOUT=0.5)
    provider.script(fault("hang"), answer("Never asked for."))
    call = Call(provider, "openai", is_streamed=is_streamed)
    assert (type(call.error), call.waits, len(provider.requests)) == (ProviderTimeout, [], 1)


@families
@roads
def test_the_impatient_try_twice(provider: StandIn, name: str, is_streamed: bool) -> None:
    provider.always(refusal(500, vendor=name))
    call = Call(provider, name, is_streamed=is_streamed, patience=0.01)
    assert (type(call.error), len(provider.requests)) == (ProviderUnavailable, 2)
    assert [wait <= 0.01 for wait in call.waits] == [True]
    provider.requests.clear()
    provider.script(refusal(500, vendor=name), answer("Here."))
    call = Call(provider, name, is_streamed=is_streamed, patience=0.0)
    assert (call.text, call.waits, len(provider.requests)) == ("Here.", [0.0], 2)


@roads
@pytest.mark.parametrize(
    ("asked", "patience", "waits"),
    [("3", 2.0, []), ("2", 2.0, [2.0]), ("21", 60.0, []), ("15", None, [15.0])],
)
def test_the_impatient_wait_no_longer_than_they_say(
    provider: StandIn, is_streamed: bool, asked: str, patience: float | None, waits: list[float]
) -> None:
    """And nobody longer than the setting says."""
    provider.script(refusal(429, headers={"retry-after": asked}), answer("Here."))
    call = Call(provider, "openai", is_streamed=is_streamed, patience=patience)
    assert (call.waits, type(call.error)) == (waits, type(None) if waits else ProviderRateLimited)


def test_patience_adds_no_attempts(provider: StandIn, tuned: Any) -> None:
    tuned(LLM_MAX_ATTEMPTS=1)
    provider.always(refusal(500))
    call = Call(provider, "openai", is_streamed=False, patience=5.0)
    assert (type(call.error), len(provider.requests)) == (ProviderUnavailable, 1)


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


def test_counts_and_lists(provider: StandIn) -> None:
    async def ask() -> list[Any]:
        try:
            counts = [await client.count_tokens(request(), credentials(provider, name)) for name in FAMILIES]
            lists = [await client.list_models(credentials(provider, name)) for name in FAMILIES]
            demo = Credentials("demo", "")
            return [*counts, await client.count_tokens(request(), demo), *lists, await client.list_models(demo)]
        finally:
            await client.aclose_all()

    provider.answer(prompt_tokens=7, models=["b", "a"])
    assert asyncio.run(ask()) == [None, 7, 7, 1, ["a", "b"], ["a", "b"], ["a", "b"], ["demo-1"]]


@pytest.mark.parametrize("name", ["anthropic", "google"])
@pytest.mark.parametrize("is_count", [True, False])
def test_counts_and_lists_are_asked_for_once(provider: StandIn, name: str, is_count: bool) -> None:
    async def ask() -> None:
        try:
            who = credentials(provider, name)
            await (client.count_tokens(request(), who) if is_count else client.list_models(who))
        finally:
            await client.aclose_all()

    provider.always(refusal(503, vendor=name))
    with pytest.raises(ProviderUnavailable):
        asyncio.run(ask())
    assert len(provider.requests) == 1


@pytest.mark.parametrize(("setting", "limit"), [(1.0, 1.0), (600.0, 30.0)])
def test_counts_and_lists_are_not_waited_for_long(
    monkeypatch: pytest.MonkeyPatch, tuned: Any, setting: float, limit: float
) -> None:
    seen: list[float] = []

    def adapter_for(name: str, *, timeouts: Timeouts) -> DemoProvider:
        seen.append(timeouts.total)
        return DemoProvider()

    tuned(LLM_TOTAL_TIMEOUT=setting)
    monkeypatch.setattr(client, "adapter_for", adapter_for)
    demo = Credentials("demo", "")
    assert asyncio.run(client.list_models(demo)) == ["demo-1"]
    assert asyncio.run(client.count_tokens(request(), demo)) == 1
    assert seen == [limit, limit]


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
