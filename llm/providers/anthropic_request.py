"""A request in the words of Anthropic's messages API."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from llm.providers import reasoning
from llm.providers.base import json_object
from llm.types import CallRequest, ChatMessage, Image, TextPart

MAX_BREAKPOINTS = 4
"""More ``cache_control`` marks than that are refused: platform.claude.com/docs/en/build-with-claude/prompt-caching."""
JSON_OBJECT = "Answer with a JSON object and nothing else."


def arguments(request: CallRequest) -> dict[str, Any]:
    """Arguments of ``messages.create``."""
    arguments = {**prompt(request), "max_tokens": request.max_tokens}
    if request.stop:
        arguments["stop_sequences"] = list(request.stop)
    if sampling := _sampling(request):
        # The SDK has dropped these parameters because the newer models refuse them; the older ones still take them.
        arguments["extra_body"] = sampling
    return arguments


def prompt(request: CallRequest) -> dict[str, Any]:
    """What the model reads, and what has a part in how many tokens that is: arguments of ``messages.count_tokens``."""
    tools, system, turns = _tools(request), _system(request), _turns(request.messages)
    blocks = [
        *tools,
        *(system if isinstance(system, list) else ()),
        *(block for turn in turns for block in turn["content"]),
    ]
    marked = [block for block in blocks if "cache_control" in block]
    for block in marked[:-MAX_BREAKPOINTS]:
        del block["cache_control"]
    arguments: dict[str, Any] = {"model": request.model, "messages": turns}
    if system:
        arguments["system"] = system
    if tools:
        arguments["tools"] = tools
        if choice := _tool_choice(request):
            arguments["tool_choice"] = choice
    thinking, effort = reasoning.for_anthropic(request)
    if thinking:
        arguments["thinking"] = thinking
    output: dict[str, Any] = {"effort": effort} if effort else {}
    if request.response_schema is not None:
        output["format"] = {"type": "json_schema", "schema": request.response_schema}
    if output:
        arguments["output_config"] = output
    return arguments


def _sampling(request: CallRequest) -> dict[str, Any]:
    """Temperature or ``top_p``: several models refuse the two together."""
    if request.is_reasoning:
        return {}
    values: dict[str, Any] = {"top_k": request.top_k}
    if request.temperature is not None:
        values["temperature"] = min(request.temperature, 1.0)  # others go up to 2
    else:
        values["top_p"] = request.top_p
    return {name: value for name, value in values.items() if value is not None}


def _cached(block: dict[str, Any], lifetime: str) -> dict[str, Any]:
    return {**block, "cache_control": {"type": "ephemeral", "ttl": lifetime}} if lifetime else block


def _system(request: CallRequest) -> str | list[dict[str, Any]]:
    wants_object = request.json_object and request.response_schema is None  # the API knows no JSON without a schema
    if not request.system_parts:
        return "\n\n".join(filter(None, (request.system, JSON_OBJECT if wants_object else "")))
    parts = (*request.system_parts, TextPart(JSON_OBJECT if wants_object else ""))
    return [_cached({"type": "text", "text": part.text}, part.cache) for part in parts if part.text]


def _tools(request: CallRequest) -> list[dict[str, Any]]:
    tools = [_tool(tool) for tool in request.tools]
    if tools:
        tools[-1] = _cached(tools[-1], request.tools_cache)
    return tools


def _tool(tool: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": tool["name"],
        **({"description": tool["description"]} if tool.get("description") else {}),
        "input_schema": tool.get("parameters") or {"type": "object", "properties": {}},
        **({"strict": True} if tool.get("strict") else {}),
    }


def _tool_choice(request: CallRequest) -> dict[str, Any]:
    choice: dict[str, Any]
    if request.tool_choice == "none":
        return {"type": "none"}
    is_auto = request.tool_choice in ("", "auto") or request.model.startswith(reasoning.ANTHROPIC_NO_FORCED_TOOL)
    if is_auto:
        choice = {"type": "auto"}
    elif request.tool_choice == "required":
        choice = {"type": "any"}
    else:
        choice = {"type": "tool", "name": request.tool_choice}
    if request.parallel_tool_calls is False:
        return {**choice, "disable_parallel_tool_use": True}
    return choice if request.tool_choice else {}


def _turns(messages: Iterable[ChatMessage]) -> list[dict[str, Any]]:
    """The conversation in turns that alternate, as the API wants them: tool results belong to a user's turn, and they
    come first in it. Empty texts are left out, for the API refuses them."""
    turns: list[dict[str, Any]] = []
    for message in messages:
        role = "assistant" if message.role == "assistant" else "user"
        blocks = list(_blocks(message))
        if not blocks:
            continue
        if "thinking" not in blocks[-1]["type"]:  # those can't be marked
            blocks[-1] = _cached(blocks[-1], message.cache)
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"].extend(blocks)
        else:
            turns.append({"role": role, "content": blocks})
    for turn in turns:
        turn["content"].sort(key=lambda block: block["type"] != "tool_result")
    return turns


def _blocks(message: ChatMessage) -> Iterator[dict[str, Any]]:
    if message.role == "tool":
        yield _tool_result(message)
        return
    for block in message.thinking:
        if block.redacted:
            yield {"type": "redacted_thinking", "data": block.redacted}
        elif block.signature:  # unsigned, it is another vendor's, and would be refused
            yield {"type": "thinking", "thinking": block.text, "signature": block.signature}
    for part in message.ordered:
        yield _cached(_part(part), part.cache)
    for call in message.tool_calls:
        yield {"type": "tool_use", "id": call.id, "name": call.name, "input": json_object(call.arguments)}


def _tool_result(message: ChatMessage) -> dict[str, Any]:
    """Cached whole or not at all."""
    parts = message.ordered
    result: dict[str, Any] = {
        "type": "tool_result",
        "tool_use_id": message.tool_call_id,
        "content": [_part(part) for part in parts] if message.images else message.content,
    }
    if message.is_error:
        result["is_error"] = True
    return _cached(result, next((part.cache for part in reversed(parts) if part.cache), ""))


def _part(part: TextPart | Image) -> dict[str, Any]:
    if isinstance(part, TextPart):
        return {"type": "text", "text": part.text}
    data = base64.b64encode(part.data).decode()
    return {"type": "image", "source": {"type": "base64", "media_type": part.media_type, "data": data}}
