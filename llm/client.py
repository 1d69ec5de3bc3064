"""Calling a model: the adapter of the provider, with bounded retries and one deadline over all of them.

A call is tried again only where that can help (rate limits, overload, no connection) and only while the provider has
not been at work on it: a second answer pasted onto half of a first would be wrong, and one that the provider timed out
over, or had begun to report the usage of, would be paid for twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, replace

from django.conf import settings

from llm.errors import ProviderError, ProviderTimeout
from llm.providers import Timeouts, adapter_for
from llm.providers.demo import DEFAULT_DELAY
from llm.providers.pool import POOL
from llm.types import (
    CallRequest,
    CallResult,
    Credentials,
    Provider,
    StreamEvent,
    UsageSeen,
)
from synapscale.common import tracing

Sleep = Callable[[float], Awaitable[None]]

BACKOFF_BASE = 0.5
"""Seconds. The n-th wait is drawn evenly from 0 to base x 2^(n-1) (full jitter): retries of many callers spread out."""
IMPATIENT_ATTEMPTS = 2
"""So many attempts at most for a caller that has another model to turn to."""
QUERY_TIMEOUT = 30.0
"""Seconds for questions that a model need not answer: counts and lists."""


@dataclass(frozen=True, slots=True)
class Policy:
    """How long and how often to try; every field is a setting."""

    timeouts: Timeouts
    max_attempts: int
    max_retry_wait: float
    """Seconds. A provider that asks for a longer pause is not waited for: the caller hears of it at once."""
    demo_delay: float


def policy() -> Policy:
    return Policy(
        timeouts=Timeouts(
            connect=getattr(settings, "LLM_CONNECT_TIMEOUT", 10.0),
            first_token=getattr(settings, "LLM_FIRST_TOKEN_TIMEOUT", 120.0),
            idle=getattr(settings, "LLM_IDLE_TIMEOUT", 60.0),
            total=getattr(settings, "LLM_TOTAL_TIMEOUT", 600.0),
        ),
        max_attempts=getattr(settings, "LLM_MAX_ATTEMPTS", 3),
        max_retry_wait=getattr(settings, "LLM_MAX_RETRY_WAIT", 20.0),
        demo_delay=getattr(settings, "LLM_DEMO_DELAY", DEFAULT_DELAY),
    )


class _Attempts:
    """The attempts of one call: how much time is left, and whether and when to try again."""

    def __init__(self, credentials: Credentials, *, patience: float | None = None) -> None:
        self.policy = policy()
        if patience is not None:
            self.policy = replace(
                self.policy,
                max_attempts=min(self.policy.max_attempts, IMPATIENT_ATTEMPTS),
                max_retry_wait=min(self.policy.max_retry_wait, patience),
            )
        self.credentials = credentials
        self.number = 0
        self._deadline = asyncio.get_running_loop().time() + self.policy.timeouts.total

    def _remaining(self) -> float:
        return self._deadline - asyncio.get_running_loop().time()

    def next_adapter(self) -> Provider:
        """The adapter for the next attempt, which may take no longer than what is left for all of them."""
        self.number += 1
        remaining = self._remaining()
        if remaining <= 0:
            raise ProviderTimeout(provider=self.credentials.provider)
        timeouts = replace(self.policy.timeouts, total=remaining)
        return adapter_for(self.credentials.provider, timeouts=timeouts, demo_delay=self.policy.demo_delay)

    def wait_after(self, failure: ProviderError) -> float | None:
        """Seconds to wait before the next attempt; None when there is none."""
        if not failure.is_retryable or failure.may_be_billed or self.number >= self.policy.max_attempts:
            return None
        asked = failure.retry_after or 0.0
        if asked > self.policy.max_retry_wait:
            return None
        backoff = random.uniform(0, BACKOFF_BASE * 2 ** (self.number - 1))
        wait = max(asked, min(backoff, self.policy.max_retry_wait))
        return wait if wait < self._remaining() else None


@contextlib.contextmanager
def _traced(request: CallRequest, credentials: Credentials) -> Iterator[Callable[[CallResult], None]]:
    """The span of a call with all of its attempts; to be told the result. It holds nothing that was said."""
    span = tracing.start_call(provider=credentials.provider, model=request.model, max_tokens=request.max_tokens)
    error, facts = "", dict[str, object]()

    def told(result: CallResult) -> None:
        usage = result.usage
        facts.update(
            {
                "gen_ai.response.model": result.model or None,
                "gen_ai.response.finish_reasons": [result.finish_reason],
                "gen_ai.usage.input_tokens": usage.total_input if usage else None,
                "gen_ai.usage.output_tokens": usage.total_output if usage else None,
                "gen_ai.usage.cache_read.input_tokens": usage.cached_input if usage else None,
            }
        )

    try:
        yield told
    except ProviderError as failure:
        error = failure.code
        facts["http.response.status_code"] = failure.status_code
        raise
    except (asyncio.CancelledError, GeneratorExit):
        error = "" if facts else "cancelled"
        raise
    except Exception as failure:
        error = type(failure).__name__
        raise
    finally:
        tracing.end_call(span, error=error, facts=facts)


async def complete(
    request: CallRequest, credentials: Credentials, *, patience: float | None = None, sleep: Sleep = asyncio.sleep
) -> CallResult:
    """Answer in one piece. Raises ``llm.errors.ProviderError``.

    ``patience`` is for a caller that has another model to turn to: it waits no longer than so many seconds between
    attempts, and there are two of them at most.
    """
    with _traced(request, credentials) as told:
        result = await _complete(request, credentials, _Attempts(credentials, patience=patience), sleep)
        told(result)
        return result


async def _complete(request: CallRequest, credentials: Credentials, attempts: _Attempts, sleep: Sleep) -> CallResult:
    while True:
        try:
            return await attempts.next_adapter().complete(request, credentials)
        except ProviderError as error:
            failure = error
        wait = attempts.wait_after(failure)
        if wait is None:
            raise failure
        await sleep(wait)


async def stream(
    request: CallRequest, credentials: Credentials, *, patience: float | None = None, sleep: Sleep = asyncio.sleep
) -> AsyncIterator[StreamEvent]:
    """Yield the answer as it comes; the last event is the ``CallResult``. Raises ``llm.errors.ProviderError``.

    Close it when leaving early (``contextlib.aclosing``), so that the provider's connection is closed at once.
    ``patience`` is that of ``complete``.
    """
    attempts = _Attempts(credentials, patience=patience)
    with _traced(request, credentials) as told:
        async with contextlib.aclosing(_stream(request, credentials, attempts, sleep)) as events:
            async for event in events:
                if isinstance(event, CallResult):
                    told(event)
                yield event


async def _stream(
    request: CallRequest, credentials: Credentials, attempts: _Attempts, sleep: Sleep
) -> AsyncGenerator[StreamEvent, None]:
    while True:
        has_output = has_usage = False
        try:
            async with contextlib.aclosing(attempts.next_adapter().stream(request, credentials)) as events:  # type: ignore[type-var]
                async for event in events:
                    has_usage = has_usage or isinstance(event, UsageSeen)
                    has_output = has_output or not isinstance(event, UsageSeen)
                    yield event
            return
        except ProviderError as error:
            failure = error
        # Broken off after usage was reported: the prompt has been read and is billed, unless the provider says it failed.
        failure.may_be_billed = failure.may_be_billed or has_output or (has_usage and failure.status_code is None)
        wait = attempts.wait_after(failure)
        if wait is None:
            raise failure
        await sleep(wait)


async def count_tokens(request: CallRequest, credentials: Credentials) -> int | None:
    """The prompt's tokens by the vendor's own count; None where it has none. Raises ``llm.errors.ProviderError``."""
    return await _for_a_query(credentials).count_tokens(request, credentials)


async def list_models(credentials: Credentials) -> list[str]:
    """The ids of the models that this key may call, sorted. Raises ``llm.errors.ProviderError``."""
    return await _for_a_query(credentials).list_models(credentials)


def _for_a_query(credentials: Credentials) -> Provider:
    """An adapter for one attempt at a quick question."""
    timeouts = policy().timeouts
    return adapter_for(credentials.provider, timeouts=replace(timeouts, total=min(timeouts.total, QUERY_TIMEOUT)))


async def aclose_all() -> None:
    """Close every connection to a provider that this event loop has open; for shutdown."""
    await POOL.aclose()
