"""Numbers as explanations write them, in the language that is spoken."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop, ngettext

from synapscale.common import amounts

_LAST = (
    (86_400, gettext_noop("of the last %(number)s days")),
    (3600, gettext_noop("of the last %(number)s hours")),
    (60, gettext_noop("of the last %(number)s minutes")),
    (1, gettext_noop("of the last %(number)s seconds")),
)


def window(seconds: int) -> str:
    """``of the last 24 hours``, ``… 15 minutes``, ``… 90 seconds``: in the largest unit of which they are several, and whole
    ones.
    """
    size, text = next(one for one in _LAST if one[0] == 1 or (seconds % one[0] == 0 and seconds > one[0]))
    return _(text) % {"number": amounts.whole(seconds // size)}


def percent(share: Decimal) -> str:
    return f"{amounts.plain((share * 100).quantize(Decimal('0.01'), ROUND_HALF_UP))} %"


def calls(number: int) -> str:
    return ngettext("%(number)s call", "%(number)s calls", number) % {"number": amounts.whole(number)}


def answers(number: int) -> str:
    return ngettext("%(number)s answer", "%(number)s answers", number) % {"number": amounts.whole(number)}


def days(number: Decimal) -> str:
    """``1 day``, ``2.5 days``; ``1,5 dia`` where what is less than two is one."""
    whole = int(number) if number == 1 or number >= 2 else 0  # the plural forms of languages are of whole numbers
    return ngettext("%(number)s day", "%(number)s days", whole) % {"number": amounts.plain(number)}


def exactly(value: Decimal) -> str:
    """As facts keep it: without an exponent, and without zeros at the end."""
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text
