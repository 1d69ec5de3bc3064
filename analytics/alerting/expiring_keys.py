"""Provider keys of users and workspaces that are about to expire, or have just: calls on them would stop."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal

from django.db.models import Q, QuerySet
from django.utils.translation import gettext, gettext_noop

from analytics.alerting import words
from analytics.alerting.conditions import Condition, Default, Observation
from analytics.alerting.subjects import Scope
from analytics.models import AlertRule, Subject
from workspaces.models import Membership, UserVariable


def _find(rule: AlertRule, now: datetime) -> list[Observation]:
    """Keys that are in use and expire within ``threshold`` days, or have within the window. Two statements."""
    latest = now + timedelta(days=float(rule.threshold))
    keys = list(
        _watched(rule)
        .filter(expires_at__gt=now - timedelta(seconds=rule.window_seconds), expires_at__lte=latest)
        .select_related("user", "workspace")
        .order_by("pk")
    )
    homes = {} if rule.workspace_id else _homes(key.user_id for key in keys if key.user_id)
    found = []
    for key in keys:
        workspace_id = rule.workspace_id or key.workspace_id or (homes.get(key.user_id) if key.user_id else None)
        if workspace_id is None:
            continue  # of a user who is in no workspace, and can't call anything
        assert key.expires_at is not None
        days = (Decimal((key.expires_at - now).total_seconds()) / 86_400).quantize(Decimal("0.01"), ROUND_HALF_UP)
        found.append(
            Observation(
                kind=Subject.KEY,
                subject_id=str(key.pk),
                value=days,
                threshold=rule.threshold,
                facts={
                    "condition": rule.condition,
                    "subject": {
                        "provider": key.name,
                        "owner": str(key.user.email if key.user else key.workspace),
                    },
                    "value": words.exactly(days),
                    "threshold": words.exactly(rule.threshold),
                    "expires_at": key.expires_at.isoformat(),
                },
                workspace_id=workspace_id,
                user_id=key.user_id,
            )
        )
    return found


def _watched(rule: AlertRule) -> QuerySet[UserVariable]:
    keys = UserVariable.objects.filter(category=UserVariable.Category.API_KEY, is_active=True)
    keys = keys.exclude(user__is_active=False)
    if rule.workspace_id is not None:
        members = Membership.objects.filter(workspace_id=rule.workspace_id)
        keys = keys.filter(Q(workspace_id=rule.workspace_id) | Q(user__in=members.values("user_id")))
    if rule.scope == Scope.PROVIDER:
        return keys.filter(name=rule.subject_id) if rule.subject_id else keys
    if rule.scope == Scope.WORKSPACE:
        keys = keys.filter(workspace__isnull=False)
        return keys.filter(workspace_id=rule.subject_id) if rule.subject_id else keys
    keys = keys.filter(user__isnull=False)
    return keys.filter(user_id=rule.subject_id) if rule.subject_id else keys


def _homes(users: Iterable[uuid.UUID]) -> dict[uuid.UUID, uuid.UUID]:
    """The workspace that each user was in first: a user's key is good in all of theirs, and one alert is enough."""
    memberships = Membership.objects.filter(user__in=set(users)).order_by("-pk")
    return dict(memberships.values_list("user_id", "workspace_id"))


KEY_EXPIRY = Condition(
    key="key_expiry",
    title=gettext_noop("Provider keys that expire"),
    unit=gettext_noop("days before"),
    scopes=(Scope.PROVIDER, Scope.WORKSPACE, Scope.USER),
    find=_find,
    check=lambda rule: {} if rule.threshold <= 365 else {"threshold": gettext("At most 365 days before.")},
    default=Default(
        name=gettext_noop("Provider keys that expire"),
        scope=Scope.PROVIDER,
        threshold=Decimal(7),
        window_seconds=7 * 86_400,
        cooldown_seconds=86_400,
    ),
)
CONDITIONS = (KEY_EXPIRY,)
