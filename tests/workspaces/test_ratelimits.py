"""Rate limits: exact to the thousandth, and nothing taken by a call that is refused."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from django.db.models import F

from synapscale.common.errors import RateLimited
from tests.people import Cast, Person
from tests.workspaces.limiting import SECOND, Clock, buckets, clock, refusal, space_of, take, token_of
from workspaces import ratelimits
from workspaces.models import AccessToken, RateBucket
from workspaces.ratelimits import RateState, headers

__all__ = ["clock"]


# --- One limit --------------------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_without_a_limit_there_is_neither_a_row_nor_a_query(cast: Cast, django_assert_num_queries: Any) -> None:
    token = AccessToken.objects.select_related("workspace").get(user=cast.bob.user)
    with transaction.atomic(), django_assert_num_queries(0):
        assert ratelimits.take(workspace=token.workspace, access_token=token, tokens=10**9) == []
        assert ratelimits.take(workspace=token.workspace, access_token=None, tokens=10**9) == []
    assert buckets(cast.bob.workspace) == []


@pytest.mark.django_db
def test_a_limit_of_requests(bob: Person, clock: Clock) -> None:
    space, token = space_of(bob), token_of(bob, requests_per_minute=3)
    for remaining, seconds in ((2, 20), (1, 40), (0, 60)):
        assert take(space, token, 500) == [RateState("token", "requests", 3, remaining, seconds * SECOND)]
    clock.move(seconds=15)
    refused = refusal(space, token, 500)
    assert (refused.status, refused.code, refused.retry_after) == (429, "rate_limited", 5)
    assert refused.message == "The token may use 3 requests per minute."
    assert refused.details == {"limit": "requests", "of": "token", "per_minute": 3}
    assert refused.headers == {
        "x-ratelimit-limit-requests": "3",
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-reset-requests": "45s",
    }
    clock.move(seconds=4, milliseconds=999)
    assert refusal(space, token).retry_after == 1
    clock.move(milliseconds=1)
    assert take(space, token) == [RateState("token", "requests", 3, 0, timedelta(seconds=60))]
    assert refusal(space, token).retry_after == 20


@pytest.mark.django_db
def test_a_limit_of_tokens(bob: Person, clock: Clock) -> None:
    space, token = space_of(bob, tokens_per_minute=1000), token_of(bob)
    assert take(space, token, 900) == [RateState("workspace", "tokens", 1000, 100, 54 * SECOND)]
    refused = refusal(space, token, 101)
    assert refused.details == {"limit": "tokens", "of": "workspace", "per_minute": 1000}
    assert refused.retry_after == 1
    assert refused.headers["x-ratelimit-remaining-tokens"] == "100"
    assert take(space, token, 100)[0].remaining == 0
    clock.move(seconds=30)
    assert refusal(space, token, 501).retry_after == 1
    assert take(space, token, 500)[0].remaining == 0


@pytest.mark.django_db
def test_a_call_longer_than_a_minute_allows_passes_when_the_bucket_is_full(bob: Person, clock: Clock) -> None:
    space, token = space_of(bob, tokens_per_minute=1000), token_of(bob)
    assert take(space, token, 2500) == [RateState("workspace", "tokens", 1000, 0, 150 * SECOND)]
    assert buckets(space) == [(ratelimits.UNLIMITED, -1_500_000)]
    clock.move(seconds=89)
    assert refusal(space, token, 1).retry_after == 2  # below zero for one more second
    assert refusal(space, token, 2500).retry_after == 61
    clock.move(seconds=61)
    assert take(space, token, 2500)[0].reset == 150 * SECOND


@pytest.mark.django_db
def test_a_call_without_tokens_waits_while_the_bucket_is_below_zero(bob: Person, clock: Clock) -> None:
    space, token = space_of(bob, tokens_per_minute=60), token_of(bob)
    take(space, token, 70)
    assert refusal(space, token, 0).retry_after == 10
    clock.move(seconds=10)
    assert take(space, token, 0)[0].remaining == 0


@pytest.mark.django_db
def test_the_longest_wait_is_told(bob: Person, clock: Clock) -> None:
    space = space_of(bob, requests_per_minute=2, tokens_per_minute=6000)
    token = token_of(bob, requests_per_minute=1, tokens_per_minute=600)
    assert take(space, token, 300) == [
        RateState("token", "requests", 1, 0, 60 * SECOND),
        RateState("token", "tokens", 600, 300, 30 * SECOND),
        RateState("workspace", "requests", 2, 1, 30 * SECOND),
        RateState("workspace", "tokens", 6000, 5700, 3 * SECOND),
    ]
    clock.move(seconds=50)
    assert refusal(space, token, 600).details == {"limit": "requests", "of": "token", "per_minute": 1}
    clock.move(seconds=10)
    take(space, token, 600)
    refused = refusal(space, None, 7000)
    assert (refused.details["of"], refused.details["limit"], refused.retry_after) == ("workspace", "tokens", 6)


@pytest.mark.django_db
def test_a_refusal_by_the_workspace_takes_nothing_from_the_token(bob: Person, clock: Clock) -> None:
    space, token = space_of(bob, requests_per_minute=1), token_of(bob, requests_per_minute=10)
    take(space, token)
    before = buckets(space)
    with transaction.atomic(), pytest.raises(RateLimited):
        ratelimits.take(workspace=space, access_token=token, tokens=0)
    assert buckets(space) == before == [(9000, ratelimits.UNLIMITED), (0, ratelimits.UNLIMITED)]


@pytest.mark.django_db
def test_tokens_of_one_workspace_share_its_limit_and_nobody_elses(cast: Cast, clock: Clock) -> None:
    space = space_of(cast.alice, requests_per_minute=2)
    charlies = space_of(cast.charlie, requests_per_minute=2)
    take(space, token_of(cast.alice))
    take(space, token_of(cast.bob))
    refusal(space, token_of(cast.alice))
    assert take(charlies, token_of(cast.charlie))[0].remaining == 1


@pytest.mark.django_db
def test_a_limit_that_changes_applies_at_once(bob: Person, clock: Clock) -> None:
    space, token = space_of(bob), token_of(bob, requests_per_minute=100)
    take(space, token)
    token = token_of(bob, requests_per_minute=10)
    assert take(space, token)[0].remaining == 9
    token = token_of(bob, requests_per_minute=100)
    assert take(space, token)[0].remaining == 8
    token = token_of(bob, requests_per_minute=100, tokens_per_minute=5000)
    assert [state.remaining for state in take(space, token, 1)] == [7, 4999]  # a new limit begins full
    clock.move(seconds=6)
    assert take(space, token)[0].remaining == 16


@pytest.mark.django_db
def test_a_clock_that_is_set_back_locks_nobody_out(bob: Person, clock: Clock) -> None:
    space, token = space_of(bob), token_of(bob, requests_per_minute=1)
    take(space, token)
    clock.move(hours=-5)
    assert take(space, token)[0].remaining == 0
    assert refusal(space, token).retry_after == 60


@pytest.mark.django_db
def test_a_statement_that_began_before_the_bucket_was_filled_gains_nothing(bob: Person, clock: Clock) -> None:
    """It waited for the lock, so the database's clock says when it began to wait."""
    space, token = space_of(bob), token_of(bob, requests_per_minute=1)
    take(space, token)
    clock.move(seconds=-9)
    assert refusal(space, token).retry_after == 60
    clock.move(seconds=68)
    assert refusal(space, token).retry_after == 1


