"""The tags that calls count for, from the calls' side: ``conversations.tag_usage`` goes from a tag to its calls.

A call counts for a tag on its answer, the question that it answers, its conversation, its user, or the workspace.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.db import connection

from analytics import engine
from tagging.models import TagLink

Keys = Mapping[str, Any]
"""The keys of a call by the names of their columns; None where it has none."""
_QUESTION = "question_id"
_CARRIERS = {
    "message": ("message_id", _QUESTION),
    "conversation": ("conversation_id",),
    "user": ("user_id",),
    "workspace": ("workspace_id",),
}


def labels_of(calls: Sequence[Keys]) -> list[tuple[str, ...]]:
    """The labels of each of ``calls``, in their order. Three queries, or one where the workspaces have no tags."""
    workspaces = sorted({call["workspace_id"] for call in calls})
    if not TagLink.objects.filter(workspace_id__in=workspaces).exists():
        return [()] * len(calls)
    questions = _questions(workspaces, {call["message_id"] for call in calls})
    full = [{**call, _QUESTION: questions.get(call["message_id"])} for call in calls]
    carried = {
        target_type: {call[name] for call in full for name in names} - {None}
        for target_type, names in _CARRIERS.items()
    }
    labels = _labels(workspaces, carried)
    return [tuple(sorted(_of_call(call, labels))) for call in full] if labels else [()] * len(calls)


Labels = Mapping[tuple[uuid.UUID | None, str, uuid.UUID | None], set[str]]
"""By workspace, and the kind and key of what carries them."""


def _of_call(call: Keys, labels: Labels) -> set[str]:
    found: set[str] = set()
    for target_type, names in _CARRIERS.items():
        for name in names:
            found |= labels.get((call["workspace_id"], target_type, call[name]), set())
    return found


def _questions(workspaces: Sequence[uuid.UUID], answers: Iterable[uuid.UUID]) -> dict[Any, uuid.UUID | None]:
    of_workspaces, given = engine.among("m.workspace_id", workspaces)
    of_answers, keys = engine.any_of("m.id", list(answers))
    rows = _fetch(f"SELECT m.id, m.reply_to_id FROM messages m WHERE {of_workspaces} AND {of_answers}", [*given, *keys])
    return {engine.as_uuid(answer): engine.as_uuid(question) for answer, question in rows}


def _labels(workspaces: Sequence[uuid.UUID], carried: Mapping[str, Iterable[uuid.UUID]]) -> Labels:
    condition, given = engine.among("l.workspace_id", workspaces)
    ways = []
    for target_type, ids in carried.items():
        # As one parameter: thousands of them take longer to send than to look up.
        way, keys = engine.any_of("l.target_id", list(ids))
        ways.append(f"(l.target_type = '{target_type}' AND {way})")
        given += keys
    found: dict[Any, set[str]] = defaultdict(set)
    for workspace_id, target_type, target_id, label in _fetch(
        "SELECT l.workspace_id, l.target_type, l.target_id, t.label FROM tag_links l "
        "JOIN tags t ON t.workspace_id = l.workspace_id AND t.id = l.tag_id "
        f"WHERE {condition} AND l.state = 'applied' AND ({' OR '.join(ways)})",
        given,
    ):
        found[engine.as_uuid(workspace_id), target_type, engine.as_uuid(target_id)].add(label)
    return found


def _fetch(sql: str, params: list[Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return cursor.fetchall()
