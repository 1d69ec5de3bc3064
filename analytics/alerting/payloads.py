"""What people and programs are told of an alert: one document, and the mail that says the same in words.

Nothing in it is secret: names, numbers and times, never what anybody asked or answered, nor any key.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from analytics.alerting import conditions, explanations
from analytics.models import Alert, AlertRule, Severity
from synapscale.common import mailing
from synapscale.common.moments import moment
from synapscale.common.money import usd_text
from workspaces import system
from workspaces.models import Workspace

PING = "ping"


def alert_json(alert: Alert, rule: AlertRule) -> dict[str, Any]:
    """The alert as it is now: as the API shows it."""

    def iso(at: datetime | None) -> str | None:
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
        "fired_at": iso(alert.fired_at),
        "last_seen_at": iso(alert.last_seen_at),
        "acknowledged_at": iso(alert.acknowledged_at),
        "acknowledged_by": str(alert.acknowledged_by_id) if alert.acknowledged_by_id else None,
        "resolved_at": iso(alert.resolved_at),
    }


def document(event: str, alert: Alert, rule: AlertRule, *, at: datetime) -> dict[str, Any]:
    """What is posted: ``type``, ``timestamp`` and ``data``, as Standard Webhooks recommends."""
    return {"type": f"alert.{event}", "timestamp": at.isoformat(), "data": {"alert": alert_json(alert, rule)}}


def ping(*, at: datetime) -> dict[str, Any]:
    """What the test of an endpoint posts."""
    return {"type": PING, "timestamp": at.isoformat(), "data": {}}


_HEADLINES = {
    "alert.firing": gettext_noop("%(severity)s: %(rule)s: %(subject)s"),
    "alert.acknowledged": gettext_noop("Acknowledged: %(rule)s: %(subject)s"),
    "alert.resolved": gettext_noop("Resolved: %(rule)s: %(subject)s"),
}
_TIMES = {
    "fired_at": gettext_noop("Fired: %(moment)s"),
    "acknowledged_at": gettext_noop("Acknowledged: %(moment)s"),
    "resolved_at": gettext_noop("Resolved: %(moment)s"),
}


def mail(payload: dict[str, Any], workspace: Workspace) -> tuple[str, str]:
    """Subject and text of the mail that says what ``payload`` does, and its ``facts``, in the language of mails."""
    with mailing.language():
        return _mail(payload, workspace)


def _mail(payload: dict[str, Any], workspace: Workspace) -> tuple[str, str]:
    alert, facts = payload["data"]["alert"], payload.get("facts") or {}
    severity = Severity(alert["severity"]).label
    rule = _(alert["rule"]["name"]) if alert["rule"]["is_builtin"] else alert["rule"]["name"]
    headline = _(_HEADLINES[payload["type"]]) % {
        "severity": severity,
        "rule": rule,
        "subject": explanations.label(facts) or alert["subject"]["label"],
    }
    times = [
        _(text) % {"moment": moment(datetime.fromisoformat(alert[name]))}
        for name, text in _TIMES.items()
        if alert[name]
    ]
    lines = [
        explanations.told(facts, alert["explanation"]),
        "",
        *([_("Workspace: %(slug)s") % {"slug": workspace.slug}] if alert["workspace"] else []),
        _("Rule: %(rule)s") % {"rule": rule},
        _("Severity: %(severity)s") % {"severity": severity},
        *times,
        "",
        _("%(show)s shows it; %(acknowledge)s says that somebody looks after it.")
        % {"show": f"GET /api/v1/analytics/alerts/{alert['id']}", "acknowledge": "POST …/acknowledge"},
    ]
    # A name with a line break in it would end the header.
    return " ".join(f"[SynapScale] {headline}".split()), "\n".join(lines) + "\n"
