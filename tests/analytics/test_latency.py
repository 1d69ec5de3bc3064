"""Percentiles are by nearest rank, within 2.5 %, and the database puts a latency on the step that Python does."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction

import pytest
from django.db import connection
from hypothesis import given
from hypothesis import strategies as st

from analytics import engine, latency

MS = st.integers(0, 1_000_000) | st.sampled_from(latency.EDGES)


@given(st.lists(MS, min_size=1, max_size=200), st.integers(1, 100))
def test_a_percentile_is_within_a_step_of_the_nearest_rank(latencies: list[int], percent: int) -> None:
    rank = -(-len(latencies) * percent // 100)
    true = sorted(latencies)[rank - 1]
    found = latency.percentiles(Counter(map(latency.step_of, latencies)), (percent,))[percent]
    assert found is not None
    assert abs(found - true) <= Fraction(true, 40)
    if true <= 20:
        assert found == true


def test_nothing_has_no_percentiles() -> None:
    assert latency.percentiles({}) == latency.percentiles({3: 0}) == {50: None, 95: None, 99: None}


def test_steps_grow_by_five_percent_at_most() -> None:
    assert all(
        after <= max(before + 1, before * 105 // 100)
        for before, after in zip(latency.EDGES, latency.EDGES[1:], strict=False)
    )
    assert len(latency.EDGES) < 500


@pytest.mark.django_db
def test_the_database_agrees_on_every_edge() -> None:
    values = sorted({value + beside for value in latency.EDGES for beside in (-1, 0, 1)})
    step = engine.number_among("CAST(%s AS integer)", "integer")
    with connection.cursor() as cursor:
        for value in values[:: 7 if connection.vendor == "postgresql" else 1]:
            cursor.execute(f"SELECT {step}", [value, engine.edges(latency.EDGES)])
            assert cursor.fetchone() == (latency.step_of(value),)
