"""Answers, streams and errors as Anthropic's SDKs expect them.

https://docs.claude.com/en/api/messages, ``/messages-streaming`` and ``/errors``
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable
from typing import Any

from conversations.compat.asking import Request
from conversations.compat.served import Bill, Served
from conversations.compat.signatures import extra_content, signs_thinking
from conversations.models import Message
from conversations.tries import Piece
from llm.providers.base import json_object
from llm.types import TextDelta, ThinkingDelta, ToolCallDelta

_STOP_REASONS = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
}
_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    409: "invalid_request_error",
    413: "request_too_large",
    422: "invalid_request_error",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}


def error(*, status: int, code: str, message: str, details: dict[str, Any], request_id: str) -> dict[str, Any]:
    """``{"type": "error", "error": {"type", "message"}, "request_id"}``, with our own code and details beside them."""
    kind = _TYPES.get(status, "api_error" if status >= 500 else "invalid_request_error")
    return {
        "type": "error",
        # The SDK reads the code from the details.
        "error": {"type": kind, "message": message, "code": code, "details": {"error_code": code, **details}},
        "request_id": request_id,
    }


def usage(bill: Bill) -> dict[str, Any]:
    """Anthropic leaves cached tokens out of the input, and counts thinking into the output."""
    used = bill.usage
    return {
        "input_tokens": used.input,
        "cache_creation_input_tokens": used.cache_write_5m + used.cache_write_1h,
        "cache_read_input_tokens": used.cached_input,
        "cache_creation": {
            "ephemeral_5m_input_tokens": used.cache_write_5m,
            "ephemeral_1h_input_tokens": used.cache_write_1h,
        },
        "output_tokens": used.total_output,
        "output_tokens_details": {"thinking_tokens": used.reasoning},
        **bill.extension,
    }


def message(answer: Served, request: Request) -> dict[str, Any]:
    content: list[dict[str, Any]] = []
    for block in answer.thinking if _shows_thinking(answer.model, request) else ():
        if block.redacted:
            content.append({"type": "redacted_thinking", "data": block.redacted})
        else:
            content.append({"type": "thinking", "thinking": block.text, "signature": block.signature})
    if answer.text:
        content.append({"type": "text", "text": answer.text})
    for call in answer.tool_calls:
        arguments = json_object(call.arguments)
        content.append(
            {
                "type": "tool_use",
                "id": call.id,
                "name": call.name,
                "input": arguments,
                **extra_content(call.signature),
            }
        )
    return {
        "id": _id(answer.id),
        "type": "message",
        "role": "assistant",
        "model": answer.model,
        "content": content,
        **_stop(answer),
        "usage": usage(answer.bill),
    }


class Stream:
    """The events of one streamed answer: each block is begun, filled and ended before the next one begins.

    A block can't be taken up again. So what comes while the arguments of a tool call are not whole waits until they are:
    hosts exist that write several calls at once.
    """

    def __init__(self, answer: Message, request: Request) -> None:
        self.request = request
        self._answer = answer
        self._shows_thinking = _shows_thinking(answer.model_used, request)
        self._index = -1
        self._open: tuple[str, int] | None = None
        """What kind of block is open, and for a tool call which."""
        self._arguments = ""
        """Of the tool call that is open."""
        self._whole: set[int] = set()
        """The tool calls that are written."""
        self._waiting: list[Piece] = []

    def begin(self) -> Iterable[bytes]:
        # How long the prompt is, is known at the end; until then by an estimate.
        tokens = self._answer.call["terms"]["prompt_tokens"]
        start: dict[str, Any] = {
            "id": _id(str(self._answer.pk)),
            "type": "message",
            "role": "assistant",
            "model": self._answer.model_used,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {
                "input_tokens": tokens,
                "cache_creation_input_tokens": 0,
                "cache_read_input_tokens": 0,
                "output_tokens": 1,
            },
        }
        yield _event("message_start", {"message": start})
        yield self.heartbeat()

    def heartbeat(self) -> bytes:
        return _event("ping", {})

    def pieces(self, pieces: list[Piece]) -> Iterable[bytes]:
        for piece in pieces:
            if isinstance(piece, ToolCallDelta) and piece.index in self._whole:
                continue  # at most white space
            is_next = self._is_of_open_call(piece) or (not self._waiting and self._may_close())
            if not is_next:
                self._waiting.append(piece)
                continue
            yield from self._write(piece)
            if self._waiting and self._may_close():
                waiting, self._waiting = self._waiting, []
                yield from self.pieces(waiting)

    def end(self, answer: Served) -> Iterable[bytes]:
        while self._waiting:  # calls that were cut off, and what came after them
            waiting, self._waiting = self._waiting, []
            yield from self._close()
            yield from self.pieces(waiting)
        yield from self._close()
        yield _event("message_delta", {"delta": _stop(answer), "usage": usage(answer.bill)})
        yield _event("message_stop", {})

    def broken_off(self, body: dict[str, Any]) -> Iterable[bytes]:
        yield f"event: error\ndata: {_json(body)}\n\n".encode()

    def _write(self, piece: Piece) -> Iterable[bytes]:
        match piece:
            case TextDelta():
                yield from self._block(("text", 0), {"type": "text", "text": ""})
                yield self._delta({"type": "text_delta", "text": piece.text})
            case ThinkingDelta() if self._shows_thinking:
                yield from self._think(piece)
            case ToolCallDelta():
                block = {"type": "tool_use", "id": piece.id, "name": piece.name, "input": {}}
                yield from self._block(("tool", piece.index), {**block, **extra_content(piece.signature)})
                if piece.arguments:
                    self._arguments += piece.arguments
                    yield self._delta({"type": "input_json_delta", "partial_json": piece.arguments})

    def _is_of_open_call(self, piece: Piece) -> bool:
        return isinstance(piece, ToolCallDelta) and self._open == ("tool", piece.index)

    def _may_close(self) -> bool:
        """Whether the open block, if any, may be whole."""
        if self._open is None or self._open[0] != "tool":
            return True
        try:
            json.loads(self._arguments)
        except ValueError:
            return False
        return True

    def _think(self, piece: ThinkingDelta) -> Iterable[bytes]:
        if piece.redacted:
            yield from self._block(("redacted", 0), {"type": "redacted_thinking", "data": piece.redacted})
            yield from self._close()
            return
        yield from self._block(("thinking", 0), {"type": "thinking", "thinking": "", "signature": ""})
        if piece.text:
            yield self._delta({"type": "thinking_delta", "thinking": piece.text})
        if piece.signature:
            yield self._delta({"type": "signature_delta", "signature": piece.signature})
            yield from self._close()  # it ends its block

    def _block(self, kind: tuple[str, int], block: dict[str, Any]) -> Iterable[bytes]:
        if self._open == kind:
            return
        yield from self._close()
        self._index += 1
        self._open, self._arguments = kind, ""
        yield _event("content_block_start", {"index": self._index, "content_block": block})

    def _delta(self, delta: dict[str, Any]) -> bytes:
        return _event("content_block_delta", {"index": self._index, "delta": delta})

    def _close(self) -> Iterable[bytes]:
        if self._open is not None:
            if self._open[0] == "tool":
                self._whole.add(self._open[1])
            self._open = None
            yield _event("content_block_stop", {"index": self._index})


def _shows_thinking(model: str, request: Request) -> bool:
    """Whether the client asked for it, or must give it back as it came."""
    return request.shows_thinking or signs_thinking(model)


def _stop(answer: Served) -> dict[str, Any]:
    if answer.stop_sequence and answer.finish_reason == "stop":
        return {"stop_reason": "stop_sequence", "stop_sequence": answer.stop_sequence}
    return {"stop_reason": _STOP_REASONS.get(answer.finish_reason, "end_turn"), "stop_sequence": None}


def _id(message_id: str) -> str:
    return f"msg_{uuid.UUID(message_id).hex}"


def _event(kind: str, body: dict[str, Any]) -> bytes:
    return f"event: {kind}\ndata: {_json({'type': kind, **body})}\n\n".encode()


def _json(body: dict[str, Any]) -> str:
    return json.dumps(body, ensure_ascii=False, separators=(",", ":"))
