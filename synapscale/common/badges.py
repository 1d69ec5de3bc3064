"""The back office: a word in a colour, for what should catch the eye in a list. The word says all; the colour only helps."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Literal

from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

Kind = Literal["danger", "warning", "success", "info", "plain"]
# Classes of unfold's own labels: its style sheet has no others.
_COLOURS = {
    "danger": "bg-red-100 text-red-700 dark:bg-red-500/20 dark:text-red-400",
    "warning": "bg-orange-100 text-orange-700 dark:bg-orange-500/20 dark:text-orange-400",
    "success": "bg-green-100 text-green-700 dark:bg-green-500/20 dark:text-green-400",
    "info": "bg-blue-100 text-blue-700 dark:bg-blue-500/20 dark:text-blue-400",
    "plain": "bg-base-500/8 text-base-700 dark:bg-base-500/20 dark:text-base-200",
}
SOON = timedelta(days=14)
"""What expires within this is worth a look."""


def badge(text: Any, kind: Kind = "plain") -> SafeString:
    shape = "inline-block font-semibold rounded-default text-[11px] uppercase whitespace-nowrap h-6 leading-6 px-2"
    return format_html('<span class="{} {}">{}</span>', shape, _COLOURS[kind], text)


def expiry(expires_at: datetime | None) -> SafeString:
    """How long something is still good for."""
    if expires_at is None:
        return badge(_("never expires"))
    now = timezone.now()
    if expires_at <= now:
        return badge(_("expired %(date)s") % {"date": _day(expires_at)}, "danger")
    days = (expires_at - now).days
    if expires_at - now > SOON:
        return badge(_("expires %(date)s") % {"date": _day(expires_at)}, "success")
    if not days:
        return badge(_("expires within a day"), "warning")
    said = ngettext("expires in %(days)d day", "expires in %(days)d days", days) % {"days": days}
    return badge(said, "warning")


def _day(moment: datetime) -> str:
    return date_format(timezone.localtime(moment), "SHORT_DATE_FORMAT")
