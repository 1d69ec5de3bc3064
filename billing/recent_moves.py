"""What somebody has moved or lent in the back office lately. Read from the audit log, which has it with who did it, by an index."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from auditlog.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.utils import timezone

from billing.models import Wallet
from synapscale.common.money import ZERO
from workspaces.models import User

WINDOW = timedelta(hours=1)
LENT = "lent"
"""The fact of an entry that says how much further below zero a wallet may go, in USD."""
PASSWORD = "password_given"  # noqa: S105
"""The fact of an entry that says that it was done with the password: with it everything before is answered for."""


def since_password(user: User, *, but: tuple[UUID, str]) -> Decimal:
    """What ``user`` has added to balances and credit limits (USD) within the last hour, since the password was last given
    for it. Of what was taken away nothing comes off. ``but``: a wallet and the reference of a movement on it that is left
    out, because whoever sends its form again moves nothing.

    Belongs behind ``passwords.one_after_another``: then the entries' keys are in the order in which they were committed,
    whatever the clocks of servers say, and nobody adds one meanwhile.
    """
    entries = LogEntry.objects.filter(
        actor=user,
        content_type=ContentType.objects.get_for_model(Wallet),
        timestamp__gt=timezone.now() - WINDOW,
    )
    total = ZERO
    for wallet, changes, facts in entries.order_by("-pk").values_list("object_pk", "changes", "additional_data"):
        facts = facts or {}
        if (wallet, facts.get("reference")) == (str(but[0]), but[1]):
            continue
        if facts.get(PASSWORD):
            break
        total += _added(changes or {}) + Decimal(facts.get(LENT, 0))
    return total


def _added(changes: dict[str, Any]) -> Decimal:
    before, after = changes.get("balance", ("0", "0"))
    return max(Decimal(after) - Decimal(before), ZERO)
