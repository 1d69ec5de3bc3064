"""For how long a wallet lasts, if it goes on as it went."""

from __future__ import annotations

from decimal import Decimal

from billing.models import Wallet
from synapscale.common.money import ZERO

RATE_DAYS = 7
"""The rate is that of so many days."""


def days_left(wallet: Wallet, spent: Decimal) -> Decimal | None:
    """For how many days it has enough, where ``spent`` (USD) is what it paid in the last ``RATE_DAYS``; None: without end."""
    if wallet.mode == Wallet.Mode.UNTRACKED or not spent:
        return None
    return max(wallet.available, ZERO) / (spent / RATE_DAYS)
