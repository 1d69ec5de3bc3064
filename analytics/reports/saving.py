"""Reports as they are made and changed: checked with the rights of whoever does it."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from contextlib import nullcontext
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone
from rest_framework.serializers import ValidationError

from analytics.asking import Asked, Asker, sees_all_of, sees_fleet
from analytics.models import Report, ReportMail, ReportRun
from analytics.reports import definitions, schedule
from analytics.reports.windows import window_of
from synapscale.common import audit
from synapscale.common.errors import Conflict
from workspaces.models import Membership, Workspace

MAX_REPORTS = 500
"""Of one workspace: each may be run every day."""


def create(who: Asker, **fields: Any) -> Report:
    """Raises ValidationError, naming the field, and Conflict."""
    report = Report(workspace=who.workspace, created_by=who.user, **fields)
    _check(report, who)
    with transaction.atomic():
        # One after the other, so that each counts those before it.
        Workspace.objects.select_for_update(no_key=True).get(pk=who.workspace.pk)
        if Report.objects.filter(workspace=who.workspace).count() >= MAX_REPORTS:
            raise Conflict(f"A workspace has at most {MAX_REPORTS} reports: delete one first.", code="too_many_reports")
        _save(report, who, is_noted=report.is_for_staff)
    return report


def change(report: Report, who: Asker, **fields: Any) -> Report:
    """Raises ValidationError, naming the field, and Conflict."""
    due_at, was_for_staff = report.next_run_at, report.is_for_staff
    for name, value in fields.items():
        setattr(report, name, value)
    _check(report, who)
    changed = {*fields, "start_at", "end_at", "is_for_staff", "updated_at"}
    if {"schedule", "hour", "tz"} & set(fields):
        changed.add("next_run_at")
    else:
        report.next_run_at = due_at  # a change of the name must not undo what a run has written since
    _save(report, who, is_noted=was_for_staff or report.is_for_staff, update_fields=sorted(changed))
    return report


def delete(report: Report) -> None:
    """With its runs, and the links that were not sent yet."""
    with transaction.atomic():
        own = Report.objects.filter(workspace_id=report.workspace_id, pk=report.pk)
        stored = own.select_for_update().first()  # a run that is being made is waited for, and goes with it
        if stored is None:
            return
        # One after the other, and past Django's own look for what points at them, which knows no workspaces.
        for model in (ReportMail, ReportRun):
            rows = model._default_manager.filter(workspace_id=report.workspace_id, report=report)
            rows._raw_delete(rows.db)
        own._raw_delete(own.db)
        if stored.is_for_staff:
            audit.record_deletion(stored)


def _save(report: Report, who: Asker, *, is_noted: bool, **options: Any) -> None:
    """With an entry in the audit log where it reaches beyond its workspace: no customer does that."""
    try:
        with transaction.atomic(), audit.acts(who.user) if is_noted else nullcontext():
            report.save(**options)
    except IntegrityError as error:
        if "reports_once" in str(error) or "reports.name" in str(error):  # PostgreSQL's words, and SQLite's
            raise ValidationError({"name": ["Another report of the workspace has this name."]}) from None
        raise


def _check(report: Report, who: Asker) -> None:
    now = timezone.now()
    if report.period == Report.Period.FIXED:
        missing = {
            name: ["A fixed period has a start and an end."] for name in ("start", "end") if not _of(report, name)
        }
        if missing:
            raise ValidationError(missing)
        assert report.start_at is not None
        assert report.end_at is not None
        if report.start_at >= report.end_at:
            raise ValidationError({"end": ["It must be later than the start."]})
    else:
        report.start_at = report.end_at = None
    report.next_run_at = schedule.next_after(report, now)
    try:
        asked = definitions.asked(who, report.definition, kind=report.kind, window=window_of(report, now=now))
    except ValidationError as error:
        raise ValidationError({"definition": error.detail}) from None
    report.is_for_staff = asked.workspace != who.workspace
    _check_recipients(report, who, asked)


def _of(report: Report, name: str) -> Any:
    return getattr(report, f"{name}_at")


def _check_recipients(report: Report, who: Asker, asked: Asked) -> None:
    report.recipients = list(dict.fromkeys(report.recipients))
    members = members_among(report.workspace_id, report.recipients)
    for key in report.recipients:
        if (member := members.get(uuid.UUID(key))) is None:
            raise ValidationError({"recipients": [f"{key} is no member of the workspace."]})
        if member.user_id == who.user.pk or sees_fleet(member.user):
            continue
        if report.is_for_staff:
            raise ValidationError({"recipients": ["What reaches beyond the workspace can be sent to staff alone."]})
        shows_one = asked.wanted.user_id is not None
        if not member.may_administer and (shows_one or not sees_all_of(who, asked.workspace)):
            said = "What one user did can be sent to that user, and to admins and owners of the workspace."
            raise ValidationError({"recipients": [said]})


def members_among(workspace_id: uuid.UUID, keys: Iterable[Any]) -> dict[uuid.UUID, Membership]:
    """Those of the users ``keys`` who are in the workspace and active, by their keys."""
    rows = Membership.objects.select_related("user").filter(workspace_id=workspace_id, user__is_active=True)
    return {membership.user_id: membership for membership in rows.filter(user_id__in=list(keys))}


def owners_of(workspace_id: uuid.UUID) -> list[uuid.UUID]:
    """The users who own the workspace and are active."""
    rows = Membership.objects.filter(workspace_id=workspace_id, user__is_active=True, role=Membership.Role.OWNER)
    return list(rows.order_by("pk").values_list("user_id", flat=True))
