"""OpenAI's wire format, which Grok, DeepSeek, Llama and many a host speak too."""

from __future__ import annotations

from typing import Any

from tests.providers.behaviour import Behaviour, call_pieces, sse

FINISH = {"stop": "stop", "length": "length", "tool_calls": "tool_calls", "content_filter": "content_filter"}


def usage_report(b: Behaviour) -> Any:
    if b.raw_usage is not None:
        return b.raw_usage
    prompt = b.bucket("input") + b.bucket("cached_input") + b.bucket("cache_write_5m")
    completion = b.bucket("output") + b.bucket("reasoning")
    details = {"cached_tokens": b.bucket("cached_input"), "audio_tokens": 0}
    if b.bucket("cache_write_5m"):
        details["cache_write_tokens"] = b.bucket("cache_write_5m")
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": details,
        "completion_tokens_details": {"reasoning_tokens": b.bucket("reasoning"), "audio_tokens": 0},
    }


def render(b: Behaviour) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": b.whole_text() or None, "refusal": None}
    if b.whole_thought():
        message[b.reasoning_field] = b.whole_thought()
    if b.tool_calls:
        message["tool_calls"] = [
            {"id": c["id"], "type": "function", "function": {"name": c["name"], "arguments": c["arguments"]}}
            for c in b.tool_calls
        ]
    answer: dict[str, Any] = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": b.model,
        "choices": [
            {
                "index": 0,
                "message": message,
                "logprobs": None,
                "finish_reason": FINISH.get(b.finish_reason, b.finish_reason),
            }
        ],
    }
    if b.usage_times:
        answer["usage"] = usage_report(b)
    return answer


def stream(b: Behaviour, body: dict[str, Any]) -> list[bytes]:
    def chunk(delta: dict[str, Any] | None, finish: str | None = None, usage: Any = None) -> bytes:
        choices = [] if delta is None else [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]
        return sse(
            {
                "id": "chatcmpl-1",
                "object": "chat.completion.chunk",
                "created": 1,
                "model": b.model,
                "choices": choices,
                "usage": usage,
            }
        )

    events = [chunk({"role": "assistant", "content": ""})]
    events += [chunk({b.reasoning_field: piece}) for piece in b.thoughts()]
    events += [chunk({"content": piece}) for piece in b.pieces()]
    for index, call in enumerate(b.tool_calls):
        first, *rest = call_pieces(call)
        function = {"name": call["name"], "arguments": first}
        start = {"index": index, "id": call["id"], "type": "function", "function": function}
        events.append(chunk({"tool_calls": [start]}))
        events += [chunk({"tool_calls": [{"index": index, "function": {"arguments": piece}}]}) for piece in rest]
    events.append(chunk({}, FINISH.get(b.finish_reason, b.finish_reason)))
    if (body.get("stream_options") or {}).get("include_usage"):
        if b.usage_times > 1:
            events.append(chunk(None, usage={"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}))
        if b.usage_times:
            events.append(chunk(None, usage=usage_report(b)))
    events.append(b"data: [DONE]\n\n")
    return events


def models(b: Behaviour, query: dict[str, str]) -> Any:
    listed = [{"id": name, "object": "model", "created": 1, "owned_by": "stand-in"} for name in b.models]
    return listed if b.is_bare_list else {"object": "list", "data": listed}
