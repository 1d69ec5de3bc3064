"""Numbers as explanations write them."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

from synapscale.common.money import usd_text

_UNITS = ((86_400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))


def duration(seconds: int) -> str:
    """``24 hours``, ``15 minutes``, ``90 seconds``: in the largest unit of which they are several, and whole ones."""
    return next(
        f"{seconds // size} {name}s" for size, name in _UNITS if seconds % size == 0 and (seconds > size or size == 1)
    )


def plain(value: Decimal) -> str:
    """Without trailing zeros or an exponent."""
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def percent(share: Decimal) -> str:
    return f"{plain((share * 100).quantize(Decimal('0.01'), ROUND_HALF_UP))} %"


def usd(amount: Decimal) -> str:
    """All digits that there are."""
    return f"${usd_text(amount)}"
