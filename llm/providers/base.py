"""What all adapters share: timeouts, the pooled client, the pace of a stream, and errors that carry nothing of theirs.

An adapter of a vendor says how a request is written, how an answer is read and how its SDK complains; everything that
must hold for every vendor alike is here.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import json
import threading
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from django.utils.translation import gettext_noop

from llm.errors import (
    ProviderAuthenticationError,
    ProviderError,
    ProviderHostForbidden,
    ProviderNotConfigured,
    ProviderTimeout,
    ProviderUnavailable,
    StreamInterrupted,
)
from llm.hosts import HostForbidden
from llm.providers.answer import Answer
from llm.providers.failures import (
    Refusal,
    ResponseTooLargeError,
    UnreadableAnswerError,
    cause_of,
    classify,
    is_caused_by,
)
from llm.providers.pool import POOL, PoolKey
from llm.types import CallRequest, CallResult, Credentials, StreamEvent

if TYPE_CHECKING:
    import httpx2

ChunkT = TypeVar("ChunkT")

_LOADED: set[str] = set()
"""SDKs that have been imported in full."""
_LOADING = threading.Lock()


def load_sdk(name: str) -> None:
    """Import a vendor's SDK and what is built on it. One at a time: they share libraries that import in circles, and a
    second thread would be let in on modules that are only half there."""
    with _LOADING:
        if name not in _LOADED:
            importlib.import_module(name)
            importlib.import_module("llm.providers.transport")
            _LOADED.add(name)


MAX_TOKEN_COUNT = 10**9
"""A usage figure above this is a fault, not a bill: no context window is near it."""
MAX_MODELS = 10_000
MAX_MODEL_ID = 300


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds. A provider is waited for as long as it makes progress, and never longer than ``total``."""

    connect: float = 10.0
    first_token: float = 120.0
    """Until the first piece of the answer (thinking counts). A plain call shows nothing until it is done, so it is
    bounded by ``total`` alone."""
    total: float = 600.0
    idle: float = 60.0
    """Between two events of a stream that has begun."""


AnswerT = TypeVar("AnswerT", bound=Answer)
ResultT = TypeVar("ResultT")


