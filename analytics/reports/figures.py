"""The rows of a report of figures: one for each period and group, with all metrics that there are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import chain, islice, pairwise

from analytics import query
from analytics.asking import Asked
from analytics.groups import Names, database_dimensions
from analytics.measures import METRICS, Figures, Metric, shown
from analytics.periods import all_edges_of
from analytics.query import Key
from analytics.reports.columns import Column, Pages, Row, Table, Type
from synapscale.common.errors import Unprocessable

PERIODS_AT_ONCE = 100
"""Read by one statement, as long as there are not too many groups in them."""
COUNTED_PERIODS = 1_000
_COUNTED = ("calls", "messages", "tokens")


def _type(metric: Metric) -> Type:
    return Type.INTEGER if metric.unit in _COUNTED else Type.DECIMAL


def table(asked: Asked) -> Table:
    """Without groups each period is a row, with zeros where nothing was called; with groups only those that there are."""
    grouped = tuple(Column(name) for group in asked.group_by for name in (group, f"{group}_name"))
    metrics = tuple(Column(name, _type(metric)) for name, metric in METRICS.items())
    columns = (Column("start", Type.TIME), Column("end", Type.TIME), *grouped, *metrics)
    return Table(columns, _pages(asked))


def _pages(asked: Asked) -> Pages:
    for edges in _spans(asked):
        yield from _read(asked, edges)


def _spans(asked: Asked) -> Iterator[list[datetime]]:
    """The edges of so many periods as are read at once; the first of one span is the last of the span before."""
    if asked.granularity is None:
        yield [asked.window.start, asked.window.end]
        return
    edges = all_edges_of(asked.window, asked.granularity)
    first = next(edges)
    while further := list(islice(edges, PERIODS_AT_ONCE)):
        yield [first, *further]
        first = further[-1]


def _read(asked: Asked, edges: list[datetime]) -> Iterator[list[Row]]:
    """A page, or several where it is too much for one statement."""
    wanted = asked.wanted
    if "tag" in asked.group_by and len(wanted.tags) == 1:
        wanted = replace(wanted, tags=())  # the groups see to that
    try:
        answer = query.figures(wanted, edges=edges, by=database_dimensions(asked.group_by), tags=asked.tags)
    except query.TooManyFigures:
        if len(edges) == 2:
            said = "There are too many groups in one period: group by less, or filter more."
            raise Unprocessable(said, details={"group_by": [said]}) from None
        middle = len(edges) // 2
        yield from chain(_read(asked, edges[: middle + 1]), _read(asked, edges[middle:]))
        return
    yield _rows(asked, edges, answer)


def _rows(asked: Asked, edges: Sequence[datetime], answer: query.Answer) -> list[Row]:
    names = Names(asked.group_by, {key for _, key in answer.figures}, workspace_id=asked.wanted.workspace_id)
    by_period: dict[int, dict[Key, Figures]] = defaultdict(dict)
    for (period, key), figures in answer.figures.items():
        folded = names.folded(key)  # several models of one provider are one group
        there = by_period[period].get(folded, Figures())
        there += figures
        by_period[period][folded] = there
    rows: list[Row] = []
    for period, (start, end) in enumerate(pairwise(edges)):
        groups = by_period.get(period, {}) if asked.group_by else by_period.get(period) or {(): Figures()}
        for key in sorted(groups, key=str):
            named = names.as_json(key).values()
            rows.append(
                (
                    start.astimezone(asked.window.tz),
                    end.astimezone(asked.window.tz),
                    *(text for group in named for text in (group["key"], group["name"])),
                    *shown(groups[key]).values(),
                )
            )
    return rows


def count(asked: Asked) -> int | None:
    """How many rows there are, by making them; None where there are too many periods for that. Raises Unprocessable."""
    if asked.granularity is not None:
        edges = all_edges_of(asked.window, asked.granularity)
        if len(list(islice(edges, COUNTED_PERIODS + 2))) > COUNTED_PERIODS + 1:
            return None
    return sum(len(page) for page in _pages(asked))
