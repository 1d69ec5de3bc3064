"""What people and programs are told of an alert: one document, and the mail that says the same in words.

Nothing in it is secret: names, numbers and times, never what anybody asked or answered, nor any key.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from analytics.alerting import conditions
from analytics.models import Alert, AlertRule
from synapscale.common.money import usd_text
from workspaces import system
from workspaces.models import Workspace

PING = "ping"


def alert_json(alert: Alert, rule: AlertRule) -> dict[str, Any]:
    """The alert as it is now: as the API shows it."""

    def moment(at: datetime | None) -> str | None:
        return None if at is None else at.isoformat()

    condition = conditions.get(rule.condition)
    return {
        "id": str(alert.pk),
        "rule": {"id": str(rule.pk), "name": rule.name, "condition": rule.condition, "is_builtin": rule.is_builtin},
        "workspace": None if alert.workspace_id == system.WORKSPACE_ID else str(alert.workspace_id),
        "subject": {"kind": alert.subject_kind, "id": alert.subject_id, "label": alert.subject_label},
        "state": alert.state,
        "severity": alert.severity,
        "value": usd_text(alert.value),
        "threshold": usd_text(alert.threshold),
        "unit": condition.unit if condition else "",
        "explanation": alert.explanation,
        "fired_at": moment(alert.fired_at),
        "last_seen_at": moment(alert.last_seen_at),
        "acknowledged_at": moment(alert.acknowledged_at),
        "acknowledged_by": str(alert.acknowledged_by_id) if alert.acknowledged_by_id else None,
        "resolved_at": moment(alert.resolved_at),
    }


def document(event: str, alert: Alert, rule: AlertRule, *, at: datetime) -> dict[str, Any]:
    """What is posted: ``type``, ``timestamp`` and ``data``, as Standard Webhooks recommends."""
    return {"type": f"alert.{event}", "timestamp": at.isoformat(), "data": {"alert": alert_json(alert, rule)}}


def ping(*, at: datetime) -> dict[str, Any]:
    """What the test of an endpoint posts."""
    return {"type": PING, "timestamp": at.isoformat(), "data": {}}


_HEADLINES = {
    "alert.firing": "{severity}: {rule}: {label}",
    "alert.acknowledged": "Acknowledged: {rule}: {label}",
    "alert.resolved": "Resolved: {rule}: {label}",
}


def mail(payload: dict[str, Any], workspace: Workspace) -> tuple[str, str]:
    """Subject and text of the mail that says what ``payload`` does."""
    alert = payload["data"]["alert"]
    headline = _HEADLINES[payload["type"]].format(
        severity=alert["severity"].title(), rule=alert["rule"]["name"], label=alert["subject"]["label"]
    )
    times = [
        (name.replace("_", " ").capitalize(), alert[name]) for name in ("fired_at", "acknowledged_at", "resolved_at")
    ]
    lines = [
        alert["explanation"],
        "",
        *([f"Workspace: {workspace.slug}"] if alert["workspace"] else []),
        f"Rule: {alert['rule']['name']}",
        f"Severity: {alert['severity']}",
        *(f"{name.removesuffix(' at')}: {at}" for name, at in times if at),
        "",
        f"GET /api/v1/analytics/alerts/{alert['id']} shows it; POST …/acknowledge says that somebody looks after it.",
    ]
    # A name with a line break in it would end the header.
    return " ".join(f"[SynapScale] {headline}".split()), "\n".join(lines) + "\n"
