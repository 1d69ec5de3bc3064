"""What analytics does when something below it happens."""

from __future__ import annotations

from typing import Any

from analytics.models import UsageTail
from conversations.models import UsageLog


def usage_metered(sender: type[UsageLog], instance: UsageLog, created: bool, raw: bool = False, **kwargs: Any) -> None:
    """A call goes into the tail in the transaction that meters it: the sums can't miss it, whenever that commits."""
    if created and not raw:
        UsageTail.objects.create(workspace_id=instance.workspace_id, usage_log_id=instance.pk)
