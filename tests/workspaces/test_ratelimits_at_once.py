"""Rate limits when many ask at once: nobody takes what another has taken, and nobody waits in a circle."""

from __future__ import annotations

import threading

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from synapscale.common.errors import RateLimited
from tests.people import Cast, Person
from tests.together import at_once
from tests.workspaces.limiting import Clock, buckets, clock, space_of, take, token_of
from workspaces import ratelimits
from workspaces.models import AccessToken, Workspace

__all__ = ["clock"]


def passes(workspace: Workspace, token: AccessToken | None, tokens: int = 0) -> bool:
    try:
        take(workspace, token, tokens)
    except RateLimited:
        return False
    return True


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("of", ["token", "workspace"])
def test_fifty_at_once_on_a_limit_of_ten(bob: Person, clock: Clock, of: str) -> None:
    """Nobody has called before, so that all of them find no row."""
    space = space_of(bob, requests_per_minute=10 if of == "workspace" else None)
    token = token_of(bob, requests_per_minute=10 if of == "token" else None)

    results = at_once(50, lambda number: passes(space, token))

    assert sorted(results) == [False] * 40 + [True] * 10
    assert buckets(space) == [(0, ratelimits.UNLIMITED)]


@pytest.mark.django_db(transaction=True)
def test_two_tokens_of_one_workspace_at_once_never_wait_for_each_other_in_a_circle(cast: Cast, clock: Clock) -> None:
    space = space_of(cast.alice, requests_per_minute=15, tokens_per_minute=10_000)
    tokens = [token_of(person, requests_per_minute=10) for person in (cast.alice, cast.bob)]

    def call(number: int) -> bool:
        token = tokens[number % 2]
        passed = passes(space, token, 100)
        if passed:
            ratelimits.give_back(workspace_id=space.pk, access_token_id=token.pk, tokens=40)
        return passed

    results = at_once(40, call)

    assert sum(results) == 15
    left = buckets(space)
    assert left[2] == (0, 10_000_000 - 15 * 60_000)
    assert left[0][0] + left[1][0] == 20_000 - 15_000


@pytest.mark.django_db(transaction=True)
def test_it_waits_for_a_caller_that_has_not_committed_and_counts_what_that_one_took(bob: Person, clock: Clock) -> None:
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has one writer at a time")
    space, token = space_of(bob), token_of(bob, requests_per_minute=1)
    results: list[bool] = []
    other = threading.Thread(target=lambda: (results.append(passes(space, token)), connection.close()))
    with transaction.atomic():
        ratelimits.take(workspace=space, access_token=token, tokens=0)
        other.start()
        wait_until_somebody_waits()
        assert results == []
    other.join()
    assert results == [False]


def wait_until_somebody_waits() -> None:
    from tests.conftest import wait_for

    def waits() -> bool:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
            )
            return bool(cursor.fetchone()[0])

    wait_for(waits, "the other caller to wait for the lock")


@pytest.mark.django_db
def test_the_tokens_row_is_locked_before_the_workspaces(bob: Person, clock: Clock) -> None:
    space, token = space_of(bob, requests_per_minute=9), token_of(bob, requests_per_minute=9)

    def looks() -> list[str]:
        with transaction.atomic(), CaptureQueriesContext(connection) as queries:
            ratelimits.take(workspace=space, access_token=token, tokens=0)
        selects = [query["sql"] for query in queries.captured_queries if query["sql"].startswith("SELECT")]
        return ["workspace" if '"access_token_id" IS NULL' in sql else "token" for sql in selects]

    assert looks() == ["token", "token", "workspace", "workspace"]  # looked for, inserted, locked
    assert looks() == ["token", "workspace"]


@pytest.mark.django_db
def test_a_transaction_that_is_rolled_back_has_taken_nothing(bob: Person, clock: Clock) -> None:
    space, token = space_of(bob, tokens_per_minute=100), token_of(bob, requests_per_minute=10)

    def take_and_roll_back() -> None:
        with transaction.atomic():
            ratelimits.take(workspace=space, access_token=token, tokens=30)
            transaction.set_rollback(True)

    take_and_roll_back()
    assert buckets(space) == []
    take(space, token, 30)
    before = buckets(space)
    take_and_roll_back()
    assert buckets(space) == before == [(9000, ratelimits.UNLIMITED), (ratelimits.UNLIMITED, 70_000)]


@pytest.mark.django_db(transaction=True)
def test_it_is_taken_inside_a_transaction_only(bob: Person) -> None:
    with pytest.raises(transaction.TransactionManagementError):
        ratelimits.take(workspace=bob.workspace, access_token=token_of(bob, requests_per_minute=1), tokens=0)
