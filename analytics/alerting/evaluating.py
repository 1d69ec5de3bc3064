"""Looks at what the rules watch, fires what is over, and resolves what is not any more.

Safe to run at any time, by any number of processes at once: the figures are read first, outside any transaction; then
each alert changes in a short one of its own, together with the rows of the outbox that tell of it. That nothing fires
twice is the database's word (a unique constraint), and that nothing resolves twice a conditional UPDATE.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Q
from django.utils import timezone, translation
from django.utils.translation import gettext, gettext_lazy

from analytics.alerting import conditions, outbox, rules
from analytics.alerting.conditions import Observation
from analytics.models import Alert, AlertEvent, AlertRule
from synapscale.common import audit
from synapscale.common.db import retry_transaction
from synapscale.common.errors import Conflict
from synapscale.common.tenancy import fleet_wide
from workspaces import system
from workspaces.models import User

logger = logging.getLogger(__name__)

Subject = tuple[uuid.UUID, str, str]
"""Workspace, kind and id."""


@dataclass(slots=True)
class Report:
    """What one run did."""

    fired: list[Alert] = field(default_factory=list)
    resolved: list[Alert] = field(default_factory=list)
    failed: list[AlertRule] = field(default_factory=list)
    """Rules that could not be looked at; the others were."""

    def __str__(self) -> str:
        return f"{len(self.fired)} fired, {len(self.resolved)} resolved, {len(self.failed)} rules failed"


def evaluate_due(*, now: datetime | None = None) -> Report:
    """Look at all rules once. ``now`` is for tests: when the windows end.

    A rule that fails is logged and left as it is, and the others are looked at all the same.
    """
    report = Report()
    rules.ensure_builtin()
    for rule in AlertRule.objects.order_by("pk"):
        try:
            _evaluate(rule, now or timezone.now(), report)
        except Exception:
            logger.exception("alert rule %s could not be looked at", rule.pk)
            report.failed.append(rule)
    return report


def _evaluate(rule: AlertRule, now: datetime, report: Report) -> None:
    condition = conditions.get(rule.condition)
    observed: Sequence[Observation] = ()
    if rule.is_active and condition is not None:
        conditions.require_sound(rule)  # or a rule that was edited past the API would find nonsense
        observed = condition.find(rule, now)
    over = {_subject(one): one for one in observed}
    open_alerts, cooling = _known(rule, now)
    for subject, one in over.items():
        if (alert := open_alerts.get(subject)) is not None:
            _see_again(alert, one, now)
        elif subject not in cooling and not _is_silenced(rule, now):
            fired = retry_transaction(_fire, rule, one, now)
            report.fired += [fired] if fired else []
    for subject, alert in open_alerts.items():
        # One that another process has seen since is not over, whatever was so when these figures were read.
        if subject not in over and alert.last_seen_at < now and retry_transaction(_resolve, alert, rule, now):
            report.resolved.append(alert)


def _subject(one: Observation) -> Subject:
    return one.workspace_id or system.WORKSPACE_ID, one.kind.value, one.subject_id


def _is_silenced(rule: AlertRule, now: datetime) -> bool:
    return rule.silenced_until is not None and rule.silenced_until > now


def _known(rule: AlertRule, now: datetime) -> tuple[dict[Subject, Alert], set[Subject]]:
    """The rule's open alerts, and what has resolved so lately that it does not fire again. One query, made after the
    figures were read: what another process has fired or resolved meanwhile is known.
    """
    is_open = Q(state__in=Alert.OPEN)
    has_cooled = now - timedelta(seconds=rule.cooldown_seconds)
    alerts = Alert.objects.filter(is_open | Q(resolved_at__gt=has_cooled), rule=rule)
    if rule.workspace_id is not None:
        found = list(alerts.filter(workspace_id=rule.workspace_id))
    else:
        with fleet_wide():
            found = list(alerts)
    by_subject = [((alert.workspace_id, alert.subject_kind, alert.subject_id), alert) for alert in found]
    return (
        {subject: alert for subject, alert in by_subject if alert.state in Alert.OPEN},
        {subject for subject, alert in by_subject if alert.state == Alert.State.RESOLVED},
    )


def _in_english(one: Observation) -> dict[str, str]:
    """What programs read."""
    with translation.override("en"):
        return {"subject_label": one.label[:300], "explanation": one.explanation}


def _see_again(alert: Alert, one: Observation, now: datetime) -> None:
    """Of two processes, the one with the later figures has the last word."""
    rows = Alert.objects.filter(workspace_id=alert.workspace_id, pk=alert.pk, state__in=Alert.OPEN)
    rows.filter(last_seen_at__lt=now).update(
        value=one.value,
        threshold=one.threshold,
        facts=one.facts,
        explanation=_in_english(one)["explanation"],
        last_seen_at=now,
    )


def _fire(rule: AlertRule, one: Observation, now: datetime) -> Alert | None:
    """The new alert; None where another process was faster."""
    workspace_id = one.workspace_id or system.membership().workspace_id
    alert = Alert(
        workspace_id=workspace_id,
        rule=rule,
        subject_kind=one.kind,
        subject_id=one.subject_id,
        user_id=one.user_id,
        severity=rule.severity,
        value=one.value,
        threshold=one.threshold,
        facts=one.facts,
        fired_at=now,
        last_seen_at=now,
        **_in_english(one),
    )
    try:
        with transaction.atomic():
            alert.save(force_insert=True)
            outbox.write(AlertEvent.FIRING, alert, rule, now=now)
    except IntegrityError:
        same = Alert.objects.filter(
            workspace_id=workspace_id, rule=rule, subject_kind=one.kind, subject_id=one.subject_id
        )
        if not same.exists():
            raise
        return None
    return alert


@transaction.atomic
def _resolve(alert: Alert, rule: AlertRule, now: datetime) -> bool:
    """Whether it was this process that resolved it. Of a rule that is silenced or switched off no person is told, but the
    programs are: they have heard that it began, and would hold it for open for ever.
    """
    rows = Alert.objects.filter(workspace_id=alert.workspace_id, pk=alert.pk, state__in=Alert.OPEN)
    if not rows.filter(last_seen_at__lt=now).update(state=Alert.State.RESOLVED, resolved_at=now):
        return False
    alert.refresh_from_db()
    is_quiet = not rule.is_active or _is_silenced(rule, now)
    outbox.write(AlertEvent.RESOLVED, alert, rule, now=now, is_mailed=not is_quiet)
    return True


@transaction.atomic
def acknowledge(alert: Alert, *, by: User, note: str = "") -> bool:
    """Say that ``by`` looks after it, and note it in the audit log; ``alert`` is then as it is stored. False: it was said
    before, and nothing changed. Raises Conflict for one that is over.
    """
    now = timezone.now()
    firing = Alert.objects.filter(workspace_id=alert.workspace_id, pk=alert.pk, state=Alert.State.FIRING)
    is_first = firing.update(state=Alert.State.ACKNOWLEDGED, acknowledged_at=now, acknowledged_by=by)
    alert.refresh_from_db()
    if is_first:
        outbox.write(AlertEvent.ACKNOWLEDGED, alert, alert.rule, now=now)
        changes = {"state": (Alert.State.FIRING, alert.state)}
        facts: dict[str, Any] = {"note": note} if note else {}
        audit.record(alert, what=gettext_lazy("Acknowledged."), changes=changes, actor=by, **facts)
    elif alert.state == Alert.State.RESOLVED:
        raise Conflict(gettext("This alert is over."), code="alert_resolved")
    return bool(is_first)
