"""A provider call under way.

It belongs to the server, not to the client that asked: it runs in a task of its own, so a client that goes away neither
stops the answer nor its charge, unless the endpoint stops it. While it waits it holds no thread and no database
connection. Every couple of seconds the text so far is saved and the lease renewed, so a crash loses at most that much.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
import uuid
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

from django.conf import settings
from django.db import DatabaseError, InterfaceError, OperationalError, transaction
from django.utils import timezone

from billing import holds
from conversations.admission import Admitted
from conversations.fallbacks import FallBack
from conversations.models import Message
from conversations.outcomes import Outcome
from conversations.settling import settle_from_spool, spool
from conversations.tries import Piece, Try
from llm.types import TextDelta
from synapscale.common import metrics
from synapscale.common.db import in_db

logger = logging.getLogger(__name__)
ResultT = TypeVar("ResultT")
_SETTLE_PATIENCE = timedelta(minutes=10)
"""How long a call tries to settle while the database is away; after that the spool keeps the outcome."""

_running: set[asyncio.Task[Any]] = set()
_under_way: set[Call] = set()


class Unsettled(Exception):
    """The answer is complete and on disk, but the database has been away too long to store it now."""


class NotMade(Unsettled):
    """The database has been away since the call was admitted, so the provider was not called; the hold is the sweeper's."""


