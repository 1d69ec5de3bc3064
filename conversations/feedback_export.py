"""Feedback with what it is about, a line of JSON for each, for evaluating models.

What was asked, answered and written is in it only where the workspace lets it out, and never of a conversation that its
user has deleted. Read in batches by the key of the last row, so memory stays small and nothing is held in between.
"""

from __future__ import annotations

import json
import uuid
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.db.models import QuerySet

from conversations.models import Conversation, MessageFeedback, UsageLog
from synapscale.common.db import in_db
from synapscale.common.money import ZERO, usd_text
from workspaces.models import Workspace

_BATCH = 500
_BATCH_WITH_CONTENT = 20
"""A question and an answer may have megabytes."""
_WORDS = ("text", "suggestion")
_CONTENT = (
    "message__content",
    "message__reply_to__content",
    "message__conversation__context",
    "message__conversation__agent__system_prompt",
)
_PLAIN = (
    "workspace_id", "message_id", "user_id", "thumb", "stars", "category", "is_public", "created_at", "updated_at",
    "message__workspace_id", "message__model_used", "message__conversation_id", "message__reply_to_id",
    "message__conversation__workspace_id", "message__conversation__agent_id", "message__conversation__status",
)  # fmt: skip


def lines(rows: QuerySet[MessageFeedback], *, workspace: Workspace) -> Iterator[bytes]:
    """``rows``, all of ``workspace``, from the oldest to the newest. Two queries for each batch."""
    batch, after = _read(rows, workspace, None)
    while batch:
        yield batch
        batch, after = _read(rows, workspace, after)


async def stream(rows: QuerySet[MessageFeedback], *, workspace: Workspace) -> AsyncIterator[bytes]:
    """The same, with no thread and no connection held while a client takes its time."""
    batch, after = await in_db(_read, rows, workspace, None)
    while batch:
        yield batch
        batch, after = await in_db(_read, rows, workspace, after)


def _read(
    rows: QuerySet[MessageFeedback], workspace: Workspace, after: uuid.UUID | None
) -> tuple[bytes, uuid.UUID | None]:
    has_content = workspace.exports_feedback_content
    found = rows.filter(workspace_id=workspace.pk).order_by("pk")
    if after is not None:
        found = found.filter(pk__gt=after)
    joined = ["message__conversation"]
    columns = [*_PLAIN]
    if has_content:
        joined += ["message__reply_to", "message__conversation__agent"]
        columns += [
            *_WORDS, *_CONTENT, "message__reply_to__workspace_id", "message__conversation__agent__workspace_id",
        ]  # fmt: skip
    found = found.select_related(*joined).only(*columns)
    batch = list(found[: _BATCH_WITH_CONTENT if has_content else _BATCH])
    logs: dict[uuid.UUID, list[UsageLog]] = defaultdict(list)
    used = UsageLog.objects.filter(workspace_id=workspace.pk, message_id__in=[row.message_id for row in batch])
    for log in used.order_by("attempt") if batch else ():
        logs[log.message_id].append(log)
    # In ASCII: some readers of lines take U+2028 and the like for the end of one.
    texts = [json.dumps(_line(row, logs[row.message_id], has_content), cls=DjangoJSONEncoder) for row in batch]
    return "".join(f"{text}\n" for text in texts).encode(), batch[-1].pk if batch else None


def _line(row: MessageFeedback, logs: list[UsageLog], has_content: bool) -> dict[str, Any]:
    message, conversation, last = row.message, row.message.conversation, logs[-1] if logs else None
    has_content = has_content and conversation.status != Conversation.Status.DELETED
    line: dict[str, Any] = {
        "id": row.pk,
        "message": row.message_id,
        "conversation": conversation.pk,
        "user": row.user_id,
        "model": message.model_used,
        "agent": conversation.agent_id,
        "thumb": row.thumb,
        "stars": row.stars,
        "category": row.category,
        "is_public": row.is_public,
        "is_negative": row.is_negative,
        "created_at": row.created_at,
        "updated_at": row.updated_at,
        # As with a message: the tokens and the time of the attempt that ended it, the cost of all of them.
        "input_tokens": last and last.total_tokens - last.output_tokens - last.reasoning_tokens,
        "output_tokens": last and last.output_tokens + last.reasoning_tokens,
        "total_tokens": last and last.total_tokens,
        "latency_ms": last and last.latency_ms,
        "cost": usd_text(sum((log.charged_usd for log in logs), start=ZERO)),
        "provider_cost": usd_text(sum((log.cost_usd for log in logs), start=ZERO)),
        "content": has_content,
    }
    if has_content:
        agent, question = conversation.agent, message.reply_to
        line |= {
            "system_prompt": agent.system_prompt if agent else "",
            "context": conversation.context,
            "question": question.content if question else "",
            "answer": message.content,
            "text": row.text,
            "suggestion": row.suggestion,
        }
    return line