@pytest.mark.django_db
def test_the_real_clock_is_the_databases(bob: Person) -> None:
    space, token = space_of(bob), token_of(bob, requests_per_minute=1)
    take(space, token)
    RateBucket.objects.filter(workspace=space).update(filled_at=F("filled_at") - timedelta(seconds=59))
    assert refusal(space, token).retry_after == 1
    RateBucket.objects.filter(workspace=space).update(filled_at=F("filled_at") - timedelta(seconds=1))
    assert take(space, token)[0].remaining == 0


@pytest.mark.django_db
def test_fewer_than_no_tokens_can_not_be_needed(bob: Person) -> None:
    with pytest.raises(ValueError, match="fewer than no tokens"):
        take(bob.workspace, None, -1)


# --- Afterwards -------------------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_what_a_call_did_not_use_is_given_back_and_what_it_used_more_is_taken(bob: Person, clock: Clock) -> None:
    space, token = space_of(bob, tokens_per_minute=1000), token_of(bob, tokens_per_minute=500)
    take(space, token, 400)
    ratelimits.give_back(workspace_id=space.pk, access_token_id=token.pk, tokens=150)
    assert [tokens for _, tokens in buckets(space)] == [250_000, 750_000]
    ratelimits.give_back(workspace_id=space.pk, access_token_id=token.pk, tokens=-300)
    assert [tokens for _, tokens in buckets(space)] == [-50_000, 450_000]
    ratelimits.give_back(workspace_id=space.pk, access_token_id=None, tokens=1)
    assert [tokens for _, tokens in buckets(space)] == [-50_000, 451_000]


