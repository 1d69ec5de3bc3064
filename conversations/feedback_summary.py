"""Feedback by what it is about: by model, by agent, by day, by tag. What else it can be grouped by is added to ``GROUPINGS``."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.db.models import QuerySet
from django.db.models.functions import TruncDate

from conversations import tag_usage
from conversations.feedback_figures import Figures, figures_by
from conversations.models import Agent, MessageFeedback
from conversations.windows import Window
from tagging.models import Tag

Rows = QuerySet[MessageFeedback]


@dataclass(frozen=True, slots=True)
class Group:
    """``key`` is for programs and for links, ``name`` for people; None and empty where the answers have none."""

    key: str | None
    name: str
    figures: Figures

    def as_json(self) -> dict[str, Any]:
        return {"key": self.key, "name": self.name, **self.figures.as_json()}


def within(rows: Rows, window: Window) -> Rows:
    return rows.filter(created_at__gte=window.start, created_at__lt=window.end)


def _by_model(rows: Rows, window: Window, workspace_id: uuid.UUID) -> list[Group]:
    """By the model that answered. One query."""
    found = figures_by(rows, "message__model_used")
    return _most_first(Group(model or None, model, figures) for model, figures in found.items())


def _by_agent(rows: Rows, window: Window, workspace_id: uuid.UUID) -> list[Group]:
    """By the agent of the conversation. Two queries."""
    found = figures_by(rows, "message__conversation__agent_id")
    agents = Agent.objects.filter(workspace_id=workspace_id, pk__in=[key for key in found if key])
    names = dict(agents.values_list("pk", "name"))
    return _most_first(Group(str(key) if key else None, names.get(key, ""), said) for key, said in found.items())


def _by_day(rows: Rows, window: Window, workspace_id: uuid.UUID) -> list[Group]:
    """By the day on which it was first given, in the window's time zone; days without any are left out. One query."""
    found = figures_by(rows, TruncDate("created_at", tzinfo=window.tz))
    return [Group(day.isoformat(), day.isoformat(), found[day]) for day in sorted(found)]


def _by_tag(rows: Rows, window: Window, workspace_id: uuid.UUID) -> list[Group]:
    """By the tags that the answers count for; feedback on one with two of them is in both. Two queries."""
    found = tag_usage.feedback_by_tag(rows, workspace_id=workspace_id)
    labels = dict(Tag.objects.filter(workspace_id=workspace_id, pk__in=found).values_list("pk", "label"))
    # One that was deleted between the two queries has no label any more.
    return _most_first(Group(str(tag_id), label, found[tag_id]) for tag_id, label in labels.items())


def _most_first(groups: Any) -> list[Group]:
    return sorted(groups, key=lambda group: (-group.figures.count, group.name, group.key or ""))


GROUPINGS: dict[str, Callable[[Rows, Window, uuid.UUID], list[Group]]] = {
    "model": _by_model,
    "agent": _by_agent,
    "day": _by_day,
    "tag": _by_tag,
}
