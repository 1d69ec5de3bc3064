"""Anthropic's wire format."""

from __future__ import annotations

import json
from typing import Any

from tests.providers.behaviour import Behaviour, call_pieces, sse

FINISH = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
}


def usage_report(b: Behaviour, *, output: int | None = None) -> Any:
    if b.raw_usage is not None:
        return b.raw_usage
    total_output = b.bucket("output") + b.bucket("reasoning")
    usage: dict[str, Any] = {
        "input_tokens": b.bucket("input"),
        "cache_creation_input_tokens": b.bucket("cache_write_5m") + b.bucket("cache_write_1h"),
        "cache_read_input_tokens": b.bucket("cached_input"),
        "cache_creation": {
            "ephemeral_5m_input_tokens": b.bucket("cache_write_5m"),
            "ephemeral_1h_input_tokens": b.bucket("cache_write_1h"),
        },
        "output_tokens": total_output if output is None else output,
    }
    if b.bucket("reasoning") and output is None:
        usage["output_tokens_details"] = {"thinking_tokens": b.bucket("reasoning")}
    return usage


def render(b: Behaviour) -> dict[str, Any]:
    content: list[dict[str, Any]] = []
    if b.thoughts():
        content.append({"type": "thinking", "thinking": b.whole_thought(), "signature": b.signature})
    if b.redacted:
        content.append({"type": "redacted_thinking", "data": b.redacted})
    if b.whole_text():
        content.append({"type": "text", "text": b.whole_text(), "citations": None})
    for call in b.tool_calls:
        content.append(
            {"type": "tool_use", "id": call["id"], "name": call["name"], "input": json.loads(call["arguments"])}
        )
    answer: dict[str, Any] = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": b.model,
        "content": content,
        "stop_reason": FINISH.get(b.finish_reason, b.finish_reason),
        "stop_sequence": b.stop_sequence or None,
    }
    if b.usage_times:
        answer["usage"] = usage_report(b)
    return answer


def stream(b: Behaviour, body: dict[str, Any]) -> list[bytes]:
    message = {**render(b), "content": [], "stop_reason": None, "stop_sequence": None}
    message.pop("usage", None)
    if b.usage_times:
        message["usage"] = usage_report(b, output=1)
    events = [sse({"type": "message_start", "message": message}, "message_start"), sse({"type": "ping"}, "ping")]
    blocks: list[tuple[dict[str, Any], list[dict[str, Any]]]] = []
    if b.thoughts():
        signed = [{"type": "signature_delta", "signature": b.signature}] if b.signature else []
        thoughts = [{"type": "thinking_delta", "thinking": piece} for piece in b.thoughts()]
        blocks.append(({"type": "thinking", "thinking": "", "signature": ""}, [*thoughts, *signed]))
    if b.redacted:
        blocks.append(({"type": "redacted_thinking", "data": b.redacted}, []))
    if b.pieces():
        blocks.append(({"type": "text", "text": ""}, [{"type": "text_delta", "text": piece} for piece in b.pieces()]))
    for call in b.tool_calls:
        blocks.append(
            (
                {"type": "tool_use", "id": call["id"], "name": call["name"], "input": {}},
                [{"type": "input_json_delta", "partial_json": part} for part in call_pieces(call)],
            )
        )
    for index, (start, deltas) in enumerate(blocks):
        events.append(
            sse({"type": "content_block_start", "index": index, "content_block": start}, "content_block_start")
        )
        for delta in deltas:
            events.append(sse({"type": "content_block_delta", "index": index, "delta": delta}, "content_block_delta"))
        events.append(sse({"type": "content_block_stop", "index": index}, "content_block_stop"))

    def message_delta(reason: str | None, usage: Any) -> bytes:
        delta = {"stop_reason": reason, "stop_sequence": (b.stop_sequence or None) if reason else None}
        event = {"type": "message_delta", "delta": delta, "usage": usage}
        return sse(event, "message_delta")

    if b.usage_times > 1:
        events.append(message_delta(None, {"output_tokens": 2}))
    final = usage_report(b)
    if isinstance(final, dict):
        final = {name: value for name, value in final.items() if name != "cache_creation"}
    events.append(message_delta(FINISH.get(b.finish_reason, b.finish_reason), final if b.usage_times else None))
    events.append(sse({"type": "message_stop"}, "message_stop"))
    return events


def count(b: Behaviour) -> dict[str, Any]:
    return {"input_tokens": b.prompt_tokens}


def models(b: Behaviour, query: dict[str, str]) -> dict[str, Any]:
    start = b.models.index(query["after_id"]) + 1 if query.get("after_id") else 0
    listed = b.models[start : start + (b.page_size or len(b.models))]
    return {
        "data": [
            {"type": "model", "id": name, "display_name": name, "created_at": "2026-01-01T00:00:00Z"} for name in listed
        ],
        "has_more": start + len(listed) < len(b.models),
        "first_id": listed[0] if listed else None,
        "last_id": listed[-1] if listed else None,
    }
