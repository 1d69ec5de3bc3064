"""What is charged: one rule, in one place."""

from __future__ import annotations

from billing.models import Wallet
from workspaces.models import User, Workspace

OWN_KEYS = frozenset({"user", "workspace"})


def should_charge(user: User, workspace: Workspace, key_source: str, *, wallet: Wallet | None = None) -> bool:
    """Whether an answer is charged to the workspace's wallet.

    Calls on the house's key are; calls on the user's or the workspace's own key are metered only, unless the wallet has
    a platform fee for them; calls of an untracked wallet are never charged. ``key_source`` is ``user``, ``workspace`` or
    ``global``.
    """
    wallet = wallet or Wallet.objects.get(workspace=workspace)
    if wallet.mode == Wallet.Mode.UNTRACKED:
        return False
    return key_source not in OWN_KEYS or wallet.own_key_fee_bps > 0


def basis_points(key_source: str, *, wallet: Wallet) -> int:
    """By how much the charge differs from the provider's price: on the house's key the markup on top of it, on an own
    key the part of it that is the platform's fee. In hundredths of a percent.
    """
    return wallet.own_key_fee_bps if key_source in OWN_KEYS else wallet.markup_bps
