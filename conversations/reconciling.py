"""Final answers that were saved around the signal (bulk_create, update, loaddata): metered after the fact, once."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field

from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet

from conversations.metering import meter_message
from conversations.models import Message, UsageLog
from synapscale.common.db import retry_transaction
from synapscale.common.tenancy import fleet_wide


@dataclass(slots=True)
class ReconcileReport:
    found: int = 0
    metered: int = 0
    failed: int = 0
    lines: list[str] = field(default_factory=list)


def reconcile(*, is_dry_run: bool = False) -> ReconcileReport:
    """Meter every final assistant message whose last attempt has no usage log, each in its own transaction."""
    report = ReconcileReport()
    with fleet_wide():
        missing = list(_unmetered().values_list("workspace_id", "pk"))
    for workspace_id, message_id in missing:
        report.found += 1
        if is_dry_run:
            report.lines.append(f"{message_id}: not metered")
            continue
        try:
            log = retry_transaction(_meter, workspace_id, message_id)
        except Exception as error:  # one bad message must not keep the others from being metered
            report.failed += 1
            report.lines.append(f"{message_id}: {type(error).__name__} {error}".rstrip())
        else:
            report.metered += 1
            report.lines.append(
                f"{message_id}: metered, {log.total_tokens} tokens, charged {log.charged_usd.normalize():f}"
            )
    return report


def _unmetered() -> QuerySet[Message]:
    metered = UsageLog.objects.filter(
        workspace_id=OuterRef("workspace_id"), message_id=OuterRef("pk"), attempt=OuterRef("attempt")
    )
    return Message.objects.filter(
        ~Exists(metered), role=Message.Role.ASSISTANT, status__in=Message.FINAL, llm__isnull=False
    ).order_by("pk")


@transaction.atomic
def _meter(workspace_id: uuid.UUID, message_id: uuid.UUID) -> UsageLog:
    message = Message.objects.select_for_update(of=("self",)).get(workspace_id=workspace_id, pk=message_id)
    log = meter_message(message)
    assert log is not None
    return log
