"""Figures as the API shows them: totals, groups and a series over time, all of one reading."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

from django.utils.translation import gettext
from rest_framework.serializers import ValidationError

from analytics import query
from analytics.asking import Asked
from analytics.groups import Names, database_dimensions
from analytics.measures import METRICS, Figures, shown
from analytics.periods import TooManyPeriods, edges_of
from analytics.query import Key

_OF_GROUPS_IN_SERIES = ("calls", "total_tokens", "cost", "provider_cost")


def table_of(asked: Asked, *, names: Sequence[str] = tuple(METRICS)) -> dict[str, Any]:
    """The totals of what is asked for, by group and over time. Each call is in one group, but with tags in each of its own;
    the totals have each call once. One query for figures, two when grouped by tags. Raises ValidationError.
    """
    edges = _edges(asked)
    try:
        wanted = asked.wanted
        if "tag" in asked.group_by and len(wanted.tags) == 1:
            wanted = replace(wanted, tags=())  # the groups see to that
        answer = query.figures(wanted, edges=edges, by=database_dimensions(asked.group_by), tags=asked.tags)
        whole = query.figures(asked.wanted, edges=edges) if "tag" in asked.group_by else answer
    except query.TooManyFigures:
        raise ValidationError(
            {"granularity": [gettext("So many groups and periods are too much to show at once.")]}
        ) from None
    body: dict[str, Any] = {**head(asked), "totals": shown(whole.total(), names)}
    grouped = _Groups(asked, answer, names=names)
    if asked.group_by:
        body |= grouped.as_json()
    if asked.granularity is not None:
        body["series"] = _series(asked, edges, whole, grouped, names=names)
    return body


def head(asked: Asked) -> dict[str, Any]:
    """What the figures are of, said again."""
    return {
        **asked.window.as_json(),
        "of": asked.of,
        "workspace": None if asked.workspace is None else str(asked.workspace.pk),
        "granularity": asked.granularity,
        "group_by": list(asked.group_by),
    }


def _edges(asked: Asked) -> list[datetime]:
    if asked.granularity is None:
        return [asked.window.start, asked.window.end]
    try:
        return edges_of(asked.window, asked.granularity)
    except TooManyPeriods:
        said = gettext("The window has too many of these periods: ask for longer ones, or for a shorter window.")
        raise ValidationError({"granularity": [said]}) from None


class _Groups:
    """The groups of an answer, the dearest first; what is beyond the limit is summed up."""

    def __init__(self, asked: Asked, answer: query.Answer, *, names: Sequence[str]) -> None:
        keys = {key for _, key in answer.figures}
        workspace_id = asked.wanted.workspace_id
        self._names = Names(asked.group_by, keys, workspace_id=workspace_id) if asked.group_by else None
        self._metrics = names
        parts: dict[Key, list[Figures]] = defaultdict(list)
        in_periods: dict[tuple[int, Key], list[Figures]] = defaultdict(list)
        for (period, key), figures in answer.figures.items():
            folded = self._names.folded(key) if self._names else key
            parts[folded].append(figures)
            in_periods[period, folded].append(figures)
        totals = {key: Figures.total(of) for key, of in parts.items()}
        ranked = sorted(
            totals, key=lambda key: (-totals[key].charged_usd, -totals[key].cost_usd, -totals[key].calls, str(key))
        )
        self._totals, self._in_periods = totals, in_periods
        self._shown, self._rest = ranked[: asked.limit], ranked[asked.limit :]

    def as_json(self) -> dict[str, Any]:
        assert self._names is not None
        rest = Figures.total(self._totals[key] for key in self._rest)
        return {
            "groups": [{**self._names.as_json(key), **shown(self._totals[key], self._metrics)} for key in self._shown],
            "other": None if not self._rest else {"groups": len(self._rest), **shown(rest, self._metrics)},
        }

    def in_period(self, period: int) -> list[dict[str, Any]]:
        assert self._names is not None
        return [
            {**self._names.as_json(key), **shown(Figures.total(parts), _OF_GROUPS_IN_SERIES)}
            for key in self._shown
            if (parts := self._in_periods.get((period, key)))
        ]


def _series(
    asked: Asked, edges: Sequence[datetime], whole: query.Answer, groups: _Groups, *, names: Sequence[str]
) -> list[dict[str, Any]]:
    parts: dict[int, list[Figures]] = defaultdict(list)
    for (period, _), figures in whole.figures.items():
        parts[period].append(figures)
    found = []
    for period, (start, end) in enumerate(pairwise(edges)):
        row: dict[str, Any] = {
            "start": local(start, asked.window.tz),
            "end": local(end, asked.window.tz),
            **shown(Figures.total(parts[period]), names),
        }
        if asked.group_by:
            row["groups"] = groups.in_period(period)
        found.append(row)
    return found


def local(moment: datetime, tz: ZoneInfo) -> str:
    return moment.astimezone(tz).isoformat()
