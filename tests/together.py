"""Several callers at the same moment, each on a thread and a database connection of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from django.db import connection

T = TypeVar("T")


def at_once(count: int, job: Callable[[int], T]) -> list[T]:
    """What ``count`` threads bring back that begin ``job(number)`` at the same moment."""
    barrier, results = threading.Barrier(count), dict[int, T]()

    def work(number: int) -> None:
        try:
            barrier.wait()
            results[number] = job(number)
        finally:
            connection.close()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == count, "a thread broke: see its traceback"
    return [results[number] for number in range(count)]
