"""What is charged: one rule, in one place."""

from __future__ import annotations

from billing.models import Wallet
from workspaces.models import User, Workspace

OWN_KEYS = frozenset({"user", "workspace"})


def should_charge(user: User, workspace: Workspace, key_source: str, *, wallet: Wallet | None = None) -> bool:
    """Whether an answer is charged to the workspace's wallet.

    Calls on the house's key are; calls on the user's or the workspace's own key are metered only, and so are all
    calls of an untracked wallet. ``key_source`` is ``user``, ``workspace`` or ``global``.
    """
    if key_source in OWN_KEYS:
        return False
    wallet = wallet or Wallet.objects.get(workspace=workspace)
    return wallet.mode != Wallet.Mode.UNTRACKED
