"""The demo provider: no key, no network, the same answer every time. It says what it is.

It is a real implementation of the contract, so that a fresh installation can be tried, and tests of everything above
can run, without anybody's key. Tokens are about one per four bytes of UTF-8.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Mapping
from typing import Any

from llm.types import (
    CallRequest,
    CallResult,
    Credentials,
    StreamEvent,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    Usage,
)

BYTES_PER_TOKEN = 4
TOKENS_PER_IMAGE = 256
DEFAULT_DELAY = 0.02
QUOTED_CHARACTERS = 200
MAX_EXAMPLES = 100
"""Items of a list made up for a schema, whatever it asks for."""
ARGUMENT_PIECE = 8
"""Characters of a tool call's arguments in one piece of a stream."""
MODEL = "demo-1"


class DemoProvider:
    """``delay`` is the pause before each word of a stream, in seconds, so that streaming can be seen."""

    def __init__(self, *, delay: float = DEFAULT_DELAY) -> None:
        self.delay = delay

    async def complete(self, request: CallRequest, credentials: Credentials) -> CallResult:
        return demo_answer(request)

    async def stream(self, request: CallRequest, credentials: Credentials) -> AsyncIterator[StreamEvent]:
        result = demo_answer(request)
        for word in re.findall(r"\s*\S+\s*$|\s*\S+|\s+", result.text):
            await asyncio.sleep(self.delay)
            yield TextDelta(word)
        for index, call in enumerate(result.tool_calls):
            yield ToolCallDelta(index, id=call.id, name=call.name)
            for start in range(0, len(call.arguments), ARGUMENT_PIECE):
                await asyncio.sleep(self.delay)
                yield ToolCallDelta(index, call.arguments[start : start + ARGUMENT_PIECE])
        yield result

    async def count_tokens(self, request: CallRequest, credentials: Credentials) -> int | None:
        return prompt_tokens(request)

    async def list_models(self, credentials: Credentials) -> list[str]:
        return [MODEL]

    async def aclose(self) -> None:
        """There is nothing to close."""


def demo_answer(request: CallRequest) -> CallResult:
    """What the demo provider says to a request."""
    calls = _tool_calls(request)
    if calls:
        text = ""
    elif request.response_schema is not None:
        text = json.dumps(example(request.response_schema))
    elif request.json_object:
        text = json.dumps({"answer": _text(request)}, ensure_ascii=False)
    else:
        text = _text(request)
    text, stop_sequence = _stopped(text, request.stop)
    budget = request.max_tokens * BYTES_PER_TOKEN
    encoded = text.encode()
    finish_reason = "tool_calls" if calls else "stop"
    if len(encoded) > budget:
        text = encoded[:budget].decode(errors="ignore")
        finish_reason, stop_sequence = "length", ""
    output = count_tokens(text) + sum(count_tokens(call.name + call.arguments) for call in calls)
    usage = Usage(input=prompt_tokens(request), output=min(output, request.max_tokens))
    return CallResult(text, finish_reason, usage, calls, "demo", stop_sequence=stop_sequence)


def _stopped(text: str, stops: tuple[str, ...]) -> tuple[str, str]:
    """The text up to the first of ``stops`` that occurs in it, and which that is."""
    found = min(((text.find(stop), stop) for stop in stops if stop and stop in text), default=None)
    return (text, "") if found is None else (text[: found[0]], found[1])


def _text(request: CallRequest) -> str:
    last = next((message for message in reversed(request.messages) if message.role in ("user", "tool")), None)
    said = last.content.strip() if last else ""
    quoted = said[:QUOTED_CHARACTERS] + ("…" if len(said) > QUOTED_CHARACTERS else "")
    images = len(last.images) if last else 0
    parts = ["This is the demo provider: no model was called."]
    if last is not None and last.role == "tool":
        parts.append(f"The tool {'failed' if last.is_error else 'returned'}: {quoted}")
    else:
        parts.append(f"You wrote: {quoted}" if quoted else "You wrote nothing.")
    if images:
        parts.append(f"You sent {images} image{'s' if images > 1 else ''}.")
    return " ".join(parts)


def _tool_calls(request: CallRequest) -> tuple[ToolCall, ...]:
    """A call only where the request insists on one, and never as the answer to a tool's result."""
    is_answering_tool = bool(request.messages) and request.messages[-1].role == "tool"
    if not request.tools or is_answering_tool or request.tool_choice in ("", "auto", "none"):
        return ()
    tool = next((tool for tool in request.tools if tool["name"] == request.tool_choice), request.tools[0])
    return (ToolCall("call_demo_1", tool["name"], json.dumps(example(tool.get("parameters") or {"type": "object"}))),)


def count_tokens(text: str) -> int:
    return -(-len(text.encode()) // BYTES_PER_TOKEN)


def prompt_tokens(request: CallRequest) -> int:
    """Every part of the request that a model would read; it would not read what it thought before."""
    total = count_tokens(request.system)
    for message in request.messages:
        total += count_tokens(message.content) + TOKENS_PER_IMAGE * len(message.images)
        total += sum(count_tokens(call.name + call.arguments) for call in message.tool_calls)
    for tool in request.tools:
        total += count_tokens(json.dumps(tool, sort_keys=True))
    if request.response_schema is not None:
        total += count_tokens(json.dumps(request.response_schema, sort_keys=True))
    return total


def example(schema: Any, *, room: int = MAX_EXAMPLES) -> Any:
    """The plainest value that satisfies a JSON schema of the common kinds; its lists, one within the other, have at most
    ``room`` items together.
    """
    if not isinstance(schema, Mapping):
        return None
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return schema["enum"][0]
    for choice in ("anyOf", "oneOf"):
        if schema.get(choice):
            return example(schema[choice][0], room=room)
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = kind[0] if kind else None
    match kind:
        case "string":
            return "demo"
        case "integer" | "number":
            return schema.get("minimum", 0)
        case "boolean":
            return False
        case "array":
            least = schema.get("minItems", 0)
            count = max(0, min(least, room)) if isinstance(least, int) else 0
            return [example(schema.get("items"), room=room // count)] * count if count else []
        case "object":
            properties = schema.get("properties") or {}
            return {name: example(properties.get(name), room=room) for name in schema.get("required") or properties}
    return None
