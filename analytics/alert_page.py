"""Back office: what the page of an alert says: what happened, in which figures, where to look, and who was told."""

from __future__ import annotations

from datetime import timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any
from urllib.parse import urlencode

from auditlog.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db.models import Q
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _

from analytics.alerting import conditions
from analytics.models import Alert, AlertDelivery, AlertRule, Subject
from synapscale.common import amounts, stored_words
from synapscale.common.history import what
from synapscale.common.panels import Panel

SHOWN = 10
Row = dict[str, Any]


def amount(condition_key: str, value: Decimal) -> str:
    """A value or threshold in the unit of its condition, as the reader's language writes it."""
    condition = conditions.get(condition_key)
    unit = condition.unit if condition else ""
    if unit == "USD":
        return amounts.dollars(value)
    if unit.startswith("share"):
        return f"{amounts.plain((value * 100).quantize(Decimal('0.01'), ROUND_HALF_UP))} %"
    return f"{amounts.plain(value)} {_(unit)}".strip() if unit else amounts.plain(value)


def context(request: HttpRequest, alert: Alert) -> Row:
    """Three queries."""
    rule = alert.rule
    is_silenced = rule.silenced_until is not None and rule.silenced_until > timezone.now()
    return {
        "alert": alert,
        "value": amount(rule.condition, alert.value),
        "threshold": amount(rule.condition, alert.threshold),
        "rule_url": reverse("admin:analytics_alertrule_change", args=[rule.pk]),
        "sees_rule": request.user.has_perm("analytics.view_alertrule"),
        "silenced_until": rule.silenced_until if is_silenced else None,
        "rows": _rows(request, alert, rule),
        "deliveries": _deliveries(alert) if request.user.has_perm("analytics.view_alertdelivery") else None,
        "deliveries_url": f"{reverse('admin:analytics_alertdelivery_changelist')}?{urlencode(_of(alert))}",
        "done": _done(alert, rule),
    }


PANEL = Panel("admin/analytics/alert/panel.html", context)


def _of(alert: Alert) -> dict[str, str]:
    return {"workspace__id__exact": str(alert.workspace_id), "alert__id__exact": str(alert.pk)}


def _rows(request: HttpRequest, alert: Alert, rule: AlertRule) -> list[Row]:
    """Where the rows are that it is about."""
    found: list[tuple[str, str, str]] = []
    window = {
        "created_at__gte": (alert.last_seen_at - timedelta(seconds=rule.window_seconds)).isoformat(),
        "created_at__lt": alert.last_seen_at.isoformat(),
        **({"status__exact": "error"} if rule.condition == "error_rate" else {}),
    }
    usage = {
        Subject.FLEET: {},
        Subject.WORKSPACE: {"workspace__id__exact": alert.subject_id},
        Subject.USER: {"workspace__id__exact": str(alert.workspace_id), "user__id__exact": alert.subject_id},
        Subject.LLM: {"llm__id__exact": alert.subject_id},
    }.get(Subject(alert.subject_kind))
    if usage is not None:
        url = f"{reverse('admin:conversations_usagelog_changelist')}?{urlencode({**usage, **window})}"
        title = _("The calls that failed") if rule.condition == "error_rate" else _("The calls of the window")
        found.append(("conversations.view_usagelog", title, url))
    match alert.subject_kind:
        case Subject.WORKSPACE:
            url = reverse("admin:workspaces_workspace_change", args=[alert.subject_id])
            found.append(("workspaces.view_workspace", _("The workspace"), url))
        case Subject.USER:
            url = reverse("admin:workspaces_user_change", args=[alert.subject_id])
            found.append(("workspaces.view_user", _("The person"), url))
        case Subject.LLM:
            url = reverse("admin:llm_llm_change", args=[alert.subject_id])
            found.append(("llm.view_llm", _("The model"), url))
        case Subject.PROVIDER:
            query = urlencode({"provider__exact": alert.subject_id})
            url = f"{reverse('admin:llm_llm_changelist')}?{query}"
            found.append(("llm.view_llm", _("The models of the provider"), url))
        case Subject.KEY:
            url = reverse("admin:workspaces_uservariable_change", args=[alert.subject_id])
            found.append(("workspaces.view_uservariable", _("The key"), url))
    return [{"title": title, "url": url} for permission, title, url in found if request.user.has_perm(permission)]


def _deliveries(alert: Alert) -> list[Row]:
    """One query."""
    rows = AlertDelivery.objects.filter(workspace_id=alert.workspace_id, alert=alert).select_related("endpoint")
    return [
        {
            "event": row.get_event_display(),
            "to": row.recipient or (row.endpoint.url if row.endpoint else ""),
            "state": row.get_state_display(),
            "level": {"sent": "ok", "failed": "critical"}.get(row.state, "warning"),
            "attempts": row.attempts,
            "error": stored_words.said(row, "last_error"),
            "url": reverse("admin:analytics_alertdelivery_change", args=[row.pk]),
        }
        for row in rows.defer("payload").order_by("-pk")[:SHOWN]
    ]


def _done(alert: Alert, rule: AlertRule) -> list[Row]:
    """What operators did about it, and about its rule since it began. One query."""
    kinds = ContentType.objects.get_for_models(Alert, AlertRule)
    about = Q(content_type=kinds[Alert], object_pk=str(alert.pk)) | Q(
        content_type=kinds[AlertRule], object_pk=str(rule.pk), timestamp__gte=alert.fired_at
    )
    entries = LogEntry.objects.filter(about, actor_email__isnull=False).order_by("-pk")[:SHOWN]
    return [
        {
            "what": what(entry),
            "of_rule": entry.content_type_id == kinds[AlertRule].pk,
            "who": entry.actor_email,
            "at": entry.timestamp,
            "note": (entry.additional_data or {}).get("note") or (entry.additional_data or {}).get("reason") or "",
        }
        for entry in entries
    ]
