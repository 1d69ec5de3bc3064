"""Everything a provider, or the network before it, can do wrong: the same outcome for every vendor.

What came before the fault is kept and the error says ``StreamInterrupted``; where nothing had come yet, the error says
whether trying again can help. No error carries a word of the provider's, for their bodies can repeat the key.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import time
import traceback
import tracemalloc
from typing import Any

import pytest

from llm.errors import (
    ProviderAuthenticationError,
    ProviderError,
    ProviderNotConfigured,
    ProviderTimeout,
    ProviderUnavailable,
    StreamInterrupted,
)
from llm.providers import Timeouts, adapter_for
from llm.providers.pool import POOL
from llm.types import CallResult, Credentials, TextDelta, Usage
from tests.providers.calling import FAMILIES, KEY, complete, credentials, request, stream, until
from tests.providers.standins import StandIn, answer, fault, refusal
from tests.providers.wire import error_body

# How many events come before the second piece of text.
BEFORE_SECOND_PIECE = {"openai": 2, "anthropic": 4, "google": 1}
# How many events come before anything of the answer.
BEFORE_FIRST_PIECE = {"openai": 1, "anthropic": 2, "google": 0}
QUICK = Timeouts(connect=2, first_token=0.8, idle=0.5, total=10)
PATIENT = Timeouts(connect=30, first_token=30, idle=30, total=60)
"""For what must fail by something else than time, on however slow a machine."""
ENDLESS = {"stall", "loris", "hang"}
families = pytest.mark.parametrize("name", FAMILIES)


@pytest.fixture(scope="module", autouse=True)
def _sdks() -> None:
    """Imported before the clock runs."""
    for module in ("openai", "anthropic", "google.genai"):
        importlib.import_module(module)


@families
@pytest.mark.parametrize("kind", ["cut", "eof", "malformed", "bad_utf8", "huge_line", "error_event", "stall", "loris"])
def test_fault_after_the_answer_has_begun(provider: StandIn, name: str, kind: str) -> None:
    event = error_body(name, 503, code="overloaded_error", message=f"{KEY}")
    provider.always(fault(kind, after=BEFORE_SECOND_PIECE[name], chunks=["One", " two", " three"], error=event))
    streamed = stream(provider, name, timeouts=QUICK if kind in ENDLESS else PATIENT)
    assert streamed.texts == ["One"]
    assert type(streamed.error) is StreamInterrupted
    assert not streamed.error.is_retryable
    assert KEY not in str(streamed.error)


@families
@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("cut", ProviderUnavailable),
        ("eof", ProviderUnavailable),
        ("malformed", ProviderError),
        ("huge_line", ProviderError),
        ("gzip_bomb", ProviderError),
        ("error_event", ProviderUnavailable),
        ("stall", ProviderTimeout),
        ("loris", ProviderTimeout),
        ("hang", ProviderTimeout),
    ],
)
def test_fault_before_the_answer_has_begun(
    provider: StandIn, name: str, kind: str, expected: type[ProviderError]
) -> None:
    event = error_body(name, 503, code="overloaded_error")
    provider.always(fault(kind, after=BEFORE_FIRST_PIECE[name], error=event))
    streamed = stream(provider, name, timeouts=QUICK if kind in ENDLESS else PATIENT)
    assert streamed.texts == []
    assert type(streamed.error) is expected
    assert streamed.error.provider == name


@families
@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("cut", ProviderUnavailable),
        ("eof", ProviderUnavailable),
        ("malformed", ProviderError),
        ("huge_line", ProviderError),
        ("gzip_bomb", ProviderError),
        ("loris", ProviderTimeout),
        ("hang", ProviderTimeout),
    ],
)
def test_fault_in_a_plain_answer(provider: StandIn, name: str, kind: str, expected: type[ProviderError]) -> None:
    provider.always(fault(kind))
    with pytest.raises(ProviderError) as caught:
        complete(provider, name, timeouts=Timeouts(total=1.5) if kind in ENDLESS else PATIENT)
    assert type(caught.value) is expected


@families
def test_answer_without_limit_is_cut_off(provider: StandIn, name: str) -> None:
    after = BEFORE_SECOND_PIECE[name] - 1
    provider.always(fault("endless", after=after, chunks=["x" * 8192, "y"]))
    streamed = stream(provider, name, request(max_tokens=10))
    assert type(streamed.error) is StreamInterrupted
    assert sum(map(len, streamed.texts)) == 64 * 1024


@families
def test_memory_stays_bounded(provider: StandIn, name: str) -> None:
    """A line of 50 MB and a body that unpacks to 100 MB: neither is ever held."""
    complete(provider, name)  # import the SDK first
    tracemalloc.start()
    try:
        for kind in ("huge_line", "gzip_bomb"):
            provider.always(fault(kind, after=BEFORE_SECOND_PIECE[name]))
            assert stream(provider, name).error is not None
        provider.always(fault("gzip_bomb"))
        with pytest.raises(ProviderError):
            complete(provider, name)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 48 * 1024 * 1024


@families
def test_connection_lost_after_the_last_word_costs_only_the_usage(provider: StandIn, name: str) -> None:
    """The finish reason has come, so the answer is whole."""
    after = {"openai": 4, "anthropic": 7, "google": 3}[name]
    provider.always(fault("cut", after=after, chunks=["One", " two"]))
    streamed = stream(provider, name)
    assert streamed.texts == ["One", " two"]
    if name == "google":  # its finish reason and its usage are one event
        assert streamed.result.usage == Usage(input=10, output=5)
    elif name == "openai":
        assert streamed.result.usage is None
        assert streamed.result.finish_reason == "stop"
    else:
        assert streamed.result.usage == Usage(input=10, output=5)


@families
@pytest.mark.parametrize("is_streamed", [False, True])
def test_no_error_repeats_the_key(provider: StandIn, name: str, is_streamed: bool) -> None:
    provider.always(refusal(401, vendor=name, code="invalid_api_key", message="Incorrect API key provided: {key}"))
    if is_streamed:
        error = stream(provider, name).error
    else:
        with pytest.raises(ProviderError) as caught:
            complete(provider, name)
        error = caught.value
    assert type(error) is ProviderAuthenticationError
    assert (error.status_code, error.provider, error.is_retryable) == (401, name, False)
    assert str(error) == "The provider refused the key."
    assert error.__cause__ is None
    assert error.__context__ is None
    shown = traceback.TracebackException.from_exception(error, capture_locals=True)
    text = "".join(shown.format()) + repr(error) + repr(vars(error))
    assert KEY not in text
    assert "Incorrect API key" not in text
    assert provider.requests[0].key == KEY


@families
def test_error_body_without_end_still_tells_the_status(provider: StandIn, name: str) -> None:
    provider.always(refusal(401, vendor=name, message="x" * 1_000_000))
    with pytest.raises(ProviderAuthenticationError):
        complete(provider, name)
    assert type(stream(provider, name).error) is ProviderAuthenticationError


@families
def test_redirects_are_not_followed(provider: StandIn, name: str) -> None:
    """The key would go along to wherever the redirect points."""
    provider.always(answer(status=307, headers={"location": f"{provider.url}/v1/messages"}))
    with pytest.raises(ProviderError) as caught:
        complete(provider, name)
    assert type(caught.value) is ProviderError
    assert len(provider.requests) == 1


@families
@pytest.mark.parametrize("status", [500, 502, 503, 529])
def test_sdks_do_not_retry_on_their_own(provider: StandIn, name: str, status: int) -> None:
    provider.always(refusal(status, vendor=name))
    with pytest.raises(ProviderUnavailable) as caught:
        complete(provider, name)
    assert (caught.value.status_code, caught.value.is_retryable) == (status, True)
    assert type(stream(provider, name).error) is ProviderUnavailable
    assert len(provider.requests) == 2


@families
def test_nobody_listens(provider: StandIn, name: str) -> None:
    nowhere = Credentials(name, KEY, "http://127.0.0.1:9")

    async def run() -> None:
        with pytest.raises(ProviderUnavailable):
            await adapter_for(name).complete(request(), nowhere)
        await POOL.aclose()

    asyncio.run(run())


@families
@pytest.mark.parametrize(
    ("key", "expected"),
    [("", ProviderNotConfigured), ("sk-\nx", ProviderAuthenticationError), ("sk-ż", ProviderAuthenticationError)],
)
def test_keys_that_cannot_be_sent(provider: StandIn, name: str, key: str, expected: type[ProviderError]) -> None:
    async def run() -> None:
        with pytest.raises(expected):
            await adapter_for(name).complete(request(), Credentials(name, key, provider.base_url(name)))

    asyncio.run(run())
    assert provider.requests == []


@families
def test_idle_time_is_measured_between_events(provider: StandIn, name: str) -> None:
    """Five pauses shorter than the limit, together longer than it, are a slow provider and no fault."""
    provider.answer(chunks=list("abcde"), delay=0.15)
    streamed = stream(provider, name, timeouts=Timeouts(first_token=2, idle=0.6, total=10))
    assert streamed.result.text == "abcde"


@families
def test_total_time_is_limited_however_lively_the_stream(provider: StandIn, name: str) -> None:
    provider.answer(chunks=["x"] * 100, delay=0.05)
    started = time.monotonic()
    streamed = stream(provider, name, timeouts=Timeouts(total=1.0))
    assert type(streamed.error) is StreamInterrupted
    assert time.monotonic() - started < 4
    assert len(streamed.texts) >= 1


@families
def test_leaving_early_closes_the_connection(provider: StandIn, name: str) -> None:
    """Or the provider would go on writing, and billing, for nobody."""
    provider.always(fault("endless", after=BEFORE_SECOND_PIECE[name], chunks=["One", " two"]))

    async def run() -> None:
        async with contextlib.aclosing(adapter_for(name).stream(request(), credentials(provider, name))) as events:  # type: ignore[type-var]
            async for event in events:
                if isinstance(event, TextDelta):
                    break
        await until(lambda: provider.answering == 0)
        await POOL.aclose()

    asyncio.run(run())


@families
@pytest.mark.parametrize("is_streamed", [False, True])
def test_cancellation_passes_through(provider: StandIn, name: str, is_streamed: bool) -> None:
    provider.always(fault("hang"))

    async def call() -> None:
        adapter = adapter_for(name)
        if is_streamed:
            async for _ in adapter.stream(request(), credentials(provider, name)):
                pass
        else:
            await adapter.complete(request(), credentials(provider, name))

    async def run() -> None:
        task = asyncio.create_task(call())
        await until(lambda: bool(provider.requests))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await POOL.aclose()

    asyncio.run(run())


@families
def test_many_streams_at_once_do_not_mix(provider: StandIn, name: str) -> None:
    provider.script(
        *(answer(chunks=[f"{i}-", "x" * i], delay=0.01, usage={"input": i, "output": i}) for i in range(60))
    )

    async def one() -> CallResult:
        last: Any = None
        async for event in adapter_for(name).stream(request(), credentials(provider, name)):
            last = event
        assert isinstance(last, CallResult)
        return last

    async def run() -> list[CallResult]:
        try:
            return await asyncio.gather(*(one() for _ in range(60)))
        finally:
            await POOL.aclose()

    results = asyncio.run(run())
    assert sorted(result.text for result in results) == sorted(f"{i}-" + "x" * i for i in range(60))
    for result in results:
        number = int(result.text.split("-")[0])
        assert result.usage == Usage(input=number, output=number)
