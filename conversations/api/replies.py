"""An answer as JSON and as server-sent events."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from conversations.api.serializers import AnsweredMessageSerializer, MessageSerializer, UsageSerializer
from conversations.calls import Call, NotMade, Unsettled
from conversations.models import Message, UsageLog
from synapscale.common.api_errors import error_body
from synapscale.common.db import in_db
from synapscale.common.errors import Conflict
from synapscale.common.money import ZERO, usd_text
from synapscale.common.sse import HEARTBEAT, event
from tagging import links

NOT_STORED = (
    "answer_not_stored_yet",
    "The answer is complete, but the database is away; it will appear in the conversation.",
)
NOT_MADE = ("database_unavailable", "The database is away; the model was not called, and nothing is charged.")


def not_settled(error: Exception) -> tuple[str, str]:
    """The code and message for a call that could not be settled."""
    return NOT_MADE if isinstance(error, NotMade) else NOT_STORED


def reply(message: Message) -> dict[str, Any]:
    """``{"message", "usage", "cost"}`` of a final answer: the usage of the attempt that ended it, the cost of all of them.
    Two queries.
    """
    links.load([message], target_type="message", workspace_id=message.workspace_id)
    logs = list(UsageLog.objects.of(message))
    return {
        "message": AnsweredMessageSerializer(message).data,
        "usage": UsageSerializer(logs[-1]).data if logs else None,
        "cost": usd_text(sum((log.charged_usd for log in logs), start=ZERO)) if logs else None,
    }


def failure(message: Message, request: Any) -> tuple[dict[str, Any], int, int | None]:
    """A failed answer as an error: its body, HTTP status and Retry-After in seconds."""
    stored = message.call.get("outcome", {})
    body = error_body(
        message.error_code or "provider_error",
        message.error_message,
        details={"message_id": str(message.pk), "reply_to": str(message.reply_to_id)},
        request=request,
    )
    return body, stored.get("http_status", 502), stored.get("retry_after")


def has_failed(message: Message) -> bool:
    return message.status != Message.Status.SENT


def ensure_kept(message: Message) -> None:
    """Raises Conflict for an answer that was given once, and not kept."""
    if not message.call.get("terms", {}).get("keeps_content", True):
        raise Conflict(
            "This answer was given and charged before. The workspace keeps no content, so it can't be given again.",
            code="answer_not_kept",
            details={"message_id": str(message.pk)},
        )


async def stream_call(call: Call, request: Any) -> AsyncIterator[bytes]:
    """The events of a call under way. Stopping to listen does not stop the call."""
    yield event(
        "message.started",
        {
            "message": MessageSerializer(call.answer).data,
            "question": MessageSerializer(call.admitted.question).data,
        },
    )
    async for text in call.text():
        yield event("delta", {"message_id": str(call.answer.pk), "text": text}) if text else HEARTBEAT
    try:
        message, _ = await call.outcome()
    except Unsettled as error:
        yield event("error", error_body(*not_settled(error), request=request))
        return
    yield await in_db(_last_event, message, request)


async def stream_known(message: Message, request: Any) -> AsyncIterator[bytes]:
    """The same events for an answer that is there already."""
    yield event("message.started", {"message": MessageSerializer(message).data})
    if message.content:
        yield event("delta", {"message_id": str(message.pk), "text": message.content})
    yield await in_db(_last_event, message, request)


def _last_event(message: Message, request: Any) -> bytes:
    if has_failed(message):
        return event("error", {**failure(message, request)[0], **reply(message)})
    return event("message.completed", reply(message))
