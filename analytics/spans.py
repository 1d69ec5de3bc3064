"""Which part of a window the sums can answer for, and which has to be read from the calls.

Sums are of whole hours or days, UTC. A period that begins in the middle of one cuts it in two, and so do the ends of the
window: the calls of these are read one by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise

Span = tuple[datetime, datetime]
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Cover:
    """``whole``: from where to where sums are read, without the units that begin at ``cut``. ``loose``: what is left."""

    whole: Span | None
    cut: tuple[datetime, ...]
    loose: tuple[Span, ...]

    @property
    def is_worthwhile(self) -> bool:
        return self.whole is not None


def floor(moment: datetime, unit: timedelta) -> datetime:
    return moment - (moment - _EPOCH) % unit


def ceil(moment: datetime, unit: timedelta) -> datetime:
    return moment + (_EPOCH - moment) % unit


def loose(edges: Sequence[datetime]) -> Cover:
    """Sums serve for nothing of it."""
    return Cover(None, (), ((edges[0], edges[-1]),))


def cover(edges: Sequence[datetime], unit: timedelta) -> Cover:
    """How sums of ``unit`` serve the periods between ``edges``. Not at all where most units are cut."""
    start, end = edges[0], edges[-1]
    whole = ceil(start, unit), floor(end, unit)
    if whole[0] >= whole[1]:
        return loose(edges)
    inner = {floor(edge, unit) for edge in edges[1:-1] if edge != floor(edge, unit)}
    cut = tuple(sorted(one for one in inner if whole[0] <= one < whole[1]))
    if len(cut) * 2 > (whole[1] - whole[0]) / unit:
        return loose(edges)
    spans = [(start, whole[0]), *((one, one + unit) for one in cut), (whole[1], end)]
    return Cover(whole, cut, tuple(span for span in spans if span[0] < span[1]))


def whole_units(
    spans: Sequence[Span], edges: Sequence[datetime], unit: timedelta
) -> tuple[tuple[Span, ...], tuple[Span, ...]]:
    """The whole ``unit``s within ``spans`` that none of ``edges`` cuts, and what is left of the spans."""
    found: list[Span] = []
    left: list[Span] = []
    for start, end in spans:
        bounds = [start, *(edge for edge in edges if start < edge < end), end]
        for since, upto in pairwise(bounds):
            first, last = ceil(since, unit), floor(upto, unit)
            if first >= last:
                left.append((since, upto))
                continue
            found.append((first, last))
            left += [span for span in ((since, first), (last, upto)) if span[0] < span[1]]
    return tuple(found), tuple(left)
