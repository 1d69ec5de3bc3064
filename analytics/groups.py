"""What figures are grouped by, with names for people."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import Any

from analytics.query import Key
from conversations.models import Agent, UsageLog
from llm.models import LLM, ProviderName
from tagging.models import Tag
from workspaces.models import User, Workspace

_WORDS: dict[str, dict[Any, Any]] = {
    "provider": dict(ProviderName.choices),
    "key_source": dict(UsageLog.KeySource.choices),
    "status": dict(UsageLog.Status.choices),
}


def database_dimensions(by: tuple[str, ...]) -> tuple[str, ...]:
    """What the database groups by: providers are made of their models afterwards."""
    return tuple(dict.fromkeys("llm" if name == "provider" else name for name in by))


class Names:
    """The names of keys. One query for each dimension that has rows of its own."""

    def __init__(self, by: tuple[str, ...], keys: Iterable[Key], *, workspace_id: uuid.UUID | None) -> None:
        self._by = by
        self._columns = database_dimensions(by)
        ids = {name: {key[place] for key in keys} - {None} for place, name in enumerate(self._columns)}
        self._providers: dict[Any, str] = {}
        self._names: dict[str, dict[Any, Any]] = {**_WORDS}
        if "llm" in ids:
            llms = LLM.objects.filter(pk__in=ids["llm"])
            self._names["llm"] = {llm.pk: str(llm) for llm in llms}
            self._providers = {llm.pk: llm.provider for llm in llms}
        if "user" in ids:
            self._names["user"] = dict(User.objects.filter(pk__in=ids["user"]).values_list("pk", "email"))
        if "workspace" in ids:
            self._names["workspace"] = dict(Workspace.objects.filter(pk__in=ids["workspace"]).values_list("pk", "name"))
        if "agent" in ids and workspace_id is not None:
            agents = Agent.objects.filter(workspace_id=workspace_id, pk__in=ids["agent"])
            self._names["agent"] = dict(agents.values_list("pk", "name"))
        if "tag" in ids and workspace_id is not None:
            tags = Tag.objects.filter(workspace_id=workspace_id, pk__in=ids["tag"])
            self._names["tag"] = dict(tags.values_list("pk", "label"))

    def folded(self, key: Key) -> Key:
        """The key as it was asked for: a provider in the place of its models."""
        if self._by == self._columns:
            return key
        found = dict(zip(self._columns, key, strict=True))
        return tuple(self._providers[found["llm"]] if name == "provider" else found[name] for name in self._by)

    def as_json(self, key: Key) -> dict[str, Any]:
        """``{"llm": {"key": …, "name": …}}``; calls without an agent have neither."""
        return {
            name: {"key": None if value is None else str(value), "name": str(self._names[name].get(value, ""))}
            for name, value in zip(self._by, key, strict=True)
        }
