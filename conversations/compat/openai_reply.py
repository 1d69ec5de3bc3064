"""Answers, streams and errors as OpenAI's SDKs expect them.

https://platform.openai.com/docs/api-reference/chat/object and ``/streaming``
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable
from dataclasses import astuple
from typing import Any

from conversations.compat.asking import Request
from conversations.compat.served import Bill, Served
from conversations.compat.signatures import SIGNED_FORMAT, extra_content, signs_thinking
from conversations.models import Message
from conversations.tries import Piece
from llm.types import TextDelta, ThinkingDelta, ToolCallDelta

HEARTBEAT = b": ping\n\n"
DONE = b"data: [DONE]\n\n"
_FINISH = {"stop", "length", "tool_calls", "content_filter"}
_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "insufficient_quota",
    403: "permission_error",
    404: "invalid_request_error",
    409: "conflict_error",
    429: "rate_limit_error",
}


def error(*, status: int, code: str, message: str, details: dict[str, Any], request_id: str) -> dict[str, Any]:
    """``{"error": {...}}``; ``param`` is the field that is wrong, ``metadata`` the amounts and ids."""
    is_about_fields = status in (400, 404, 422)
    fields = [name for name, problems in details.items() if is_about_fields and isinstance(problems, list)]
    return {
        "error": {
            "message": message,
            "type": _TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error"),
            "param": (fields[0] or None) if fields else None,
            "code": code,
            "metadata": {name: value for name, value in details.items() if name not in fields},
            "request_id": request_id,
        }
    }


def usage(bill: Bill) -> dict[str, Any]:
    """OpenAI counts cached tokens into the prompt and reasoning into the completion."""
    used = bill.usage
    return {
        "prompt_tokens": used.total_input,
        "completion_tokens": used.total_output,
        "total_tokens": used.total,
        "prompt_tokens_details": {
            "cached_tokens": used.cached_input,
            "cache_write_tokens": used.cache_write_5m + used.cache_write_1h,
            "audio_tokens": 0,
        },
        "completion_tokens_details": {
            "reasoning_tokens": used.reasoning,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
        **bill.extension,
    }


def completion(answer: Served, request: Request) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": answer.text or None, "refusal": None}
    if not answer.text and not answer.tool_calls:
        message["content"] = ""
    if answer.tool_calls:
        message["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
                **extra_content(call.signature),
            }
            for call in answer.tool_calls
        ]
    thoughts = "".join(block.text for block in answer.thinking)
    if thoughts and request.shows_thinking:
        message["reasoning_content"] = thoughts
    signed = [block for block in answer.thinking if block.signature or block.redacted]
    if signed:
        message["reasoning_details"] = [_detail(index, *astuple(block)) for index, block in enumerate(signed)]
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": _finish(answer)}
    return {
        "id": _id(answer.id),
        "object": "chat.completion",
        "created": int(answer.created_at.timestamp()),
        "model": answer.model,
        "choices": [choice],
        "usage": usage(answer.bill),
    }


class Stream:
    """The chunks of one streamed answer."""

    def __init__(self, answer: Message, request: Request) -> None:
        self.request = request
        self._head = {
            "id": _id(str(answer.pk)),
            "object": "chat.completion.chunk",
            "created": int(answer.created_at.timestamp()),
            "model": answer.model_used,
        }
        self._is_signed = signs_thinking(answer.model_used)
        self._block = 0
        """Which block of thinking is being written."""
        self._has_begun_block = False

    def begin(self) -> Iterable[bytes]:
        yield self._chunk({"role": "assistant", "content": ""})

    def heartbeat(self) -> bytes:
        return HEARTBEAT

    def pieces(self, pieces: list[Piece]) -> Iterable[bytes]:
        for piece in pieces:
            match piece:
                case TextDelta():
                    yield self._chunk({"content": piece.text})
                case ThinkingDelta():
                    yield from self._think(piece)
                case ToolCallDelta():
                    yield self._chunk({"tool_calls": [_fragment(piece)]})

    def end(self, answer: Served) -> Iterable[bytes]:
        self._head["model"] = answer.model  # another than at the beginning, where a fallback answered late
        yield self._chunk({}, finish_reason=_finish(answer))
        if self.request.includes_usage:
            yield _data({**self._head, "choices": [], "usage": usage(answer.bill)})
        yield DONE

    def broken_off(self, body: dict[str, Any]) -> Iterable[bytes]:
        yield _data(body)

    def _think(self, piece: ThinkingDelta) -> Iterable[bytes]:
        is_shown = bool(piece.text) and self.request.shows_thinking
        delta: dict[str, Any] = {"reasoning_content": piece.text} if is_shown else {}
        if self._is_signed or piece.signature or piece.redacted:
            detail = _detail(self._block, piece.text, piece.signature, piece.redacted)
            if self._has_begun_block:
                del detail["format"]  # clients join the texts of what belongs together
            delta["reasoning_details"] = [detail]
            self._has_begun_block = not (piece.signature or piece.redacted)
            self._block += not self._has_begun_block
        if delta:
            yield self._chunk(delta)

    def _chunk(self, delta: dict[str, Any], *, finish_reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        chunk = {**self._head, "choices": [choice]}
        # With usage asked for, every other chunk says null.
        return _data({**chunk, "usage": None} if self.request.includes_usage else chunk)


def _fragment(piece: ToolCallDelta) -> dict[str, Any]:
    fragment: dict[str, Any] = {"index": piece.index, "function": {"arguments": piece.arguments}}
    if piece.name:
        fragment |= {"id": piece.id, "type": "function", "function": {"name": piece.name, "arguments": piece.arguments}}
    return {**fragment, **extra_content(piece.signature)}


def _detail(index: int, text: str, signature: str, redacted: str) -> dict[str, Any]:
    """A block of thinking, or a piece of one, as OpenRouter has it; pieces of one ``index`` are joined."""
    kind = {"type": "reasoning.encrypted", "data": redacted} if redacted else {"type": "reasoning.text", "text": text}
    return {**kind, **({"signature": signature} if signature else {}), "format": SIGNED_FORMAT, "index": index}


def _finish(answer: Served) -> str:
    return answer.finish_reason if answer.finish_reason in _FINISH else "stop"


def _id(message_id: str) -> str:
    return f"chatcmpl-{uuid.UUID(message_id).hex}"


def _data(body: dict[str, Any]) -> bytes:
    return f"data: {json.dumps(body, ensure_ascii=False, separators=(',', ':'))}\n\n".encode()
