"""Back office: numbers as people of a language read them. What is exact to the last digit is in the API, lists and statements."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

from django.utils import formats
from django.utils.translation import gettext as _

from synapscale.common import amounts

_CENT, _MICRO = Decimal("0.01"), Decimal("0.000001")


def usd(amount: Decimal) -> str:
    """An amount in USD: to the cent from a dollar on, below that to the sixth place. ``$1,234.50``, ``$0.000052``."""
    rounded = amount.quantize(_CENT if not amount or abs(amount) >= 1 else _MICRO, ROUND_HALF_UP)
    text = format(abs(rounded), "f")
    whole, _point, places = text.partition(".")
    places = places.rstrip("0").ljust(2, "0")
    number = formats.number_format(Decimal(f"{whole}.{places}"), decimal_pos=len(places), force_grouping=True)
    return amounts.signed(number, is_negative=rounded < 0)


def count(number: int) -> str:
    """``1,234``."""
    return formats.number_format(number, decimal_pos=0, force_grouping=True)


def _rounded(number: Decimal, places: int) -> str:
    """Django's own format cuts digits off."""
    rounded = number.quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP)
    return formats.number_format(rounded, decimal_pos=places, force_grouping=True)


def percent(share: Decimal | str | None, *, places: int = 1) -> str:
    """A share (0.052) as ``5.2 %``; a dash where there is nothing to divide by."""
    if share is None:
        return "–"
    return f"{_rounded(Decimal(share) * 100, places)} %"


def milliseconds(value: int | None) -> str:
    """``850 ms``, ``4.2 s``."""
    if value is None:
        return "–"
    if value < 1000:
        return _("%(number)s ms") % {"number": count(value)}
    return _("%(number)s s") % {"number": _rounded(Decimal(value) / 1000, 1)}


def change(now: Decimal, before: Decimal) -> str:
    """How much more or less than before: ``+12 %``; nothing where there was nothing."""
    if not before:
        return ""
    moved = ((now - before) / before * 100).quantize(Decimal(1), ROUND_HALF_UP)
    return f"{'+' if moved > 0 else ''}{formats.number_format(moved, decimal_pos=0, force_grouping=True)} %"
