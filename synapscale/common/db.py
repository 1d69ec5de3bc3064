"""Database work beside an event loop: short jobs on a few threads, and transactions that are tried again.

While a provider is being waited for, no thread and no connection is held: a coroutine hands a whole transaction to
``in_db`` and awaits its result.
"""

from __future__ import annotations

import asyncio
import contextvars
import random
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from typing import ParamSpec, TypeVar

from django.conf import settings
from django.db import OperationalError, connection

P = ParamSpec("P")
T = TypeVar("T")

# PostgreSQL: deadlock, lock timeout, serialization failure.
_RETRYABLE_STATES = {"40P01", "55P03", "40001"}
_ATTEMPTS = 5


_BACKGROUND_THREADS = 2
"""More would only take connections from the requests."""


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=settings.DATABASE_THREADS, thread_name_prefix="db")


@cache
def _background_threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=_BACKGROUND_THREADS, thread_name_prefix="background")


@cache
def _probe_thread() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix="probe")


def shut_down() -> None:
    """Let the database threads end, and their connections with them."""
    for threads in (_threads, _background_threads, _probe_thread):
        threads().shutdown(wait=True)
        threads.cache_clear()


async def in_db(job: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run ``job`` on a database thread and give its connection back before returning.

    The job runs to its end even when the awaiting task is cancelled, also one that still waits for a thread: it is done
    as a whole, whoever asked for it.
    """
    return await _on(_threads(), job, *args, **kwargs)


async def in_background(job: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """The same for work that may take minutes and that nobody waits for: on threads of its own, so that no message waits
    behind it.
    """
    return await _on(_background_threads(), job, *args, **kwargs)


def submit_probe(job: Callable[[], T]) -> Future[T]:
    """Run a short ``job`` that looks after the system itself: on a thread of its own, so that neither messages nor long
    work are in its way. From any event loop, or none.
    """
    return _probe_thread().submit(_giving_back, job)


async def _on(threads: ThreadPoolExecutor, job: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    context = contextvars.copy_context()

    def run() -> T:
        return _giving_back(job, *args, **kwargs)

    work = asyncio.get_running_loop().run_in_executor(threads, context.run, run)
    work.add_done_callback(lambda done: done.exception())  # looked at, should nobody wait for it any more
    return await asyncio.shield(work)


def _giving_back(job: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run ``job``, then give this thread's connection back."""
    try:
        return job(*args, **kwargs)
    finally:
        if connection.vendor == "postgresql":
            connection.close()  # back to the pool
        else:
            connection.close_if_unusable_or_obsolete()


def is_retryable(error: OperationalError) -> bool:
    """Whether the same transaction can succeed when it is run again."""
    state = getattr(error.__cause__, "sqlstate", None)
    return state in _RETRYABLE_STATES or "database is locked" in str(error)


def retry_transaction(job: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run ``job`` (one whole transaction, no provider call in it) again when the engine asks for it, at most 5 times."""
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            return job(*args, **kwargs)
        except OperationalError as error:
            if attempt == _ATTEMPTS or not is_retryable(error):
                raise
            time.sleep(random.uniform(0.01, 0.05) * 2**attempt)
    raise AssertionError("unreachable")
