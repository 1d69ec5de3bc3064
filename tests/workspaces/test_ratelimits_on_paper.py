"""Rate limits against a model on paper: exact to the thousandth, whatever happens."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction
from typing import Any

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from synapscale.common.errors import RateLimited
from tests.people import Person
from tests.workspaces.limiting import SECOND, Clock, clock, space_of, take, token_of
from workspaces import ratelimits

__all__ = ["clock"]


@dataclass(frozen=True)
class Paper:
    """A bucket as a mathematician has it: it fills without a pause."""

    limits: dict[str, int]
    moment: datetime
    level: dict[str, Fraction]

    @classmethod
    def full(cls, now: datetime, **limits: int | None) -> Paper:
        some = {kind: limit for kind, limit in limits.items() if limit}
        return cls(some, now, {kind: Fraction(limit) for kind, limit in some.items()})

    def at(self, now: datetime) -> Paper:
        minutes = Fraction((now - self.moment) // timedelta(microseconds=1), 60_000_000)
        level = {kind: min(left + self.limits[kind] * minutes, self.limits[kind]) for kind, left in self.level.items()}
        return Paper(self.limits, now, {kind: Fraction(left) for kind, left in level.items()})

    def has(self, *, slack: Fraction = Fraction(0), **need: int) -> bool:
        return all(left + slack >= min(need[kind], self.limits[kind]) for kind, left in self.level.items())

    def plus(self, **amounts: int) -> Paper:
        level = {kind: left + amounts.get(kind, 0) for kind, left in self.level.items()}
        return Paper(self.limits, self.moment, level)

    @property
    def slack(self) -> Fraction:
        """Of two limits of which one is at the brim, the other is not exact; but never by a thousandth."""
        return Fraction(len(self.limits) - 1, 1000)


REQUESTS, TOKENS = st.none() | st.integers(1, 40), st.none() | st.integers(20, 400)
STEPS = st.lists(
    st.tuples(st.just("wait"), st.integers(0, 20_000_000))
    | st.tuples(st.just("take"), st.integers(0, 600))
    | st.tuples(st.just("give back"), st.integers(-200, 200)),
    max_size=25,
)


@pytest.mark.django_db
@given(limits=st.tuples(REQUESTS, TOKENS, REQUESTS, TOKENS), steps=STEPS)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_happens_it_is_as_on_paper(bob: Person, clock: Clock, limits: Any, steps: Any) -> None:
    with transaction.atomic():
        _compare_with_paper(bob, clock, limits, steps)
        transaction.set_rollback(True)


def _compare_with_paper(bob: Person, clock: Clock, limits: Any, steps: Any) -> None:
    token = token_of(bob, requests_per_minute=limits[0], tokens_per_minute=limits[1])
    space = space_of(bob, requests_per_minute=limits[2], tokens_per_minute=limits[3])
    paper: dict[str, Paper] = {}
    for what, number in steps:
        if what == "wait":
            clock.move(microseconds=number)
        elif what == "give back":
            ratelimits.give_back(workspace_id=space.pk, access_token_id=token.pk, tokens=number)
            paper = {of: bucket.plus(tokens=number) for of, bucket in paper.items()}
        else:
            begun = paper or {
                of: Paper.full(clock.now, requests=requests, tokens=tokens)
                for of, requests, tokens in (("token", *limits[:2]), ("workspace", *limits[2:]))
                if requests or tokens
            }
            now = {of: bucket.at(clock.now) for of, bucket in begun.items()}
            need = {"requests": 1, "tokens": number}
            try:
                states = take(space, token, number)
            except RateLimited as refused:
                assert not all(bucket.has(**need) for bucket in now.values())
                then = clock.now + (refused.retry_after or 0) * SECOND
                assert all(bucket.at(then).has(slack=bucket.slack, **need) for bucket in now.values())
                assert not all(bucket.at(then - SECOND).has(**need) for bucket in now.values())
            else:
                assert all(bucket.has(slack=bucket.slack, **need) for bucket in now.values())
                paper = {of: bucket.plus(requests=-1, tokens=-number) for of, bucket in now.items()}
                left = [
                    (of, kind, level, bucket.slack)
                    for of, bucket in paper.items()
                    for kind, level in bucket.level.items()
                ]
                for state, (of, kind, level, slack) in zip(states, left, strict=True):
                    assert (state.of, state.kind) == (of, kind)
                    assert max(level // 1, 0) <= state.remaining <= max((level + slack) // 1, 0)
