"""The window of a report, counted from when it runs, in days of its time zone."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from analytics.models import Report
from analytics.periods import midnight
from conversations.windows import Window

Period = Report.Period


def window_of(report: Report, *, now: datetime) -> Window:
    """Half-open. Whole days for all but ``today`` and ``this_month``, which end at ``now``; these are empty at midnight."""
    tz = ZoneInfo(report.tz)
    if report.start_at is not None and report.end_at is not None:
        return Window(report.start_at, report.end_at, tz)
    start, end = _days(Period(report.period), now.astimezone(tz).date())
    return Window(midnight(start, tz), now if end is None else midnight(end, tz), tz)


def _days(period: Report.Period, today: date) -> tuple[date, date | None]:
    """From which day on, before which; None: now."""
    month = today.replace(day=1)
    if period == Period.TODAY:
        return today, None
    if period == Period.YESTERDAY:
        return today - timedelta(days=1), today
    if period == Period.LAST_7_DAYS:
        return today - timedelta(days=7), today
    if period == Period.LAST_30_DAYS:
        return today - timedelta(days=30), today
    if period == Period.THIS_MONTH:
        return month, None
    assert period == Period.LAST_MONTH, "a fixed period has its times"
    return (month - timedelta(days=1)).replace(day=1), month
