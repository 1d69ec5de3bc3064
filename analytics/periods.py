"""Windows cut into minutes, hours, days, weeks and months of a time zone, as clocks there show them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from itertools import islice
from zoneinfo import ZoneInfo

from conversations.windows import Window

MAX_PERIODS = 3_000


class Granularity(StrEnum):
    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"


class TooManyPeriods(Exception):
    """The window has more periods than are shown at once."""


def edges_of(window: Window, granularity: Granularity) -> list[datetime]:
    """Where the periods of ``window`` begin, in UTC, and at last where it ends. The first and the last period are cut to
    the window. A day is from midnight to midnight, so it has 23 or 25 hours when clocks change; weeks begin on Mondays.

    Raises TooManyPeriods.
    """
    found = list(islice(all_edges_of(window, granularity), MAX_PERIODS + 2))
    if len(found) > MAX_PERIODS + 1:
        raise TooManyPeriods
    return found


def all_edges_of(window: Window, granularity: Granularity) -> Iterator[datetime]:
    """The same, however many there are."""
    yield window.start
    for edge in _from(window.start, granularity, window.tz):
        if edge >= window.end:
            break
        yield edge
    yield window.end


def _from(start: datetime, granularity: Granularity, tz: ZoneInfo) -> Iterator[datetime]:
    """The edges after ``start``."""
    edge = start
    while True:
        edge = _next(edge, granularity, tz)
        yield edge


def _next(moment: datetime, granularity: Granularity, tz: ZoneInfo) -> datetime:
    local = moment.astimezone(tz)
    if granularity in (Granularity.MINUTE, Granularity.HOUR):
        # By the clock that counts through: an hour that clocks show twice is two.
        step = timedelta(minutes=1) if granularity == Granularity.MINUTE else timedelta(hours=1)
        into = timedelta(
            minutes=local.minute if granularity == Granularity.HOUR else 0,
            seconds=local.second,
            microseconds=local.microsecond,
        )
        return moment - into + step
    return midnight(_first_day_after(local.date(), granularity), tz)


def _first_day_after(day: date, granularity: Granularity) -> date:
    if granularity == Granularity.DAY:
        return day + timedelta(days=1)
    if granularity == Granularity.WEEK:
        return day + timedelta(days=7 - day.weekday())
    return (day.replace(day=1) + timedelta(days=32)).replace(day=1)


def midnight(day: date, tz: ZoneInfo) -> datetime:
    """Where clocks skip midnight, the moment when they do: the day begins with it."""
    return datetime.combine(day, time(), tz).astimezone(UTC)
