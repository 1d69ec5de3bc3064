"""The tags that calls count for, from the calls' side: ``conversations.tag_usage`` goes from a tag to its calls.

A call counts for a tag on its answer, the question that it answers, its conversation, its user, or the workspace.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from django.db.models import Q

from conversations.models import Message
from tagging.models import TagLink

Keys = Mapping[str, Any]
"""The keys of a call by the names of their columns; None where it has none."""
_CARRIERS = {
    "message": ("message_id", "question_id"),
    "conversation": ("conversation_id",),
    "user": ("user_id",),
    "workspace": ("workspace_id",),
}


def labels_of(calls: Sequence[Keys]) -> list[tuple[str, ...]]:
    """The labels of each of ``calls``, in their order. Two queries, or one where the workspaces have no tags."""
    workspaces = {call["workspace_id"] for call in calls}
    links = TagLink.objects.filter(workspace_id__in=workspaces, state=TagLink.State.APPLIED)
    if not links.exists():
        return [()] * len(calls)
    answers = Message.objects.filter(workspace_id__in=workspaces, pk__in={call["message_id"] for call in calls})
    questions = dict(answers.values_list("pk", "reply_to_id"))
    full: list[dict[str, Any]] = [{**call, "question_id": questions.get(call["message_id"])} for call in calls]
    carried = Q()
    for target_type, names in _CARRIERS.items():
        ids = {call[name] for call in full for name in names} - {None}
        carried |= Q(target_type=target_type, target_id__in=ids)
    labels: dict[tuple[Any, str, Any], set[str]] = defaultdict(set)
    for workspace_id, target_type, target_id, label in links.filter(carried).values_list(
        "workspace_id", "target_type", "target_id", "tag__label"
    ):
        labels[workspace_id, target_type, target_id].add(label)
    return [
        tuple(
            sorted(
                {
                    label
                    for target_type, names in _CARRIERS.items()
                    for name in names
                    for label in labels.get((call["workspace_id"], target_type, call[name]), ())
                }
            )
        )
        for call in full
    ]
