"""What is guessed of a text, and how sure the guess is."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

_PLACES = Decimal("0.001")


@dataclass(frozen=True, slots=True)
class Guess:
    """A label, and the confidence from 0 to 1 at three places."""

    label: str
    confidence: Decimal

    @classmethod
    def of(cls, label: str, probability: float) -> Guess:
        """A guess from a model's probability, which sums of floats may have pushed a little out of 0 to 1."""
        return cls(label, Decimal(min(max(probability, 0.0), 1.0)).quantize(_PLACES))
