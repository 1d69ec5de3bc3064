"""Whose figures a rule watches, each on its own: what is grouped by, and what the groups are called."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from analytics.groups import Names
from analytics.models import AlertRule, Subject
from analytics.query import Key, Wanted
from llm.models import LLM

T = TypeVar("T")
Scope = AlertRule.Scope
BY: dict[str, tuple[str, ...]] = {
    Scope.FLEET: (),
    Scope.WORKSPACE: ("workspace",),
    Scope.USER: ("workspace", "user"),
    Scope.LLM: ("llm",),
    Scope.PROVIDER: ("llm",),
}
"""What figures are grouped by: a provider is made of its models."""


@dataclass(frozen=True, slots=True)
class Named:
    """A subject with its name."""

    kind: Subject
    subject_id: str
    names: dict[str, str]
    """What its label is made of: see ``explanations.label``."""
    workspace_id: uuid.UUID | None
    user_id: uuid.UUID | None


def wanted(rule: AlertRule, *, key_source: str = "") -> Wanted:
    """The calls that a rule looks at."""
    workspace_id, user_id, llm_ids = rule.workspace_id, None, None
    match rule.scope if rule.subject_id else "":
        case Scope.WORKSPACE:
            workspace_id = workspace_id or uuid.UUID(rule.subject_id)
        case Scope.USER:
            user_id = uuid.UUID(rule.subject_id)
        case Scope.LLM:
            llm_ids = frozenset({uuid.UUID(rule.subject_id)})
        case Scope.PROVIDER:
            llm_ids = frozenset(LLM.objects.filter(provider=rule.subject_id).values_list("pk", flat=True))
    return Wanted(
        workspace_id=workspace_id,
        user_id=user_id,
        llm_ids=llm_ids,
        key_sources=frozenset({key_source}) if key_source else None,
    )


def folded(rule: AlertRule, groups: Mapping[Key, T], add: Callable[[T, T], T]) -> dict[Key, T]:
    """``groups`` as the rule's subjects: models, the first of a key, added up to their providers. One query for these."""
    if rule.scope != Scope.PROVIDER:
        return dict(groups)
    providers = dict(LLM.objects.filter(pk__in=[key[0] for key in groups]).values_list("pk", "provider"))
    found: dict[Key, T] = {}
    for key, value in groups.items():
        provider = (providers[key[0]], *key[1:])
        found[provider] = add(found[provider], value) if provider in found else value
    return found


def named(rule: AlertRule, keys: Iterable[Key]) -> dict[Key, Named]:
    """The names of subjects. A query for each kind of them, none where there are no keys."""
    keys = list(keys)
    if not keys:
        return {}
    if rule.scope in (Scope.FLEET, Scope.PROVIDER):
        kind = Subject(rule.scope)
        return {key: Named(kind, *_of_provider(key), rule.workspace_id, None) for key in keys}
    names = Names(BY[rule.scope], keys, workspace_id=None)
    return {key: _named(rule, key, names.as_json(key)) for key in keys}


def _of_provider(key: Key) -> tuple[str, dict[str, str]]:
    return (str(key[0]), {"name": str(key[0])}) if key else ("", {})


def _named(rule: AlertRule, key: Key, said: Mapping[str, Any]) -> Named:
    labels = {name: part["name"] or part["key"] for name, part in said.items()}
    if rule.scope == Scope.LLM:
        return Named(Subject.LLM, str(key[0]), {"name": labels["llm"]}, rule.workspace_id, None)
    if rule.scope == Scope.WORKSPACE:
        return Named(Subject.WORKSPACE, str(key[0]), {"name": labels["workspace"]}, key[0], None)
    names = {"user": labels["user"], "workspace": labels["workspace"]}
    return Named(Subject.USER, str(key[1]), names, key[0], key[1])
