"""Back office: numbers as people of a language read them. What is exact to the last digit is in the API, lists and statements."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

from django.utils import formats

from synapscale.common import amounts

count, milliseconds = amounts.whole, amounts.milliseconds
_CENT, _MICRO = Decimal("0.01"), Decimal("0.000001")


def usd(amount: Decimal) -> str:
    """An amount in USD: to the cent from a dollar on, below that to the sixth place. ``$1,234.50``, ``$0.000052``."""
    rounded = amount.quantize(_CENT if not amount or abs(amount) >= 1 else _MICRO, ROUND_HALF_UP)
    text = format(abs(rounded), "f")
    whole, _point, places = text.partition(".")
    places = places.rstrip("0").ljust(2, "0")
    number = formats.number_format(Decimal(f"{whole}.{places}"), decimal_pos=len(places), force_grouping=True)
    return amounts.signed(number, is_negative=rounded < 0)


def percent(share: Decimal | str | None, *, places: int = 1) -> str:
    """A share (0.052) as ``5.2 %``; a dash where there is nothing to divide by."""
    if share is None:
        return "–"
    return f"{amounts.rounded(Decimal(share) * 100, places)} %"


def change(now: Decimal, before: Decimal, *, places: int = 0) -> str:
    """How much more or less than before: ``+12 %``; nothing where there was nothing."""
    if not before:
        return ""
    moved = ((now - before) / before * 100).quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP)
    return f"{'+' if moved > 0 else ''}{amounts.rounded(moved, places)} %"
