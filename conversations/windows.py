"""The span of time that a report is about, as ``start``, ``end`` and ``tz`` of a request say it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime
from drf_spectacular.utils import OpenApiParameter
from rest_framework.serializers import ValidationError

PARAMETERS = ("start", "end", "tz")
DEFAULT_DAYS = 30
_YEARS = range(1900, 9000)
"""Away from the ends of the calendar, where there is no time 30 days earlier or in another zone."""
SAID = "Give a date, like 2026-10-01, or a time, like 2026-10-01T09:00:00Z."
SCHEMA = [
    OpenApiParameter("start", description=f"From then on. {SAID} Otherwise {DEFAULT_DAYS} days before the end."),
    OpenApiParameter("end", description="Before then: not with it. Otherwise now."),
    OpenApiParameter("tz", description="Where days begin, like `America/Sao_Paulo`; otherwise UTC."),
]


@dataclass(frozen=True, slots=True)
class Window:
    """From ``start`` on, before ``end``; days are those of ``tz``."""

    start: datetime
    end: datetime
    tz: ZoneInfo

    def as_json(self) -> dict[str, str]:
        return {
            "start": self.start.astimezone(self.tz).isoformat(),
            "end": self.end.astimezone(self.tz).isoformat(),
            "tz": self.tz.key,
        }


def window_of(params: Mapping[str, Any]) -> Window:
    """The window that query parameters ask for. A date is its midnight in ``tz``, and so is a time without an offset.

    Raises ValidationError, naming the parameter.
    """
    tz = zone(params.get("tz", "UTC"))
    end = moment(params["end"], "end", tz) if "end" in params else timezone.now()
    start = moment(params["start"], "start", tz) if "start" in params else end - timedelta(days=DEFAULT_DAYS)
    if start >= end:
        raise ValidationError({"end": ["It must be later than the start."]})
    return Window(start, end, tz)


@cache
def _zones() -> frozenset[str]:
    """Read once: to list them, every file there is of them is opened."""
    return frozenset(available_timezones())


def zone(name: str) -> ZoneInfo:
    """Raises ValidationError, naming ``tz``."""
    if name not in _zones():  # never a path of the caller's making
        raise ValidationError({"tz": [f"“{name[:60]}” is no time zone; give one like America/Sao_Paulo."]})
    return ZoneInfo(name)


def moment(text: str, name: str, tz: ZoneInfo) -> datetime:
    """``text`` as a time; a date is its midnight in ``tz``. Raises ValidationError, naming the parameter ``name``."""
    try:
        day: date | None = parse_date(text)
        found = datetime.combine(day, time()) if day is not None else parse_datetime(text)
        if found is None:
            raise ValueError
        found = found.replace(tzinfo=tz) if found.tzinfo is None else found
        if found.year not in _YEARS:
            raise ValueError
        return found.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValidationError({name: [SAID]}) from None
