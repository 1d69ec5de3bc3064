"""What a rule can watch for. Conditions are registered here; each says how it finds what is too much."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from django.utils.translation import gettext

from analytics.alerting import explanations
from analytics.models import AlertRule, Severity, Subject
from synapscale.common.errors import Refusal


@dataclass(frozen=True, slots=True)
class Observation:
    """A subject that is over its rule's threshold now, and why."""

    kind: Subject
    subject_id: str
    value: Decimal
    threshold: Decimal
    facts: Mapping[str, Any]
    """What its label and its explanation are made of: see ``explanations``."""
    workspace_id: uuid.UUID | None = None
    """Where it happened; None: in no single workspace."""
    user_id: uuid.UUID | None = None
    """Whom it is about."""

    @property
    def label(self) -> str:
        return explanations.label(self.facts)

    @property
    def explanation(self) -> str:
        return explanations.explanation(self.facts)


@dataclass(frozen=True, slots=True)
class Setting:
    """Something a condition can be told: one of ``choices``, a whole number within ``between``, or an amount."""

    help: str
    default: Any
    choices: tuple[str, ...] = ()
    between: tuple[int, int] | None = None

    def complaint(self, value: Any) -> str:
        """What is wrong with ``value``; empty: nothing."""
        if self.choices:
            return (
                ""
                if value in self.choices
                else gettext("Give one of %(choices)s.") % {"choices": ", ".join(filter(None, self.choices))}
            )
        if self.between is not None:
            least, most = self.between
            is_good = type(value) is int and least <= value <= most
            return (
                ""
                if is_good
                else gettext("Give a whole number from %(least)s to %(most)s.") % {"least": least, "most": most}
            )
        try:
            amount = Decimal(value) if isinstance(value, str) and len(value) <= 20 else Decimal("NaN")
        except InvalidOperation:
            amount = Decimal("NaN")
        is_good = amount.is_finite() and 0 <= amount <= 1_000_000
        return "" if is_good else gettext("Give an amount from 0 to 1000000 as a decimal string, like “1.50”.")


@dataclass(frozen=True, slots=True)
class Default:
    """The rule with this condition that every installation begins with."""

    name: str
    scope: str
    threshold: Decimal
    window_seconds: int
    cooldown_seconds: int
    min_calls: int = 0
    severity: str = Severity.WARNING


@dataclass(frozen=True, slots=True)
class Condition:
    """Something a rule can watch for."""

    key: str
    title: str
    unit: str
    """What the threshold and the values are in."""
    scopes: tuple[str, ...]
    find: Callable[[AlertRule, datetime], Sequence[Observation]]
    """What is over the threshold at a moment. At most two statements, whatever the number of subjects, and names."""
    settings: Mapping[str, Setting] = field(default_factory=dict)
    check: Callable[[AlertRule], Mapping[str, str]] = lambda rule: {}
    """What is wrong with a rule besides, by field."""
    default: Default | None = None

    def setting(self, rule: AlertRule, name: str) -> Any:
        return rule.settings.get(name, self.settings[name].default)


_conditions: dict[str, Condition] = {}


def register(condition: Condition) -> None:
    _conditions[condition.key] = condition


def get(key: str) -> Condition | None:
    _load()
    return _conditions.get(key)


def all_conditions() -> list[Condition]:
    _load()
    return sorted(_conditions.values(), key=lambda condition: condition.key)


def _load() -> None:
    """Late, because the conditions read figures, and these the models."""
    from analytics.alerting import expiring_keys, thresholds, unusual_usage

    for module in (expiring_keys, thresholds, unusual_usage):
        for condition in module.CONDITIONS:
            _conditions.setdefault(condition.key, condition)


def complaints(rule: AlertRule) -> dict[str, str]:
    """What is wrong with a rule, by the field that is wrong."""
    condition = get(rule.condition)
    if condition is None:
        return {
            "condition": gettext("There is no condition “%(key)s”; there are: %(known)s.")
            % {"key": rule.condition, "known": ", ".join(sorted(_conditions))}
        }
    found: dict[str, str] = {}
    scopes = [scope for scope in condition.scopes if scope != AlertRule.Scope.FLEET or rule.workspace_id is None]
    if rule.scope not in scopes:
        found["scope"] = gettext("“%(key)s” can watch %(scopes)s here.") % {
            "key": rule.condition,
            "scopes": ", ".join(scopes),
        }
    if not isinstance(rule.settings, dict):
        found["settings"] = gettext("Give an object.")
        return found
    for name, value in rule.settings.items():
        setting = condition.settings.get(name)
        said = (
            gettext("“%(key)s” has no setting “%(name)s”.") % {"key": rule.condition, "name": name}
            if setting is None
            else setting.complaint(value)
        )
        if said:
            found["settings"] = said if setting is None else f"{name}: {said}"
    return {**condition.check(rule), **found} if "settings" not in found else found


def require_sound(rule: AlertRule) -> None:
    """Raises a Refusal that names the fields that are wrong."""
    if found := complaints(rule):
        name, said = next(iter(found.items()))
        raise Refusal(f"{name}: {said}", code="invalid", details={key: [text] for key, text in found.items()})