@pytest.mark.django_db
def test_what_is_given_back_does_not_overflow_the_bucket(bob: Person, clock: Clock) -> None:
    space, token = space_of(bob, tokens_per_minute=1000), token_of(bob)
    take(space, token, 400)
    clock.move(seconds=60)
    ratelimits.give_back(workspace_id=space.pk, access_token_id=token.pk, tokens=400)
    assert take(space, token, 0)[0].remaining == 1000


@pytest.mark.django_db
def test_nothing_is_given_back_where_no_bucket_is(cast: Cast, django_assert_num_queries: Any) -> None:
    token = token_of(cast.bob, tokens_per_minute=10)
    take(token.workspace, token, 5)
    ratelimits.give_back(workspace_id=cast.charlie.workspace.pk, access_token_id=token.pk, tokens=5)
    ratelimits.give_back(workspace_id=token.workspace_id, access_token_id=token_of(cast.alice).pk, tokens=5)
    assert [tokens for _, tokens in buckets(token.workspace)] == [5000]
    assert buckets(cast.charlie.workspace) == []
    with django_assert_num_queries(0):
        ratelimits.give_back(workspace_id=token.workspace_id, access_token_id=token.pk, tokens=0)
    with django_assert_num_queries(2):  # one for the token's row, one for the workspace's
        ratelimits.give_back(workspace_id=token.workspace_id, access_token_id=token.pk, tokens=1)


# --- Headers ----------------------------------------------------------------------------------------------------------


def state(of: str, kind: str, limit: int, remaining: int, **reset: float) -> RateState:
    return RateState(of, kind, limit, remaining, timedelta(**reset))


def test_headers_are_of_the_tightest_limit_of_each_kind() -> None:
    states = [
        state("token", "requests", 60, 59, seconds=1),
        state("token", "tokens", 1000, 400, seconds=36),
        state("workspace", "requests", 600, 12, seconds=58.8),
        state("workspace", "tokens", 90_000, 80_000, seconds=7),
    ]
    assert headers(states) == {
        "x-ratelimit-limit-requests": "600",
        "x-ratelimit-remaining-requests": "12",
        "x-ratelimit-reset-requests": "58.8s",
        "x-ratelimit-limit-tokens": "1000",
        "x-ratelimit-remaining-tokens": "400",
        "x-ratelimit-reset-tokens": "36s",
    }
    assert headers([]) == {}
    assert set(headers(states[1:2])) == {f"x-ratelimit-{what}-tokens" for what in ("limit", "remaining", "reset")}


@pytest.mark.parametrize(
    ("reset", "text"),
    [
        ({"seconds": 0}, "0s"),
        ({"microseconds": 1}, "1ms"),
        ({"milliseconds": 120}, "120ms"),
        ({"milliseconds": 999, "microseconds": 1}, "1s"),
        ({"seconds": 1}, "1s"),
        ({"seconds": 8, "milliseconds": 640}, "8.64s"),
        ({"seconds": 10}, "10s"),
        ({"seconds": 60}, "1m0s"),
        ({"minutes": 6}, "6m0s"),
        ({"minutes": 1, "seconds": 30, "milliseconds": 500}, "1m30.5s"),
        ({"hours": 1}, "1h0m0s"),
        ({"days": 1, "seconds": 1}, "24h0m1s"),
    ],
)
def test_how_a_time_is_written(reset: dict[str, int], text: str) -> None:
    assert headers([state("token", "requests", 1, 0, **reset)])["x-ratelimit-reset-requests"] == text
