"""What is sent to the model: instructions, the conversation so far, and the new message."""

from __future__ import annotations

import json
import math
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from conversations import attachments
from conversations.models import Conversation, Message
from llm import images, pricing
from llm.models import LLM
from llm.token_bound import most_tokens
from llm.types import CallRequest, ChatMessage, ToolCall

HISTORY_LIMIT = 200
"""Turns looked back at, at most."""
_OF_A_TURN = (
    "role", "content", "attachments", "tool_calls", "tool_call_id", "reply_to_id", "status", "call", "workspace_id",
)  # fmt: skip
_TURN_OVERHEAD = 8
"""Tokens the vendors add around each turn, rounded up (OpenAI's cookbook counts 3 to 4)."""
_INSTRUCTIONS = 800
"""Tokens the vendors add with tools or a schema, rounded up (Anthropic lists up to 700)."""


def history(conversation: Conversation, llm: LLM, *, besides: Sequence[dict[str, Any]] = ()) -> list[ChatMessage]:
    """The finished turns of a conversation, oldest first, as far as ``llm`` can take them. Their images are not read yet
    (``attachments.fetched``), and no more of them than a prompt may have ``besides`` those of the new message.

    A question whose answer failed is left out with it: it was asked again, or given up. So are all results of tools that
    came with it. A conversation may change its model, so images and tool calls are left out for one that knows none.
    """
    rows = list(
        Message.objects.filter(workspace_id=conversation.workspace_id, conversation=conversation)
        .only(*_OF_A_TURN)
        .order_by("-created_at", "-id")[:HISTORY_LIMIT]
    )
    useful = [row for row in rows if row.status in {"sent", "interrupted"}]
    answered = {row.reply_to_id for row in useful if row.role == Message.Role.ASSISTANT}
    asked = {row.reply_to_id for row in rows if row.role == Message.Role.ASSISTANT}
    turns = [
        row
        for row in useful
        if row.role == Message.Role.ASSISTANT or (key := _question_key(row)) in answered or key not in asked
    ]
    attachments.limit(turns, besides=besides)
    return [turn for row in reversed(turns) if (turn := _for(llm, as_turn(row))) is not None]


def _question_key(message: Message) -> uuid.UUID:
    """The question it belongs to: of several results of tools the last."""
    return message.reply_to_id or message.pk


def paired(turns: Iterable[ChatMessage]) -> list[ChatMessage]:
    """The same turns with a result for every tool call, and no result without its call: vendors refuse a prompt where
    one is missing. A user may have gone on without running the tools, and then the model is told so.
    """
    whole: list[ChatMessage] = []
    waiting: list[str] = []
    for turn in turns:
        if turn.role == Message.Role.TOOL:
            if turn.tool_call_id in waiting:
                waiting.remove(turn.tool_call_id)
                whole.append(turn)
            continue
        whole += _not_run(waiting)
        whole.append(turn)
        waiting = [call.id for call in turn.tool_calls]
    return whole + _not_run(waiting)


def _not_run(call_ids: Iterable[str]) -> list[ChatMessage]:
    return [ChatMessage("tool", "This tool was not run.", tool_call_id=call_id, is_error=True) for call_id in call_ids]


def _for(llm: LLM, turn: ChatMessage) -> ChatMessage | None:
    if turn.images and not llm.takes_images:
        turn = replace(turn, images=())
    if turn.tool_calls and not llm.supports_function_calling:
        turn = replace(turn, tool_calls=())
    is_tool = turn.role == Message.Role.TOOL
    if turn.role == Message.Role.SYSTEM or (is_tool and not llm.supports_function_calling):
        return None
    return turn if turn.content or turn.images or turn.tool_calls or is_tool else None


def as_turn(message: Message) -> ChatMessage:
    return ChatMessage(
        role=message.role,
        content=message.content,
        images=tuple(attachments.as_image(item, message_id=message.pk) for item in message.attachments),
        tool_calls=tuple(ToolCall(**call) for call in message.tool_calls),
        tool_call_id=message.tool_call_id,
        is_error=message.call.get("is_error", False),
    )


def fitting(turns: Sequence[ChatMessage], *, room: int, llm: LLM) -> tuple[ChatMessage, ...]:
    """The latest of ``turns`` that fit into ``room`` tokens (estimated), starting at a user's turn."""
    kept: list[ChatMessage] = []
    for turn in reversed(turns):
        room -= _estimate(turn, llm)
        if room < 0:
            break
        kept.append(turn)
    kept.reverse()
    while kept and kept[0].role != Message.Role.USER:
        kept.pop(0)
    return tuple(kept)


def estimated_tokens(request: CallRequest, *, llm: LLM) -> int:
    """About how many tokens a prompt has: one per four bytes. For fitting, and where a provider reports no usage."""
    fixed = pricing.estimate_tokens(request.system + _extras(request))
    return fixed + sum(_estimate(turn, llm) for turn in request.messages)


def worst_case_tokens(request: CallRequest, *, llm: LLM) -> int:
    """The most tokens the prompt can have: its texts by ``most_tokens``, each image by its vendor's formula, and a
    margin for what the vendor adds around turns. The hold is made of this."""
    # One by one: side by side, the end of a text and the beginning of the next would look like one word.
    texts = [request.system, _extras_as_sent(request)]
    for turn in request.messages:
        texts += [turn.content, turn.tool_call_id]
        texts += [text for call in turn.tool_calls for text in (call.id, call.name, call.arguments, call.signature)]
        texts += [text for block in turn.thinking for text in (block.text, block.signature, block.redacted)]
    total = sum(map(most_tokens, texts)) + _TURN_OVERHEAD * (len(request.messages) + 1)
    # Vendors that take tools or a schema put instructions of their own before them.
    total += _INSTRUCTIONS if request.tools or request.response_schema else 0
    return total + _image_tokens(request.messages, llm)


def _estimate(turn: ChatMessage, llm: LLM) -> int:
    return (
        pricing.estimate_tokens(turn.content + _calls(turn) + _thinking(turn))
        + _TURN_OVERHEAD
        + _image_tokens([turn], llm)
    )


def _image_tokens(turns: Iterable[ChatMessage], llm: LLM) -> int:
    sent = [image for turn in turns for image in turn.images]
    return sum(math.ceil(images.image_tokens(llm.provider, image.width, image.height)) for image in sent)


def _calls(turn: ChatMessage) -> str:
    return "".join(call.name + call.arguments + call.signature for call in turn.tool_calls)


def _thinking(turn: ChatMessage) -> str:
    return "".join(block.text + block.signature + block.redacted for block in turn.thinking)


def _extras(request: CallRequest) -> str:
    extras: list[Any] = [*request.tools, request.response_schema] if request.response_schema else [*request.tools]
    return json.dumps(extras, ensure_ascii=False) if extras else ""


def _extras_as_sent(request: CallRequest) -> str:
    """Tools and schema in the longest form that a vendor is sent: wrapped, and in escapes, as in DeepSeek's prompt."""
    extras: list[Any] = [{"type": "function", "function": tool} for tool in request.tools]
    if request.response_schema:
        extras.append(
            {"type": "json_schema", "name": request.schema_name or "answer", "schema": request.response_schema}
        )
    return json.dumps(extras) if extras else ""
