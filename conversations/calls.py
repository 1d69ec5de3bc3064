"""A provider call under way.

It belongs to the server, not to the client that asked: it runs in a task of its own, so a client that goes away neither
stops the answer nor its charge. While it waits it holds no thread and no database connection. Every couple of seconds the
text so far is saved and the lease renewed, so a crash loses at most that much.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import random
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import DatabaseError, InterfaceError, OperationalError, transaction
from django.utils import timezone

from billing import holds
from conversations.admission import Admitted
from conversations.models import Message
from conversations.outcomes import Outcome
from conversations.settling import settle_spooled
from llm import client
from llm.errors import ProviderError
from llm.types import CallResult, TextDelta, Usage, UsageSeen
from synapscale.common.db import in_db

logger = logging.getLogger(__name__)
_SETTLE_PATIENCE = timedelta(minutes=10)
"""How long a call tries to settle while the database is away; after that the spool keeps the outcome."""

_running: set[asyncio.Task[Any]] = set()


class Unsettled(Exception):
    """The answer is complete and on disk, but the database has been away too long to store it now."""


class Call:
    """One admitted call. ``run`` makes it; any number of clients listen with ``text`` or wait for ``outcome``."""

    def __init__(self, admitted: Admitted, *, streams: bool) -> None:
        self.admitted = admitted
        self.answer = admitted.answer
        self.streams = streams
        self._parts: list[str] = []
        self._changed = asyncio.Event()
        self._saved_parts = 0
        self._seen_usage: Usage | None = None
        self._started = time.monotonic()
        self._first_token_ms: int | None = None
        self._task: asyncio.Task[tuple[Message, Outcome]] | None = None

    def start(self) -> None:
        """Run in a task of the server's, kept until it ends."""
        self._task = asyncio.create_task(self._run(), name=f"call {self.answer.pk}")
        _running.add(self._task)
        self._task.add_done_callback(_running.discard)
        self._task.add_done_callback(lambda _: self._changed.set())

    async def outcome(self) -> tuple[Message, Outcome]:
        """The settled message and how the call ended. Being cancelled here does not cancel the call."""
        assert self._task is not None
        return await asyncio.shield(self._task)

    async def text(self) -> AsyncIterator[str]:
        """The answer's text as it comes, from its beginning; "" from time to time when nothing new has come.

        A slow listener holds nobody up: it gets what has gathered in one piece.
        """
        assert self._task is not None
        position = 0
        while True:
            is_done = self._task.done()
            if position < len(self._parts):
                gathered = "".join(self._parts[position:])
                position = len(self._parts)
                yield gathered
            elif is_done:
                return
            else:
                self._changed.clear()
                try:
                    await asyncio.wait_for(self._changed.wait(), timeout=10)
                except TimeoutError:
                    yield ""

    async def _run(self) -> tuple[Message, Outcome]:
        try:
            await self._in_db_patiently(self._dispatch)
        except holds.HoldGone:  # admitted, but its lease ran out before it could start
            outcome = self._taken_away()
            return await self._in_db_patiently(self._settle, outcome), outcome
        # A renewal that fails cancels the call: without its hold it may not go on.
        keeper = asyncio.create_task(self._keep_lease())
        maker = asyncio.create_task(self._make())
        try:
            await asyncio.wait({keeper, maker}, return_when=asyncio.FIRST_COMPLETED)
            if not maker.done():
                maker.cancel()
                await asyncio.wait({maker})
            outcome = self._taken_away() if maker.cancelled() else maker.result()
            # The keeper goes on until the answer is settled: the lease must not run out while the database is away.
            message = await self._in_db_patiently(self._settle, outcome)
        except asyncio.CancelledError:
            maker.cancel()  # the server is going down for good; the checkpoint and the sweeper take over
            raise
        finally:
            keeper.cancel()
            await asyncio.wait({keeper})
        return message, outcome

    async def _make(self) -> Outcome:
        """Call the provider; every way it can end is an Outcome."""
        request, credentials = self.admitted.request, self.admitted.credentials
        try:
            if not self.streams:
                result = await client.complete(request, credentials)
                self._take(result.text)
                return self._finished(result)
            async with contextlib.aclosing(client.stream(request, credentials)) as events:  # type: ignore[type-var]
                async for event in events:
                    if isinstance(event, TextDelta):
                        self._take(event.text)
                    elif isinstance(event, UsageSeen):
                        self._seen_usage = event.usage
                    else:
                        return self._finished(event)
            raise ProviderError("The provider's answer had no end.", provider=credentials.provider)
        except ProviderError as error:
            return self._failed(error)
        except Exception as error:
            # A bug of ours in an adapter: the customer's money must not stay held because of it.
            logger.exception("call %s failed unexpectedly", self.answer.pk)
            return self._failed(ProviderError(provider=credentials.provider), detail=type(error).__name__)

    def _take(self, text: str) -> None:
        # PostgreSQL stores neither NUL nor lone surrogates.
        text = text.replace("\x00", "").encode("utf-8", "replace").decode()
        if not text:
            return
        if self._first_token_ms is None:
            self._first_token_ms = self._elapsed_ms()
        self._parts.append(text)
        self._changed.set()

    def _elapsed_ms(self) -> int:
        return int((time.monotonic() - self._started) * 1000)

    def _finished(self, result: CallResult) -> Outcome:
        return Outcome(
            status=Message.Status.SENT,
            content="".join(self._parts),
            tool_calls=result.tool_calls,
            finish_reason=result.finish_reason,
            usage=result.usage,
            seen_usage=self._seen_usage,
            status_code=result.status_code,
            provider_request_id=result.provider_request_id,
            latency_ms=self._elapsed_ms(),
            time_to_first_token_ms=self._first_token_ms,
        )

    def _failed(self, error: ProviderError, *, detail: str = "") -> Outcome:
        content = "".join(self._parts)
        logger.warning("call %s to %s failed: %s %s", self.answer.pk, error.provider, error.code, detail)
        return Outcome(
            status=Message.Status.INTERRUPTED if content else Message.Status.ERROR,
            content=content,
            seen_usage=self._seen_usage,
            error_code=error.code,
            error_message=error.message,
            status_code=error.status_code,
            provider_request_id=error.provider_request_id,
            latency_ms=self._elapsed_ms(),
            time_to_first_token_ms=self._first_token_ms,
            http_status=error.http_status,
            retry_after=None if error.retry_after is None else math.ceil(error.retry_after),
        )

    def _taken_away(self) -> Outcome:
        """The sweeper finished this call in the meantime; settling will find it final."""
        content = "".join(self._parts)
        return Outcome(
            status=Message.Status.INTERRUPTED if content else Message.Status.ERROR,
            content=content,
            error_code="interrupted",
            error_message="The call lost its reservation.",
            http_status=503,
        )

    async def _keep_lease(self) -> None:
        """Checkpoint new text and renew the lease until cancelled. Returns when the hold is gone."""
        renewed = time.monotonic()
        while True:
            await asyncio.sleep(settings.CHECKPOINT_SECONDS)
            has_news = len(self._parts) > self._saved_parts
            if not has_news and time.monotonic() - renewed < settings.HOLD_LEASE_SECONDS / 4:
                continue
            try:
                await in_db(self._checkpoint, has_news)
            except holds.HoldGone:
                return
            except (DatabaseError, InterfaceError) as error:
                logger.warning("checkpoint of call %s failed: %s", self.answer.pk, type(error).__name__)
                continue
            renewed = time.monotonic()

    def _checkpoint(self, has_news: bool) -> None:
        hold_id, workspace_id = self.answer.hold_id, self.answer.workspace_id
        assert hold_id is not None
        count = len(self._parts)
        with transaction.atomic(durable=True):
            if has_news:
                checkpoint = {
                    "seen_usage": self._seen_usage.as_dict() if self._seen_usage else None,
                    "latency_ms": self._elapsed_ms(),
                    "time_to_first_token_ms": self._first_token_ms,
                }
                # update(), not save(): a checkpoint is not a final message, so nothing is metered.
                Message.objects.filter(
                    workspace_id=workspace_id, pk=self.answer.pk, status__in=["pending", "streaming"]
                ).update(
                    content="".join(self._parts[:count]),
                    status=Message.Status.STREAMING,
                    call={**self.answer.call, "checkpoint": checkpoint},
                    updated_at=timezone.now(),
                )
            holds.renew(workspace_id=workspace_id, hold_id=hold_id)
        self._saved_parts = count

    def _dispatch(self) -> None:
        assert self.answer.hold_id is not None
        holds.dispatch(workspace_id=self.answer.workspace_id, hold_id=self.answer.hold_id)

    def _settle(self, outcome: Outcome) -> Message:
        return settle_spooled(workspace_id=self.answer.workspace_id, message_id=self.answer.pk, outcome=outcome)

    async def _in_db_patiently(self, job: Any, *args: Any) -> Any:
        """Run ``job`` until the database takes it: an answer that was produced is not given up for a restart."""
        deadline, wait = time.monotonic() + _SETTLE_PATIENCE.total_seconds(), 0.1
        while True:
            try:
                return await in_db(job, *args)
            except (OperationalError, InterfaceError) as error:
                if time.monotonic() > deadline:
                    raise Unsettled from error
                logger.warning("database away, call %s waits: %s", self.answer.pk, type(error).__name__)
                await asyncio.sleep(random.uniform(0.5, 1) * wait)
                wait = min(wait * 2, 5)


def running() -> int:
    """How many calls this process has under way."""
    return len(_running)


async def drain(*, seconds: float) -> None:
    """Wait for the calls under way, so that a deploy cuts none; what is left after ``seconds`` is the sweeper's."""
    tasks = set(_running)
    if not tasks:
        return
    logger.info("waiting up to %s s for %s calls", seconds, len(tasks))
    _, left = await asyncio.wait(tasks, timeout=seconds)
    for task in left:
        task.cancel()
    if left:
        await asyncio.wait(left, timeout=5)
        logger.warning("%s calls were cut off; the sweeper settles them from their checkpoints", len(left))
