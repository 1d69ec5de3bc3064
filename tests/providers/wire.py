"""The wire formats of the three families of provider, written down once for the stand-ins.

Each ``render_*`` turns a neutral :class:`Behaviour` into what that vendor's server would send: one JSON document for a
plain answer, or the list of server-sent events for a streamed one. The shapes follow the vendors' own SDK types.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

FINISH = {
    "openai": {
        "stop": "stop",
        "length": "length",
        "tool_calls": "tool_calls",
        "content_filter": "content_filter",
    },
    "anthropic": {
        "stop": "end_turn",
        "length": "max_tokens",
        "tool_calls": "tool_use",
        "content_filter": "refusal",
    },
    "google": {
        "stop": "STOP",
        "length": "MAX_TOKENS",
        "tool_calls": "STOP",
        "content_filter": "SAFETY",
    },
}


@dataclass
class Behaviour:
    """How one request is answered. Everything is JSON, so that a script can cross a process boundary."""

    text: str = "Hello from the stand-in."
    chunks: list[str] | None = None
    """The pieces of a streamed answer; by default the text word by word."""
    delay: float = 0.0
    """Seconds before each piece."""
    wait: float = 0.0
    """Seconds before the status line."""
    usage: dict[str, int] = field(default_factory=lambda: {"input": 10, "output": 5})
    """Disjoint buckets, named as ``llm.types.Usage`` names them; rendered the way each vendor reports them."""
    raw_usage: Any = None
    """Sent verbatim as the usage object instead of ``usage``: wrong types, absurd figures, a vendor's own fields."""
    usage_times: int = 1
    """How often usage is reported. 0: never. 2: first a wrong, smaller figure, then the true one."""
    finish_reason: str = "stop"
    """``stop``, ``length``, ``tool_calls`` or ``content_filter``; anything else is sent verbatim."""
    tool_calls: list[dict[str, str]] = field(default_factory=list)
    """``{"id", "name", "arguments", "signature"}`` each, ``arguments`` as JSON text."""
    reasoning_text: str = ""
    """Thinking shown before the answer."""
    models: list[str] = field(default_factory=lambda: ["model-2", "model-1"])
    """The answer to a request that lists, in this order."""
    model: str = "stand-in-model"
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    error: Any = None
    """The error body, verbatim. ``{key}`` in its text becomes the caller's key, as vendors like to echo it."""
    fault: str = ""
    """One of ``FAULTS``."""
    fault_after: int = 0
    """After how many events of the stream the fault strikes (for a plain answer: 0)."""

    def pieces(self) -> list[str]:
        if self.chunks is not None:
            return self.chunks
        words = self.text.split(" ")
        return [word if i == 0 else f" {word}" for i, word in enumerate(words)] if self.text else []

    def whole_text(self) -> str:
        return "".join(self.chunks) if self.chunks is not None else self.text

    def bucket(self, name: str) -> int:
        return self.usage.get(name, 0)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


FAULTS = (
    "hang",  # accept, never answer
    "cut",  # TCP reset after ``fault_after`` events
    "eof",  # end the stream cleanly after ``fault_after`` events, with neither finish reason nor usage
    "stall",  # fall silent after ``fault_after`` events and keep the connection open
    "loris",  # one byte at a time, never a whole event
    "malformed",  # an event whose data is not JSON
    "bad_utf8",  # an event with bytes that are not UTF-8
    "error_event",  # the vendor's error event in the middle of the stream (``error`` is its body)
    "huge_line",  # a 50 MB line
    "gzip_bomb",  # Content-Encoding: gzip, small on the wire, huge when unpacked
    "endless",  # text pieces without end
)


def openai_usage(b: Behaviour) -> Any:
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


def anthropic_usage(b: Behaviour, *, output: int | None = None) -> Any:
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


def google_usage(b: Behaviour) -> Any:
    if b.raw_usage is not None:
        return b.raw_usage
    prompt = b.bucket("input") + b.bucket("cached_input")
    usage = {
        "promptTokenCount": prompt,
        "candidatesTokenCount": b.bucket("output"),
        "totalTokenCount": prompt + b.bucket("output") + b.bucket("reasoning"),
    }
    if b.bucket("cached_input"):
        usage["cachedContentTokenCount"] = b.bucket("cached_input")
    if b.bucket("reasoning"):
        usage["thoughtsTokenCount"] = b.bucket("reasoning")
    return usage


