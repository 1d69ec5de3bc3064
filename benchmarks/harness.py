"""What the benchmarks share: a database of their own, and requests that are timed."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

RUNS = 15
OK, SERVER_ERROR = 200, 500


@dataclass
class Case:
    """Something that is measured: ``call`` does it once and gives the response, if it is a request."""

    name: str
    call: Callable[[], Any]
    runs: int = RUNS
    status: int = OK
    times: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(self.times)

    def measure(self) -> None:
        """Run it, and note the milliseconds of each run after a first one that warms caches."""
        for run in range(self.runs):
            start = time.perf_counter()
            response = self.call()
            elapsed = (time.perf_counter() - start) * 1000
            if response is not None and response.status_code != self.status:
                raise SystemExit(f"{self.name}: {response.status_code} {response.content!r}")
            if run or self.runs == 1:
                self.times.append(elapsed)


def set_up() -> None:
    """Settings of its own, whatever the environment says, but for where the database is."""
    if not os.environ.get("DATABASE_URL", "").startswith("postgres"):
        raise SystemExit("Set DATABASE_URL to a database on a PostgreSQL server: see benchmarks/README.md.")
    os.environ["DJANGO_SETTINGS_MODULE"] = "synapscale.settings"
    os.environ["SECRET_KEY"] = "only for benchmarks, of no value whatever, and long enough for the checks"
    os.environ["MASTER_KEYS"] = "bench:only-for-benchmarks-of-no-value-whatever-and-long-enough"
    os.environ["HTTPS"], os.environ["DEBUG"] = "0", "0"
    os.environ["SYNAPSCALE_VAR_DIR"] = tempfile.mkdtemp(prefix="synapscale-bench-")
    import django

    django.setup()
    from django.conf import settings

    from synapscale.common import memory

    settings.ALLOWED_HOSTS = ["testserver"]
    memory.keep_what_is_there()  # as the server does


@contextmanager
def scratch_database() -> Iterator[None]:
    """A database with a name that nobody else has, migrated, and dropped at the end."""
    from django.db import connection

    name = connection.settings_dict["NAME"]
    connection.settings_dict["TEST"]["NAME"] = f"synapscale_bench_{uuid.uuid4().hex}"
    connection.creation.create_test_db(verbosity=0, autoclobber=False, serialize=False)
    try:
        yield
    finally:
        connection.creation.destroy_test_db(name, verbosity=0)


def make_database(server: str, name: str) -> None:
    """A database on the server of the URL ``server``, unless it is there."""
    import psycopg
    from psycopg import sql

    with psycopg.connect(server, autocommit=True) as connection:
        if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone():
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))


@contextmanager
def migrated_database() -> Iterator[None]:
    """The database of the settings, migrated, and kept."""
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    yield


def print_table(measured: Sequence[Case], *, limit_ms: float) -> list[str]:
    """The times of all cases, the first two being what they are compared to; the names of those over the limit."""
    slow = []
    trip, fetch = measured[0].median, measured[1].median
    print("\n| case | median ms | max ms | × SELECT 1 | × one by key |\n|---|---:|---:|---:|---:|")
    for case in measured:
        is_slow = case.median > limit_ms
        slow += [case.name] * is_slow
        print(
            f"| {case.name} | {case.median:.2f}{' (!)' * is_slow} | {max(case.times):.2f} "
            f"| {case.median / trip:.0f} | {case.median / fetch:.1f} |"
        )
    return slow


def round_trip() -> None:
    """What any statement costs."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        cursor.fetchone()
