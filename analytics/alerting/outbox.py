"""Who is told of an alert, written down in the transaction that changes it.

Operators are told what their own rules find: at the addresses of ``ALERT_EMAILS`` and their webhooks. A workspace is told
of what happens in it, whoever's rule it is: its owners and admins by mail, its webhooks, and of a user's own provider key
that user.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import Q

from analytics.alerting import payloads
from analytics.models import Alert, AlertDelivery, AlertEvent, AlertRule, Subject, WebhookEndpoint
from workspaces import system
from workspaces.models import Membership, User

GIVE_UP_AFTER = timedelta(hours=24)


def write(event: AlertEvent, alert: Alert, rule: AlertRule, *, now: datetime, is_mailed: bool = True) -> int:
    """One row for everybody who is to be told of this change, without mails for webhooks alone; how many. Within the
    caller's transaction.
    """
    payload = payloads.document(event, alert, rule, at=now)
    told = {**payload, "facts": alert.facts}  # a mail is written in its own language, when it is sent
    common = {
        "workspace_id": alert.workspace_id,
        "alert": alert,
        "event": event,
        "next_attempt_at": now,
        "give_up_at": now + GIVE_UP_AFTER,
    }
    rows = [
        *(
            AlertDelivery(channel=AlertDelivery.Channel.WEBHOOK, endpoint=endpoint, payload=payload, **common)
            for endpoint in _endpoints(alert, rule)
        ),
        *(
            AlertDelivery(channel=AlertDelivery.Channel.EMAIL, recipient=address, payload=told, **common)
            for address in (_addresses(alert, rule) if is_mailed else [])
        ),
    ]
    AlertDelivery.objects.bulk_create(rows)
    return len(rows)


def _endpoints(alert: Alert, rule: AlertRule) -> list[WebhookEndpoint]:
    whose = Q(workspace_id=alert.workspace_id)
    if rule.workspace_id is None:
        whose |= Q(workspace=None)
    return list(WebhookEndpoint.objects.filter(whose, is_active=True).order_by("pk"))


def _addresses(alert: Alert, rule: AlertRule) -> list[str]:
    found = list(settings.ALERT_EMAILS) if rule.workspace_id is None else []
    if alert.workspace_id != system.WORKSPACE_ID:
        runs_it = Q(
            memberships__workspace_id=alert.workspace_id,
            memberships__role__in=[Membership.Role.OWNER, Membership.Role.ADMIN],
        )
        if alert.subject_kind == Subject.KEY and alert.user_id:
            runs_it |= Q(pk=alert.user_id)
        people = User.objects.filter(runs_it, is_active=True).order_by("email")
        found += people.values_list("email", flat=True).distinct()
    return list(dict.fromkeys(address.lower() for address in found))
