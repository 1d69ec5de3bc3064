"""When a scheduled report is due: at an hour as clocks in its time zone show it, once on each of its days.

Where clocks skip that hour, at the moment when they do; where they show it twice, the first time.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from itertools import count
from zoneinfo import ZoneInfo

from analytics.models import Report

_LONGEST_DAYS = 32
"""Between two that are due."""


def next_after(report: Report, moment: datetime) -> datetime | None:
    """The first time that is later than ``moment``; None without a schedule."""
    if report.schedule == Report.Schedule.NONE:
        return None
    return next(due for due in _from(report, moment) if due > moment)


def last_until(report: Report, moment: datetime) -> datetime:
    """The last time that is not later than ``moment``."""
    found = None
    for due in _from(report, moment - timedelta(days=_LONGEST_DAYS)):
        if due > moment:
            break
        found = due
    assert found is not None, "every schedule has a day within a month"
    return found


def _from(report: Report, moment: datetime) -> Iterator[datetime]:
    """Times that it is due, from the day before ``moment`` on."""
    tz = ZoneInfo(report.tz)
    first = moment.astimezone(tz).date() - timedelta(days=1)
    for number in count():
        day = first + timedelta(days=number)
        if _is_due_on(Report.Schedule(report.schedule), day):
            # In UTC: of an hour that clocks skip, that is the moment of the change.
            yield datetime.combine(day, time(report.hour), tz).astimezone(UTC)


def _is_due_on(schedule: Report.Schedule, day: date) -> bool:
    if schedule == Report.Schedule.WEEKLY:
        return day.weekday() == 0
    return schedule == Report.Schedule.DAILY or day.day == 1
