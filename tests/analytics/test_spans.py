"""A window is cut into whole units and the rest, without a gap and without anything twice."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from analytics.spans import HOUR, Span, ceil, floor, whole_units

START = datetime(2026, 10, 20, tzinfo=UTC)
moments = st.integers(0, 72 * 60).map(lambda minutes: START + timedelta(minutes=minutes))


@given(ends=st.lists(moments, unique=True, max_size=6), edges=st.lists(moments, unique=True, max_size=6))
def test_whole_hours_and_the_rest_are_the_spans_again(ends: list[datetime], edges: list[datetime]) -> None:
    ends.sort()
    spans: list[Span] = list(zip(ends[::2], ends[1::2], strict=False))
    whole, left = whole_units(spans, sorted(edges), HOUR)

    minutes = [
        start + timedelta(minutes=n) for start, end in spans for n in range((end - start) // timedelta(minutes=1))
    ]
    got = [
        start + timedelta(minutes=n)
        for start, end in (*whole, *left)
        for n in range((end - start) // timedelta(minutes=1))
    ]
    assert sorted(got) == minutes
    for start, end in whole:
        assert start < end
        assert (floor(start, HOUR), floor(end, HOUR)) == (start, end)
        assert not any(start < edge < end and edge != floor(edge, HOUR) for edge in edges)
    for start, end in left:
        assert start < end
        assert ceil(start, HOUR) >= floor(end, HOUR)
