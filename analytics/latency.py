"""Latencies in steps of 5 %, so that percentiles of millions of calls are read off a few hundred counts.

A percentile is by nearest rank (the smallest latency that at least that share of the calls did not exceed) and is given
as the middle of its step: at most 2.5 % off, and exact below 20 ms.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from itertools import accumulate

LONGEST_MS = 24 * 3600 * 1000
GROWTH_PERCENT = 5


def _edges() -> tuple[int, ...]:
    found = [1]
    while found[-1] < LONGEST_MS:
        found.append(max(found[-1] + 1, found[-1] * (100 + GROWTH_PERCENT) // 100))
    return tuple(found)


EDGES = _edges()
"""Where each step begins, in ms: step 1 is from ``EDGES[0]`` on, before ``EDGES[1]``; step 0 is 0 ms."""


def step_of(latency_ms: int) -> int:
    """The step of a latency; in the database it is ``width_bucket`` that says so."""
    return bisect_right(EDGES, latency_ms)


def middle_of(step: int) -> int:
    """The latency in ms that stands for a step."""
    if step == 0:
        return 0
    if step >= len(EDGES):
        return EDGES[-1]
    return (EDGES[step - 1] + EDGES[step] - 1) // 2


def percentiles(counts: Mapping[int, int], percents: tuple[int, ...] = (50, 95, 99)) -> dict[int, int | None]:
    """The latency in ms below or at which each percentage of the calls lies, from the number of calls per step."""
    steps = sorted(step for step, calls in counts.items() if calls)
    running = list(accumulate(counts[step] for step in steps))
    if not steps:
        return dict.fromkeys(percents)
    found: dict[int, int | None] = {}
    for percent in percents:
        rank = max(1, -(-running[-1] * percent // 100))
        found[percent] = middle_of(next(step for step, upto in zip(steps, running, strict=True) if upto >= rank))
    return found
