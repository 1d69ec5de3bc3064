"""Moments in UTC within a text, as people of its language write them; in English like ``2026-11-25 14:41``, which no reader
takes for another day. Pages show moments by the formats of Django.
"""

from __future__ import annotations

from datetime import UTC, date, datetime

from django.utils.formats import date_format
from django.utils.translation import pgettext


def moment(at: datetime) -> str:
    """``2026-11-25 14:41 UTC``, ``25/11/2026 14:41 UTC``."""
    written = date_format(at.astimezone(UTC), pgettext("date and time", "Y-m-d H:i"))
    return f"{written} UTC"


def day(of: date) -> str:
    """``2026-11-25``, ``25/11/2026``."""
    return date_format(of, pgettext("date", "Y-m-d"))
