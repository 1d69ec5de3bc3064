"""The calls of the last 60 days by model, in one reading: what the front page makes all its figures and charts of."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import pairwise

from django.utils import timezone

from analytics import query
from analytics.measures import Figures
from analytics.periods import midnight
from analytics.query import Wanted
from analytics.spans import HOUR, Span, floor

DAYS, HOURS = 30, 24


class Timeline:
    """Figures of all workspaces until ``now``, of any window between moments that it knows. One query."""

    def __init__(self, now: datetime) -> None:
        tz = timezone.get_current_timezone()
        today = now.astimezone(tz).date()
        self.now = now
        self.midnight = midnight(today, tz)
        """When today began."""
        days = [midnight(today - timedelta(days=back), tz) for back in range(DAYS)]
        last = floor(now, HOUR)
        self.hours: list[Span] = [
            (start, min(start + HOUR, now)) for start in (last - HOUR * back for back in reversed(range(HOURS)))
        ]
        """The last hours, the one that is under way included."""
        self.days: list[Span] = [(start, end) for start, end in pairwise([*reversed(days), now])]
        ago = [now - timedelta(days=back) for back in (60, 30, 14, 7, 1)]
        moments = {*ago, *days, self.midnight - timedelta(days=1), now, *(start for start, _ in self.hours)}
        self._edges = sorted(moment for moment in moments if ago[0] <= moment <= now)
        answer = query.figures(Wanted(None), edges=self._edges, by=("llm",))
        self._figures = [(number, key[0], figures) for (number, key), figures in answer.figures.items()]

    def before(self, days: int) -> datetime:
        """So many days before now: 60, 30, 14, 7 or 1."""
        return self.now - timedelta(days=days)

    def of(self, start: datetime, end: datetime) -> Figures:
        return Figures.total(figures for _, figures in self._within(start, end))

    def by_llm(self, start: datetime, end: datetime) -> dict[uuid.UUID, Figures]:
        found: dict[uuid.UUID, Figures] = {}
        for llm_id, figures in self._within(start, end):
            found[llm_id] = found[llm_id] + figures if llm_id in found else figures
        return found

    def _within(self, start: datetime, end: datetime) -> Iterator[tuple[uuid.UUID, Figures]]:
        for number, llm_id, figures in self._figures:
            if start <= self._edges[number] and self._edges[number + 1] <= end:
                yield llm_id, figures
