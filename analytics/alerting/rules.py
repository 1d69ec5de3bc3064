"""Rules as people keep them: the ones every installation begins with, what a rule may say, and taking one away."""

from __future__ import annotations

import uuid
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet
from django.utils.translation import gettext_lazy as _

from analytics.alerting import conditions
from analytics.models import Alert, AlertRule
from llm.models import LLM, ProviderName
from synapscale.common import audit
from synapscale.common.errors import Conflict, Refusal
from synapscale.common.tenancy import fleet_wide
from workspaces.models import Membership, User, Workspace

_MISSING = {
    AlertRule.Scope.WORKSPACE: _("There is no such workspace."),
    AlertRule.Scope.USER: _("There is no such user in a workspace."),
    AlertRule.Scope.LLM: _("There is no such model."),
    AlertRule.Scope.PROVIDER: _("There is no such provider."),
    AlertRule.Scope.FLEET: _("All workspaces together have no subject."),
}
FIXED = ("name", "condition", "scope")
"""What stays of a built-in rule."""


def ensure_builtin() -> None:
    """Make the operators' rules that every installation begins with, where they are missing. One query when none is."""
    known = set(AlertRule.objects.filter(is_builtin=True).values_list("condition", flat=True))
    AlertRule.objects.bulk_create(
        (
            AlertRule(
                name=condition.default.name,
                condition=condition.key,
                scope=condition.default.scope,
                threshold=condition.default.threshold,
                window_seconds=condition.default.window_seconds,
                cooldown_seconds=condition.default.cooldown_seconds,
                min_calls=condition.default.min_calls,
                severity=condition.default.severity,
                is_builtin=True,
            )
            for condition in conditions.all_conditions()
            if condition.default is not None and condition.key not in known
        ),
        ignore_conflicts=True,
    )


def visible_to(workspace: Workspace, *, is_operator: bool) -> QuerySet[AlertRule]:
    """The workspace's own rules and the built-in ones; for operators all that are theirs."""
    of_operators = Q(workspace=None) if is_operator else Q(is_builtin=True)
    return AlertRule.objects.filter(Q(workspace=workspace) | of_operators)


def save(rule: AlertRule, changes: dict[str, Any]) -> AlertRule:
    """``rule`` with ``changes``, stored if it makes sense. Raises a Refusal that names the field, or Conflict."""
    fixed = [name for name in FIXED if name in changes and changes[name] != getattr(rule, name)]
    if rule.is_builtin and fixed:
        raise Conflict("Name, condition and scope of a built-in rule stay.", code="rule_is_builtin")
    for name, value in changes.items():
        setattr(rule, name, value)
    if rule._state.adding or set(changes) - {"is_active", "silenced_until", "severity", "name"}:
        # Not always: a rule can be switched off when nobody knows its condition any more.
        conditions.require_sound(rule)
        require_subject(rule)
    try:
        with transaction.atomic():
            if rule._state.adding:
                rule.save(force_insert=True)
            elif changes:
                rule.save(update_fields=[*changes, "updated_at"])
    except IntegrityError:
        if not AlertRule.objects.filter(workspace=rule.workspace, name=rule.name).exclude(pk=rule.pk).exists():
            raise
        raise Conflict(f"There is a rule “{rule.name}” already.", code="rule_exists") from None
    return rule


def require_subject(rule: AlertRule) -> None:
    """Raises a Refusal where ``subject_id`` names nothing that the rule's owner may know of."""
    if not rule.subject_id:
        return
    if rule.scope == AlertRule.Scope.PROVIDER:
        is_there = rule.subject_id in ProviderName.values
    else:
        key = _as_uuid(rule.subject_id)
        is_there = key is not None and _exists(rule, key)
    if not is_there:
        said = str(_MISSING[AlertRule.Scope(rule.scope)])
        raise Refusal(f"subject_id: {said}", code="invalid", details={"subject_id": [said]})


def _as_uuid(text: str) -> uuid.UUID | None:
    try:
        key = uuid.UUID(text)
    except ValueError:
        return None
    return key if str(key) == text else None


def _exists(rule: AlertRule, key: uuid.UUID) -> bool:
    match rule.scope:
        case AlertRule.Scope.LLM:
            return LLM.objects.filter(pk=key).exists()
        case AlertRule.Scope.WORKSPACE:
            return rule.workspace_id in (None, key) and Workspace.objects.filter(pk=key).exists()
        case AlertRule.Scope.USER:
            if rule.workspace_id is None:
                return User.objects.filter(pk=key).exists()
            return Membership.objects.filter(workspace_id=rule.workspace_id, user_id=key).exists()
    return False


def delete(rule: AlertRule) -> None:
    """Raises Conflict for a rule that is built in, or that has fired: its alerts name it."""
    if rule.is_builtin:
        raise Conflict("This rule is built in: switch it off.", code="rule_is_builtin")
    in_use = Conflict("This rule has fired, and its alerts name it: switch it off.", code="rule_in_use")
    with fleet_wide():  # an operators' rule has alerts in any workspace
        if Alert.objects.filter(rule=rule).exists():
            raise in_use
        try:
            with transaction.atomic():
                # The row alone: Django would look for alerts of the rule again.
                AlertRule.objects.filter(pk=rule.pk)._raw_delete("default")
                audit.record_deletion(rule)
        except IntegrityError:
            raise in_use from None