class Call:
    """One admitted call. ``run`` makes it; any number of clients listen with ``pieces`` or wait for ``outcome``."""

    def __init__(self, admitted: Admitted, *, streams: bool) -> None:
        self.admitted = admitted
        self.streams = streams
        self._changed = asyncio.Event()
        self._try = self._next_try()
        self._saved = self._try.progress
        self._is_stopped = False
        # A checkpoint and a change of models never overlap: the one renews the hold that the other gives up.
        self._hold_in_use = asyncio.Lock()
        self._task: asyncio.Task[tuple[Message, Outcome]] | None = None
        self._maker: asyncio.Task[Outcome] | None = None

    @property
    def answer(self) -> Message:
        """The pending answer, as the model at work was admitted for it."""
        return self.admitted.answer

    def start(self) -> None:
        """Run in a task of the server's, kept until it ends."""
        self._task = asyncio.create_task(self._run(), name=f"call {self.answer.pk}")
        _running.add(self._task)
        _under_way.add(self)
        self._task.add_done_callback(_running.discard)
        metrics.CALLS_IN_FLIGHT.inc()
        self._task.add_done_callback(lambda _: metrics.CALLS_IN_FLIGHT.dec())
        self._task.add_done_callback(lambda _: _under_way.discard(self))
        self._task.add_done_callback(lambda _: self._changed.set())

    def stop(self) -> None:
        """End the call at the provider; what has arrived is settled. Nothing, when it has ended already."""
        self._is_stopped = True
        if self._maker is not None and not self._maker.done():
            self._maker.cancel()

    async def outcome(self) -> tuple[Message, Outcome]:
        """The settled message and how the call ended. Being cancelled here does not cancel the call."""
        assert self._task is not None
        return await asyncio.shield(self._task)

    async def pieces(self) -> AsyncIterator[list[Piece]]:
        """What the model writes, as it comes, from its beginning; an empty list from time to time when nothing has come.

        A slow listener holds nobody up: it gets what has gathered in one list. The model at work can change only before
        the first piece.
        """
        assert self._task is not None
        position = 0
        while True:
            is_done = self._task.done()
            pieces = self._try.pieces
            if position < len(pieces):
                gathered = pieces[position:]
                position += len(gathered)
                yield gathered
            elif is_done:
                return
            else:
                self._changed.clear()
                try:
                    await asyncio.wait_for(self._changed.wait(), timeout=10)
                except TimeoutError:
                    yield []

    async def text(self) -> AsyncIterator[str]:
        """The answer's text alone; "" from time to time when nothing new has come."""
        async for pieces in self.pieces():
            text = "".join(piece.text for piece in pieces if isinstance(piece, TextDelta))
            if text or not pieces:
                yield text

    async def first_piece(self, *, seconds: float) -> None:
        """Wait until the first piece has come, the call has ended, or the time is over."""
        assert self._task is not None
        deadline = time.monotonic() + seconds
        while not self._try.pieces and not self._task.done() and (left := deadline - time.monotonic()) > 0:
            self._changed.clear()
            try:
                await asyncio.wait_for(self._changed.wait(), timeout=left)
            except TimeoutError:
                return

    @property
    def has_pieces(self) -> bool:
        return bool(self._try.pieces)

    @property
    def has_ended(self) -> bool:
        assert self._task is not None
        return self._task.done()

    async def _run(self) -> tuple[Message, Outcome]:
        try:
            await self._in_db_patiently(self._dispatch)
        except Unsettled as error:
            raise NotMade from error
        except holds.HoldGone:  # admitted, but its lease ran out before it could start
            outcome = self._try.taken_away()
            return await self._settle(outcome), outcome
        # A renewal that fails cancels the call: without its hold it may not go on.
        keeper = asyncio.create_task(self._keep_lease())
        self._maker = maker = asyncio.create_task(self._make())
        if self._is_stopped:
            maker.cancel()
        try:
            await asyncio.wait({keeper, maker}, return_when=asyncio.FIRST_COMPLETED)
            if not maker.done():
                maker.cancel()
                await asyncio.wait({maker})
            outcome = self._outcome_of(maker)
            # The keeper goes on until the answer is settled: the lease must not run out while the database is away.
            message = await self._settle(outcome)
        except asyncio.CancelledError:
            maker.cancel()  # the server is going down for good; the checkpoint and the sweeper take over
            raise
        finally:
            keeper.cancel()
            await asyncio.wait({keeper})
        return message, outcome

    def _outcome_of(self, maker: asyncio.Task[Outcome]) -> Outcome:
        if maker.cancelled():
            return self._try.stopped() if self._is_stopped else self._try.taken_away()
        try:
            return maker.result()
        except Exception:  # a bug of ours: the customer's money must not stay held because of it
            logger.exception("call %s broke off", self.answer.pk)
            return self._try.given_up()

    async def _make(self) -> Outcome:
        """Call one model after another until one has answered or none is left."""
        while True:
            outcome = await self._try.run(has_another=bool(self.admitted.plan.fallbacks))
            try:
                if not self._try.may_be_followed or not await self._fall_back(outcome):
                    return outcome
            except Unsettled:  # no database to admit another model; the outcome goes to the spool
                return outcome

    async def _fall_back(self, outcome: Outcome) -> bool:
        """Pass on to the next model, if one can answer.

        To its end, also when the call is stopped meanwhile: the transaction can't be called back, and what is settled
        then is the attempt that it has begun.
        """
        if not self.admitted.plan.fallbacks:
            return False
        async with self._hold_in_use:
            change = asyncio.ensure_future(self._in_db_patiently(FallBack(self.admitted, outcome).make))
            cancelled: asyncio.CancelledError | None = None
            while not change.done():
                try:
                    await asyncio.wait({change})
                except asyncio.CancelledError as error:
                    cancelled = error
            following: Admitted | None = None
            try:
                following = change.result()
            except (Unsettled, asyncio.CancelledError):
                raise
            except Exception:
                # It was rolled back. Whatever it was, the attempt's own outcome is settled: no money stays held for it.
                logger.exception("call %s can't go on with another model", self.answer.pk)
            if following is not None:
                logger.warning("call %s goes on with %s", self.answer.pk, following.plan.llm)
                self.admitted = following
                self._try = self._next_try()
                self._saved = self._try.progress
        if cancelled is not None:
            raise cancelled
        return following is not None

    def _next_try(self) -> Try:
        return Try(self.admitted.request, self.admitted.credentials, streams=self.streams, on_piece=self._changed.set)

    async def _keep_lease(self) -> None:
        """Checkpoint what is new and renew the lease until cancelled. Returns when the hold is gone."""
        renewed = time.monotonic()
        while True:
            await asyncio.sleep(settings.CHECKPOINT_SECONDS)
            is_due = time.monotonic() - renewed >= settings.HOLD_LEASE_SECONDS / 4
            try:
                async with self._hold_in_use:
                    has_news = self._try.progress != self._saved
                    if not has_news and not is_due:
                        continue
                    await in_db(self._checkpoint, has_news)
            except holds.HoldGone:
                return
            except (DatabaseError, InterfaceError) as error:
                logger.warning("checkpoint of call %s failed: %s", self.answer.pk, type(error).__name__)
                continue
            except Exception:  # a bug of ours must not end a call that goes well
                logger.exception("checkpoint of call %s failed", self.answer.pk)
                continue
            renewed = time.monotonic()

    def _checkpoint(self, has_news: bool) -> None:
        answer, progress = self.answer, self._try.progress
        assert answer.hold_id is not None
        state = self._try.so_far()
        with transaction.atomic(durable=True):
            if has_news:
                keeps_content = answer.call["terms"]["keeps_content"]
                # update(), not save(): a checkpoint is not a final message, so nothing is metered.
                Message.objects.filter(
                    workspace_id=answer.workspace_id, pk=answer.pk, status__in=["pending", "streaming"]
                ).update(
                    content=state.text if keeps_content else "",
                    status=Message.Status.STREAMING,
                    call={**answer.call, "checkpoint": state.as_checkpoint()},
                    updated_at=timezone.now(),
                )
            holds.renew(workspace_id=answer.workspace_id, hold_id=answer.hold_id)
        self._saved = progress

    def _dispatch(self) -> None:
        assert self.answer.hold_id is not None
        holds.dispatch(workspace_id=self.answer.workspace_id, hold_id=self.answer.hold_id)

    async def _settle(self, outcome: Outcome) -> Message:
        """Put the outcome on disk, then into the database. What is not to be kept is not even spooled; whoever asked gets
        to see it all the same.
        """
        keeps_content, outcome = self.answer.call["terms"]["keeps_content"], outcome.storable()
        what: dict[str, Any] = {
            "workspace_id": self.answer.workspace_id,
            "message_id": self.answer.pk,
            "outcome": outcome if keeps_content else outcome.without_content(),
        }
        # Not on a database thread: while the database is away all of those wait for it, and the answer must not.
        await asyncio.to_thread(partial(spool, **what))
        message = await self._in_db_patiently(partial(settle_from_spool, **what, was_shown=self.streams))
        if not keeps_content:
            message.content = outcome.content
            message.tool_calls = outcome.as_json()["tool_calls"]
        return message

    async def _in_db_patiently(self, job: Callable[[], ResultT]) -> ResultT:
        """Run ``job`` until the database takes it: an answer that was produced is not given up for a restart."""
        deadline, wait = time.monotonic() + _SETTLE_PATIENCE.total_seconds(), 0.1
        while True:
            try:
                return await in_db(job)
            except (OperationalError, InterfaceError) as error:
                if time.monotonic() > deadline:
                    raise Unsettled from error
                logger.warning("database away, call %s waits: %s", self.answer.pk, type(error).__name__)
                await asyncio.sleep(random.uniform(0.5, 1) * wait)
                wait = min(wait * 2, 5)


def running() -> int:
    """How many calls this process has under way."""
    return len(_running)


def running_holds() -> set[uuid.UUID]:
    """The holds of the calls that this process has under way; from any thread."""
    return {hold for call in tuple(_under_way) if (hold := call.answer.hold_id) is not None}


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
