"""From a provider's price of a call to what the customer owes for it, and back."""

from __future__ import annotations

from decimal import Decimal

from billing.policy import OWN_KEYS
from llm import pricing


def due_of(cost: Decimal, *, key_source: str, basis_points: int) -> Decimal:
    """What a charged call that costs ``cost`` comes to, in USD, rounded once, down, at the 12th place.

    On the house's key the price and ``basis_points`` of it on top; on an own key, whose owner pays the provider, only
    that part of it, as the platform's fee.
    """
    if key_source in OWN_KEYS:
        return pricing.part_of(cost, basis_points=basis_points)
    return pricing.with_markup(cost, basis_points=basis_points)


def cost_affordable(money: Decimal, *, key_source: str, basis_points: int) -> Decimal:
    """A cost whose ``due_of`` never exceeds ``money``, in USD. On an own key ``basis_points`` is not zero."""
    if key_source in OWN_KEYS:
        return pricing.whole_of(money, basis_points=basis_points)
    return pricing.without_markup(money, basis_points=basis_points)
