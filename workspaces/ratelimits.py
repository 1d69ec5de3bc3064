"""How much a token, and a workspace as a whole, may use within a minute: exact, whichever process is asked.

A limit is a bucket that holds a minute's worth and refills evenly. What is left is stored in thousandths; a thousandth has
60,000 *drops*, of which as many come back in a microsecond as the limit is, so all of it is arithmetic on integers.
Buckets are rows, locked from the look at them to the caller's commit: always the token's first, then the workspace's. Who
has no limit has no row, and costs no query.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from django.db import connection, transaction
from django.db.models import F
from django.db.models.functions import Now

from synapscale.common.errors import RateLimited
from workspaces.models import AccessToken, RateBucket, Workspace

MICROSECOND = timedelta(microseconds=1)
MINUTE = timedelta(minutes=1)
DROPS = 60_000
"""In a thousandth of a request or token."""
GRID = timedelta(microseconds=DROPS)
"""In it whole thousandths come back, whatever the limit is: a bucket is stored as it was at a multiple of this."""
UNLIMITED = (2**31 - 1) * 1000
"""What is stored as left of something without a limit: full, should one be set later."""


@dataclass(frozen=True, slots=True)
class RateState:
    """A limit that applies, and what is left of it."""

    of: str
    """``token`` or ``workspace``."""
    kind: str
    """``requests`` or ``tokens``."""
    limit: int
    remaining: int
    reset: timedelta
    """Until all of it is there again."""


@dataclass(frozen=True, slots=True)
class _Level:
    """One kind of a bucket's content at this moment, in drops."""

    kind: str
    limit: int
    left: int

    @classmethod
    def of(cls, kind: str, limit: int, *, stored: int, elapsed: timedelta) -> _Level:
        """What was stored and what has come back since; beyond the brim it runs over."""
        left = stored * DROPS + limit * (elapsed // MICROSECOND)
        return cls(kind, limit, min(left, limit * 1000 * DROPS))

    @property
    def capacity(self) -> int:
        return self.limit * 1000 * DROPS

    def without(self, amount: int) -> _Level:
        return _Level(self.kind, self.limit, self.left - amount * 1000 * DROPS)

    def stored(self, *, ago: timedelta) -> int:
        """In thousandths, as it was then; of a level at the brim rounded up, by less than one."""
        return -(-(self.left - self.limit * (ago // MICROSECOND)) // DROPS)

    def wait(self, amount: int | None = None) -> timedelta:
        """Until ``amount`` is there, or else all of it. More than there can ever be is there when the bucket is full."""
        needed = self.capacity if amount is None else min(amount * 1000 * DROPS, self.capacity)
        return max(-(-(needed - self.left) // self.limit), 0) * MICROSECOND


@dataclass(frozen=True, slots=True)
class _Bucket:
    """A token's or the workspace's row, under its lock."""

    of: str
    row_id: uuid.UUID
    levels: tuple[_Level, ...]
    filled_at: datetime
    now: datetime

    def without(self, **amounts: int) -> _Bucket:
        return replace(self, levels=tuple(level.without(amounts[level.kind]) for level in self.levels))

    def columns(self) -> dict[str, Any]:
        """The row as it is to be stored."""
        ago = (self.now - self.filled_at) % GRID
        left = {level.kind: level.stored(ago=ago) for level in self.levels}
        return {
            "requests_left": left.get("requests", UNLIMITED),
            "tokens_left": left.get("tokens", UNLIMITED),
            "filled_at": self.now - ago,
        }

    def states(self) -> list[RateState]:
        return [
            RateState(
                of=self.of,
                kind=level.kind,
                limit=level.limit,
                remaining=max(level.left, 0) // (1000 * DROPS),
                reset=level.wait(),
            )
            for level in self.levels
        ]


def take(*, workspace: Workspace, access_token: AccessToken | None, tokens: int) -> list[RateState]:
    """Take one request and ``tokens`` from every bucket that applies; what is left. Raises RateLimited, taking nothing.

    Belongs into the caller's transaction, before anything that others wait for. A call that needs more tokens than a
    whole minute has passes when the bucket is full, and leaves it below zero.
    """
    if tokens < 0:
        raise ValueError("a call can't need fewer than no tokens")
    owners: list[tuple[str, AccessToken | None, AccessToken | Workspace]] = [("workspace", None, workspace)]
    if access_token is not None:
        owners.insert(0, ("token", access_token, access_token))
    limited = [owner for owner in owners if owner[2].requests_per_minute or owner[2].tokens_per_minute]
    if not limited:
        return []
    if not connection.in_atomic_block:
        raise transaction.TransactionManagementError("Rate limits are taken only inside a transaction.")
    buckets = [
        _locked(workspace.pk, of, token, requests=rules.requests_per_minute, tokens=rules.tokens_per_minute)
        for of, token, rules in limited
    ]
    _refuse_what_is_too_much(buckets, requests=1, tokens=tokens)
    taken = [bucket.without(requests=1, tokens=tokens) for bucket in buckets]
    for bucket in taken:
        RateBucket.objects.filter(workspace=workspace, pk=bucket.row_id).update(**bucket.columns())
    return [state for bucket in taken for state in bucket.states()]


def give_back(*, workspace_id: uuid.UUID, access_token_id: uuid.UUID | None, tokens: int) -> None:
    """After a call: give back what it did not use of the tokens taken for it; below zero, what it used beyond them.

    It counts as if the right number had been taken at once. Needed only where ``take`` returned states. Comes before the
    wallet in a transaction that touches both, as when taking.
    """
    if tokens == 0:
        return
    for token_id in (access_token_id, None) if access_token_id else (None,):
        RateBucket.objects.filter(workspace_id=workspace_id, access_token_id=token_id).update(
            tokens_left=F("tokens_left") + tokens * 1000
        )


def headers(states: list[RateState]) -> dict[str, str]:
    """``x-ratelimit-{limit,remaining,reset}-{requests,tokens}`` as OpenAI's clients read them, of the tightest limits."""
    result = {}
    for kind in ("requests", "tokens"):
        applying = [state for state in states if state.kind == kind]
        if applying:
            tightest = min(applying, key=lambda state: (state.remaining, state.limit))
            result[f"x-ratelimit-limit-{kind}"] = str(tightest.limit)
            result[f"x-ratelimit-remaining-{kind}"] = str(tightest.remaining)
            result[f"x-ratelimit-reset-{kind}"] = _duration(tightest.reset)
    return result


def clock() -> Any:
    """The database's: processes on different machines agree on it."""
    return Now()


def _locked(
    workspace_id: uuid.UUID, of: str, access_token: AccessToken | None, *, requests: int | None, tokens: int | None
) -> _Bucket:
    """The row, made full where there is none yet, locked, and what is in it now."""
    rows = RateBucket.objects.filter(workspace_id=workspace_id, access_token=access_token)
    locked = rows.select_for_update().annotate(now=clock()).order_by()
    found = list(locked)
    if not found:
        full = RateBucket(
            workspace_id=workspace_id,
            access_token=access_token,
            requests_left=requests * 1000 if requests else UNLIMITED,
            tokens_left=tokens * 1000 if tokens else UNLIMITED,
            filled_at=clock(),
        )
        RateBucket.objects.bulk_create([full], ignore_conflicts=True)  # somebody else's is as good
        found = list(locked.all())
    (row,) = found
    filled_at, now = row.filled_at, row.now
    if filled_at - now >= MINUTE:
        filled_at = now - MINUTE  # the clock was set back since; a minute fills every bucket
    now = max(now, filled_at)  # another filled it after this statement began to wait for the lock
    levels = tuple(
        _Level.of(kind, limit, stored=stored, elapsed=now - filled_at)
        for kind, limit, stored in (("requests", requests, row.requests_left), ("tokens", tokens, row.tokens_left))
        if limit
    )
    is_full = all(level.left == level.capacity for level in levels)
    # A full bucket begins its grid anew, so that nothing is rounded.
    return _Bucket(of=of, row_id=row.pk, levels=levels, filled_at=now if is_full else filled_at, now=now)


def _refuse_what_is_too_much(buckets: list[_Bucket], **amounts: int) -> None:
    waits = [(level.wait(amounts[level.kind]), bucket.of, level) for bucket in buckets for level in bucket.levels]
    wait, of, level = max(waits, key=lambda found: found[0])
    if not wait:
        return
    raise RateLimited(
        f"The {of} may use {level.limit} {level.kind} per minute.",
        details={"limit": level.kind, "of": of, "per_minute": level.limit},
        retry_after=-(-wait // timedelta(seconds=1)),
        headers=headers([state for bucket in buckets for state in bucket.states()]),
    )


def _duration(time: timedelta) -> str:
    """As Go writes durations, in whole milliseconds, rounded up: ``0s``, ``120ms``, ``8.64s``, ``6m0s``.

    >>> _duration(timedelta(minutes=6)), _duration(timedelta(milliseconds=8640)), _duration(timedelta(microseconds=1))
    ('6m0s', '8.64s', '1ms')
    """
    milliseconds = -(-time // timedelta(milliseconds=1))
    if 0 < milliseconds < 1000:
        return f"{milliseconds}ms"
    minutes, rest = divmod(milliseconds, 60_000)
    seconds = f"{rest // 1000}.{rest % 1000:03}".rstrip("0").rstrip(".")
    hours, minutes = divmod(minutes, 60)
    return (f"{hours}h" if hours else "") + (f"{minutes}m" if hours or minutes else "") + f"{seconds}s"
