"""Alerts in the outbox, and somebody who listens."""

from __future__ import annotations

from typing import Any

import pytest
from django.utils import timezone

from analytics.alerting import outbox
from analytics.models import Alert, AlertDelivery, AlertEvent, AlertRule, WebhookEndpoint
from tests.analytics.alerting import Listener, deliveries, make_endpoint, make_rule
from tests.people import Cast
from workspaces.models import Workspace


def fire(workspace: Workspace, rule: AlertRule | None = None, **fields: Any) -> Alert:
    """An alert about nothing in particular, and its rows in the outbox."""
    now = timezone.now()
    rule = rule or make_rule(workspace, name=f"Rule {now.isoformat()}")
    given = {
        "subject_kind": "workspace",
        "subject_id": str(workspace.pk),
        "subject_label": str(workspace),
        "severity": "critical",
        "value": 2,
        "threshold": 1,
        "explanation": "Two is more than one.",
        "fired_at": now,
        "last_seen_at": now,
        **fields,
    }
    alert = Alert.objects.create(workspace=workspace, rule=rule, **given)
    outbox.write(AlertEvent.FIRING, alert, rule, now=now)
    return alert


@pytest.fixture
def hooked(cast: Cast, listener: Listener) -> tuple[AlertDelivery, WebhookEndpoint, str]:
    """A delivery to the listener that is due, and its endpoint with its secret. Nobody gets a mail."""
    endpoint, secret = make_endpoint(cast.alice.workspace, listener.url)
    fire(cast.alice.workspace)
    AlertDelivery.objects.filter(workspace=cast.alice.workspace, channel="email").delete()
    (delivery,) = deliveries()
    return delivery, endpoint, secret