class SDKProvider(ABC, Generic[AnswerT]):
    """An adapter over a vendor's async SDK; see ``llm.types.Provider`` for the contract."""

    default_base_url: str
    sdk: str
    """The module to import before the first call."""

    def __init__(self, name: str, *, timeouts: Timeouts | None = None) -> None:
        self.name = name
        self.timeouts = timeouts or Timeouts()

    # what a vendor's adapter says ------------------------------------------------------------------------------------

    @abstractmethod
    def _build(self, http: httpx2.AsyncClient, credentials: Credentials, base_url: str) -> Any:
        """The SDK client, with its own retries off and nothing read from the environment."""

    @abstractmethod
    async def _complete(self, client: Any, request: CallRequest) -> CallResult: ...

    @abstractmethod
    def _new_answer(self, request: CallRequest) -> AnswerT: ...

    @abstractmethod
    async def _open(self, client: Any, request: CallRequest, answer: AnswerT) -> AsyncIterator[Any]:
        """Start a streamed call and return the SDK's iterator over its events."""

    @abstractmethod
    def _read(self, chunk: Any, answer: AnswerT) -> Iterable[StreamEvent]:
        """Take one event of the SDK into the answer."""

    async def _count(self, client: Any, request: CallRequest) -> object:
        """The vendor's own count of the prompt's tokens. Where there is none, ``count_tokens`` is overridden."""
        raise NotImplementedError

    @abstractmethod
    def _model_ids(self, client: Any) -> AsyncGenerator[object, None]:
        """The ids of all models, page after page, unchecked."""

    @abstractmethod
    def _refusal(self, error: Exception) -> Refusal | None:
        """What the provider's error answer says; None when ``error`` is not one."""

    # the contract ----------------------------------------------------------------------------------------------------

    async def complete(self, request: CallRequest, credentials: Credentials) -> CallResult:
        return await self._once(credentials, lambda client: self._complete(client, request))

    async def count_tokens(self, request: CallRequest, credentials: Credentials) -> int | None:
        count = await self._once(credentials, lambda client: self._count(client, request))
        if type(count) is not int or not 0 <= count <= MAX_TOKEN_COUNT:
            raise self._failure(UnreadableAnswerError())
        return count

    async def list_models(self, credentials: Credentials) -> list[str]:
        return sorted(await self._once(credentials, self._collect_models))

    async def stream(self, request: CallRequest, credentials: Credentials) -> AsyncIterator[StreamEvent]:
        answer = self._new_answer(request)
        failure: ProviderError | None = None
        try:
            async with (
                self._lease(credentials) as client,
                contextlib.aclosing(self._paced(self._chunks(client, request, answer), answer)) as chunks,
            ):
                async for chunk in chunks:
                    for event in self._read(chunk, answer):
                        yield event
        except Exception as error:
            failure = self._failure(error, answer)
        if answer.finish_reason:
            # All of the text is here. If the connection broke off after it, only the usage may be missing, and the
            # result says so.
            yield answer.result()
            return
        raise failure or self._failure(EOFError(), answer)

    async def aclose(self) -> None:
        await POOL.aclose(self.name)

    # how it is done --------------------------------------------------------------------------------------------------

    async def _once(self, credentials: Credentials, call: Callable[[Any], Awaitable[ResultT]]) -> ResultT:
        """Make one plain call, within ``total``."""
        # The error is raised after the except block: within it, the SDK's exception, and with it the provider's words,
        # would stay attached as __context__.
        failure: ProviderError
        try:
            async with asyncio.timeout(self.timeouts.total), self._lease(credentials) as client:
                return await call(client)
        except Exception as error:
            failure = self._failure(error)
        raise failure

    async def _collect_models(self, client: Any) -> set[str]:
        """As many as anybody needs, of the length that an id has: a host of anybody's may answer here."""
        ids: set[str] = set()
        count = 0
        async with contextlib.aclosing(self._model_ids(client)) as models:
            async for model in models:
                if isinstance(model, str) and 0 < len(model) <= MAX_MODEL_ID:
                    ids.add(model)
                count += 1
                if count >= MAX_MODELS:
                    break
        return ids

    @contextlib.asynccontextmanager
    async def _lease(self, credentials: Credentials) -> AsyncGenerator[Any, None]:
        """The pooled SDK client. Refuses keys that cannot be sent, before anything is."""
        if not credentials.api_key:
            raise ProviderNotConfigured(provider=self.name)
        if not credentials.api_key.isascii() or not credentials.api_key.isprintable() or " " in credentials.api_key:
            # It could not be sent as a header, and the HTTP library's complaint would quote it.
            raise ProviderAuthenticationError(
                gettext_noop("The key has characters that no key has."), provider=self.name
            )
        base_url = credentials.base_url or self.default_base_url
        key = PoolKey(self.name, credentials.api_key, base_url, self.timeouts.connect, credentials.guard)
        if self.sdk not in _LOADED:
            # SDKs take a second or two to import: in a thread, so that running streams go on meanwhile.
            await asyncio.to_thread(load_sdk, self.sdk)
        async with POOL.lease(key, lambda http: self._build(http, credentials, base_url)) as client:
            yield client

    async def _chunks(self, client: Any, request: CallRequest, answer: AnswerT) -> AsyncGenerator[Any, None]:
        """The SDK's events. However this ends, the response is closed, so that the provider stops writing."""
        from llm.providers.transport import watch_bodies

        bodies = watch_bodies()
        events = aiter(await self._open(client, request, answer))
        try:
            async for event in events:
                yield event
        finally:
            # An SDK's iterator is a chain of generators, and closing the first leaves the rest, with the connection, to
            # the garbage collector. With the body cut short they all run to their end at once.
            for body in bodies:
                body.cut()
            with contextlib.suppress(Exception):
                async for _ in events:
                    pass
            for body in bodies:
                await body.aclose()

    async def _paced(self, chunks: AsyncGenerator[ChunkT, None], answer: Answer) -> AsyncGenerator[ChunkT, None]:
        """The same chunks, none of them waited for too long. The consumer's own time counts towards ``total`` only."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self.timeouts.total
        try:
            while True:
                patience = self.timeouts.idle if answer.has_begun else self.timeouts.first_token
                try:
                    async with asyncio.timeout_at(min(loop.time() + patience, deadline)):
                        chunk = await anext(chunks)
                except StopAsyncIteration:
                    return
                yield chunk
        finally:
            await chunks.aclose()

    def _failure(self, error: Exception, answer: Answer | None = None) -> ProviderError:
        """Our own error for whatever was raised, without a reference to it."""
        if isinstance(error, ProviderError):
            return error
        request_id = answer.request_id if answer else ""
        refusal = self._refusal(error)
        if answer and answer.has_begun:
            status = refusal.status if refusal else None
            return StreamInterrupted(provider=self.name, status_code=status, provider_request_id=request_id)
        if refusal:
            return classify(refusal, self.name)
        kind: type[ProviderError] = ProviderError
        message = gettext_noop("The provider's answer could not be read.")
        import httpx2

        if isinstance(error, EOFError):
            kind, message = ProviderUnavailable, gettext_noop("The provider closed the connection without an answer.")
        elif isinstance(error, TimeoutError) or is_caused_by(error, httpx2.TimeoutException):
            kind, message = ProviderTimeout, ""
        elif forbidden := cause_of(error, HostForbidden):
            kind, message = ProviderHostForbidden, str(forbidden)
        elif is_caused_by(error, ResponseTooLargeError):
            message = gettext_noop("The provider's answer was too large or compressed.")
        elif is_caused_by(error, httpx2.TransportError):
            kind, message = ProviderUnavailable, gettext_noop("The connection to the provider failed.")
        failure = kind(message, provider=self.name, provider_request_id=request_id)
        # Before the request could be sent nothing was begun.
        never_sent = (httpx2.ConnectTimeout, httpx2.PoolTimeout)
        failure.may_be_billed = isinstance(failure, ProviderTimeout) and not is_caused_by(error, never_sent)
        return failure


# reading what vendors report -----------------------------------------------------------------------------------------


def token_count(report: Mapping[str, Any], *path: str) -> int | None:
    """The whole, sane, non-negative number at ``path``; 0 where the vendor leaves it out; None where it is nonsense."""
    value: Any = report
    for step in path:
        if value is None:
            return 0
        if not isinstance(value, Mapping):
            return None
        value = value.get(step)
    if value is None:
        return 0
    if type(value) is not int or not 0 <= value <= MAX_TOKEN_COUNT:
        return None
    return value


def as_mapping(model: Any) -> Mapping[str, Any] | None:
    """A vendor's usage object as plain data, wrong types and unknown fields included; None when it is no object."""
    if isinstance(model, Mapping):
        return model
    dump = getattr(model, "model_dump", None)
    if dump is None:
        return None
    data = dump(warnings=False)
    return data if isinstance(data, Mapping) else None


def json_object(arguments: str) -> dict[str, Any]:
    """A call's arguments as an object; models sometimes write something else, and then there are none."""
    try:
        value = json.loads(arguments)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
