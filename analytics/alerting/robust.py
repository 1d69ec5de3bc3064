"""What is usual, said by statistics that a few wild hours can't move: the median, and the median distance from it (MAD)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

CONSISTENCY = Decimal("1.4826")
"""1.4826 times the MAD of normally distributed values is their standard deviation (Rousseeuw and Croux, 1993)."""


def median(values: Sequence[Decimal]) -> Decimal:
    """Of an even number of values, the mean of the two in the middle. Raises ValueError for none."""
    if not values:
        raise ValueError("no values")
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


@dataclass(frozen=True, slots=True)
class Usual:
    """What a value usually is, and how far from that it usually is."""

    median: Decimal
    mad: Decimal
    count: int

    def bound(self, deviations: Decimal, *, floor: Decimal) -> Decimal:
        """The most that is not unusual: ``deviations`` standard deviations above the median, and no less than ``floor``
        above it, so that of what hardly varies a small change is none.
        """
        return self.median + max(deviations * CONSISTENCY * self.mad, floor)


def usual(values: Sequence[Decimal]) -> Usual:
    """Raises ValueError for no values."""
    middle = median(values)
    return Usual(middle, median([abs(value - middle) for value in values]), len(values))