def _finish(vendor: str, b: Behaviour) -> str:
    return FINISH[vendor].get(b.finish_reason, b.finish_reason)


def _sse(data: Any, event: str = "") -> bytes:
    head = f"event: {event}\n" if event else ""
    return f"{head}data: {json.dumps(data)}\n\n".encode()


# OpenAI chat completions ---------------------------------------------------------------------------------------------


def render_openai(b: Behaviour) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": b.whole_text() or None, "refusal": None}
    if b.reasoning_text:
        message["reasoning_content"] = b.reasoning_text
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
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": _finish("openai", b)}],
    }
    if b.usage_times:
        answer["usage"] = openai_usage(b)
    return answer


def stream_openai(b: Behaviour, body: dict[str, Any]) -> list[bytes]:
    def chunk(delta: dict[str, Any] | None, finish: str | None = None, usage: Any = None) -> bytes:
        choices = [] if delta is None else [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]
        return _sse(
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
    if b.reasoning_text:
        events.append(chunk({"reasoning_content": b.reasoning_text}))
    events += [chunk({"content": piece}) for piece in b.pieces()]
    for index, call in enumerate(b.tool_calls):
        half = len(call["arguments"]) // 2
        function = {"name": call["name"], "arguments": call["arguments"][:half]}
        start = {"index": index, "id": call["id"], "type": "function", "function": function}
        events.append(chunk({"tool_calls": [start]}))
        events.append(chunk({"tool_calls": [{"index": index, "function": {"arguments": call["arguments"][half:]}}]}))
    events.append(chunk({}, _finish("openai", b)))
    if (body.get("stream_options") or {}).get("include_usage"):
        if b.usage_times > 1:
            events.append(chunk(None, usage={"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}))
        if b.usage_times:
            events.append(chunk(None, usage=openai_usage(b)))
    events.append(b"data: [DONE]\n\n")
    return events


# Anthropic messages --------------------------------------------------------------------------------------------------


def render_anthropic(b: Behaviour) -> dict[str, Any]:
    content: list[dict[str, Any]] = []
    if b.reasoning_text:
        content.append({"type": "thinking", "thinking": b.reasoning_text, "signature": "c2ln"})
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
        "stop_reason": _finish("anthropic", b),
        "stop_sequence": None,
    }
    if b.usage_times:
        answer["usage"] = anthropic_usage(b)
    return answer


def stream_anthropic(b: Behaviour, body: dict[str, Any]) -> list[bytes]:
    message = {**render_anthropic(b), "content": [], "stop_reason": None}
    message.pop("usage", None)
    if b.usage_times:
        message["usage"] = anthropic_usage(b, output=1)
    events = [_sse({"type": "message_start", "message": message}, "message_start"), _sse({"type": "ping"}, "ping")]
    blocks: list[tuple[dict[str, Any], list[dict[str, Any]]]] = []
    if b.reasoning_text:
        blocks.append(
            (
                {"type": "thinking", "thinking": "", "signature": ""},
                [
                    {"type": "thinking_delta", "thinking": b.reasoning_text},
                    {"type": "signature_delta", "signature": "c2ln"},
                ],
            )
        )
    if b.pieces():
        blocks.append(({"type": "text", "text": ""}, [{"type": "text_delta", "text": piece} for piece in b.pieces()]))
    for call in b.tool_calls:
        half = len(call["arguments"]) // 2
        parts = [call["arguments"][:half], call["arguments"][half:]]
        blocks.append(
            (
                {"type": "tool_use", "id": call["id"], "name": call["name"], "input": {}},
                [{"type": "input_json_delta", "partial_json": part} for part in parts],
            )
        )
    for index, (start, deltas) in enumerate(blocks):
        events.append(
            _sse({"type": "content_block_start", "index": index, "content_block": start}, "content_block_start")
        )
        for delta in deltas:
            events.append(_sse({"type": "content_block_delta", "index": index, "delta": delta}, "content_block_delta"))
        events.append(_sse({"type": "content_block_stop", "index": index}, "content_block_stop"))

    def message_delta(reason: str | None, usage: Any) -> bytes:
        event = {"type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": None}, "usage": usage}
        return _sse(event, "message_delta")

    if b.usage_times > 1:
        events.append(message_delta(None, {"output_tokens": 2}))
    final = anthropic_usage(b)
    if isinstance(final, dict):
        final = {name: value for name, value in final.items() if name != "cache_creation"}
    events.append(message_delta(_finish("anthropic", b), final if b.usage_times else None))
    events.append(_sse({"type": "message_stop"}, "message_stop"))
    return events


# Gemini generateContent ----------------------------------------------------------------------------------------------


def _google_tool_parts(b: Behaviour) -> list[dict[str, Any]]:
    parts = []
    for call in b.tool_calls:
        function_call: dict[str, Any] = {"name": call["name"], "args": json.loads(call["arguments"])}
        if call.get("id"):
            function_call["id"] = call["id"]
        part: dict[str, Any] = {"functionCall": function_call}
        if call.get("signature"):
            part["thoughtSignature"] = call["signature"]
        parts.append(part)
    return parts


def render_google(b: Behaviour) -> dict[str, Any]:
    parts: list[dict[str, Any]] = []
    if b.reasoning_text:
        parts.append({"text": b.reasoning_text, "thought": True})
    if b.whole_text():
        parts.append({"text": b.whole_text()})
    parts += _google_tool_parts(b)
    answer: dict[str, Any] = {"modelVersion": b.model, "responseId": "resp-1"}
    if b.finish_reason == "prompt_blocked":
        answer["promptFeedback"] = {"blockReason": "PROHIBITED_CONTENT"}
    else:
        candidate = {"content": {"role": "model", "parts": parts}, "finishReason": _finish("google", b), "index": 0}
        answer["candidates"] = [candidate]
    if b.usage_times:
        answer["usageMetadata"] = google_usage(b)
    return answer


def stream_google(b: Behaviour, body: dict[str, Any]) -> list[bytes]:
    if b.finish_reason == "prompt_blocked":
        return [_sse(render_google(b))]
    parts: list[dict[str, Any]] = []
    if b.reasoning_text:
        parts.append({"text": b.reasoning_text, "thought": True})
    parts += [{"text": piece} for piece in b.pieces()]
    parts += _google_tool_parts(b)
    chunks: list[dict[str, Any]] = [
        {
            "candidates": [{"content": {"role": "model", "parts": [part]}, "index": 0}],
            "modelVersion": b.model,
            "responseId": "resp-1",
        }
        for part in parts
    ]
    if b.usage_times > 1 and chunks:
        chunks[0]["usageMetadata"] = {"promptTokenCount": b.bucket("input") + b.bucket("cached_input")}
    last: dict[str, Any] = {
        "candidates": [
            {"content": {"role": "model", "parts": [{"text": ""}]}, "finishReason": _finish("google", b), "index": 0}
        ],
        "modelVersion": b.model,
        "responseId": "resp-1",
    }
    if b.usage_times:
        last["usageMetadata"] = google_usage(b)
    return [_sse(chunk) for chunk in [*chunks, last]]


RENDER = {"openai": render_openai, "anthropic": render_anthropic, "google": render_google}
STREAM = {"openai": stream_openai, "anthropic": stream_anthropic, "google": stream_google}


def error_body(vendor: str, status: int, *, code: str = "", message: str = "") -> dict[str, Any]:
    """An error document in the vendor's shape."""
    message = message or "Something went wrong."
    if vendor == "anthropic":
        error = {"type": code or "api_error", "message": message}
        return {"type": "error", "error": error, "request_id": "req_err"}
    if vendor == "google":
        return {"error": {"code": status, "message": message, "status": code or "UNKNOWN"}}
    return {"error": {"message": message, "type": code or "server_error", "param": None, "code": code or None}}


def error_event(vendor: str, body: Any) -> bytes:
    """The error as it comes in the middle of a stream."""
    return _sse(body, "error" if vendor == "anthropic" else "")
