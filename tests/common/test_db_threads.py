"""Jobs on the database threads run to their end, whoever stops waiting for them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.conf import settings

from synapscale.common.db import in_db
from tests.conftest import wait_for

pytestmark = pytest.mark.django_db(transaction=True)


@contextmanager
def all_threads_busy() -> Iterator[None]:
    """Every database thread waits, as when the database is away."""
    go_on, together = threading.Event(), threading.Barrier(settings.DATABASE_THREADS + 1)

    def wait() -> None:
        together.wait(30)
        go_on.wait(30)

    from synapscale.common.db import _threads

    jobs = [_threads().submit(wait) for _ in range(settings.DATABASE_THREADS)]
    together.wait(30)
    try:
        yield
    finally:
        go_on.set()
        for job in jobs:
            job.result()


def test_a_job_that_still_waits_for_a_thread_is_done_though_nobody_waits_for_it() -> None:
    done: list[str] = []

    async def ask_and_go_away() -> None:
        with all_threads_busy():
            asking = asyncio.create_task(in_db(done.append, "done"))
            await asyncio.sleep(0)
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
            assert done == []
        await asyncio.to_thread(wait_for, lambda: done == ["done"], "the job to be done")

    asyncio.run(ask_and_go_away())


def test_what_a_forgotten_job_raises_is_nobodys_business(caplog: pytest.LogCaptureFixture) -> None:
    ended = threading.Event()

    def fail() -> None:
        try:
            raise RuntimeError("too late")
        finally:
            ended.set()

    async def ask_and_go_away() -> None:
        with all_threads_busy():
            asking = asyncio.create_task(in_db(fail))
            await asyncio.sleep(0)
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
        await asyncio.to_thread(ended.wait, 10)

    asyncio.run(ask_and_go_away())
    assert caplog.text == ""


def test_its_result_and_its_error_reach_who_waits() -> None:
    assert asyncio.run(in_db(lambda: 5)) == 5
    with pytest.raises(ZeroDivisionError):
        asyncio.run(in_db(lambda: 1 // 0))
