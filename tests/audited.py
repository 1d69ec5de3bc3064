"""What the audit log says."""

from __future__ import annotations

from typing import Any

from auditlog.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db.models import Model

from synapscale.common.history import what


def entries(row: Model | None = None, kind: type[Model] | None = None) -> list[LogEntry]:
    """What somebody did, oldest first: to ``row``, to rows of one ``kind``, or at all."""
    found = LogEntry.objects.exclude(actor=None).select_related("actor", "content_type").order_by("pk")
    if row is not None:
        kind, found = type(row), found.filter(object_pk=str(row.pk))
    if kind is not None:
        found = found.filter(content_type=ContentType.objects.get_for_model(kind))
    return list(found)


def notes(row: Model | None = None, kind: type[Model] | None = None) -> list[str]:
    return [what(entry) for entry in entries(row, kind)]


def changes(row: Model) -> dict[str, Any]:
    """What the last entry says that changed."""
    return dict(entries(row)[-1].changes or {})
