"""Gemini's wire format."""

from __future__ import annotations

import json
from typing import Any

from tests.providers.behaviour import Behaviour, sse

FINISH = {"stop": "STOP", "length": "MAX_TOKENS", "tool_calls": "STOP", "content_filter": "SAFETY"}


def usage_report(b: Behaviour) -> Any:
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


def _tool_parts(b: Behaviour) -> list[dict[str, Any]]:
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


def render(b: Behaviour) -> dict[str, Any]:
    parts: list[dict[str, Any]] = []
    if b.whole_thought():
        parts.append({"text": b.whole_thought(), "thought": True})
    if b.whole_text():
        parts.append({"text": b.whole_text()})
    parts += _tool_parts(b)
    answer: dict[str, Any] = {"modelVersion": b.model, "responseId": "resp-1"}
    if b.finish_reason == "prompt_blocked":
        answer["promptFeedback"] = {"blockReason": "PROHIBITED_CONTENT"}
    else:
        candidate = {
            "content": {"role": "model", "parts": parts},
            "finishReason": FINISH.get(b.finish_reason, b.finish_reason),
            "index": 0,
        }
        answer["candidates"] = [candidate]
    if b.usage_times:
        answer["usageMetadata"] = usage_report(b)
    return answer


def stream(b: Behaviour, body: dict[str, Any]) -> list[bytes]:
    if b.finish_reason == "prompt_blocked":
        return [sse(render(b))]
    parts: list[dict[str, Any]] = []
    parts += [{"text": piece, "thought": True} for piece in b.thoughts()]
    parts += [{"text": piece} for piece in b.pieces()]
    parts += _tool_parts(b)
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
            {
                "content": {"role": "model", "parts": [{"text": ""}]},
                "finishReason": FINISH.get(b.finish_reason, b.finish_reason),
                "index": 0,
            }
        ],
        "modelVersion": b.model,
        "responseId": "resp-1",
    }
    if b.usage_times:
        last["usageMetadata"] = usage_report(b)
    return [sse(chunk) for chunk in [*chunks, last]]


def count(b: Behaviour) -> dict[str, Any]:
    return {"totalTokens": b.prompt_tokens}


def models(b: Behaviour, query: dict[str, str]) -> dict[str, Any]:
    start = int(query.get("pageToken", 0))
    end = start + (b.page_size or len(b.models))
    page: dict[str, Any] = {"models": [{"name": f"models/{name}", "displayName": name} for name in b.models[start:end]]}
    if end < len(b.models):
        page["nextPageToken"] = str(end)
    return page
