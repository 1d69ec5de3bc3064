"""A request in the words of OpenAI's chat completions, and of the vendors that speak the same protocol."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from llm.providers import reasoning
from llm.types import CallRequest, ChatMessage, Image, TextPart


def arguments(provider: str, request: CallRequest) -> dict[str, Any]:
    """Arguments of ``chat.completions.create``. What differs between the vendors is asked by name."""
    is_openai = provider == "openai"
    system = request.system
    arguments: dict[str, Any] = {"model": request.model}
    # OpenAI's reasoning models refuse max_tokens; the other vendors know only that one.
    arguments["max_completion_tokens" if is_openai else "max_tokens"] = request.max_tokens
    arguments.update(_sampling(provider, request))
    arguments.update(reasoning.for_openai(provider, request))
    if request.stop:
        arguments["stop"] = list(request.stop)
    if request.tools:
        arguments["tools"] = [{"type": "function", "function": _function(tool, is_openai)} for tool in request.tools]
        if request.tool_choice in ("auto", "none", "required"):
            arguments["tool_choice"] = request.tool_choice
        elif request.tool_choice:
            arguments["tool_choice"] = {"type": "function", "function": {"name": request.tool_choice}}
        if request.parallel_tool_calls is not None:
            arguments["parallel_tool_calls"] = request.parallel_tool_calls
    if request.response_schema is not None:
        if provider == "deepseek":
            # DeepSeek promises JSON but takes no schema, and wants the word in the prompt.
            arguments["response_format"] = {"type": "json_object"}
            schema = json.dumps(request.response_schema, sort_keys=True)
            system = f"{system}\n\nAnswer with JSON that satisfies this JSON schema:\n{schema}".strip()
        else:
            arguments["response_format"] = {
                "type": "json_schema",
                "json_schema": {
                    "name": re.sub(r"[^A-Za-z0-9_-]", "_", request.schema_name)[:64] or "answer",
                    "schema": request.response_schema,
                    "strict": is_closed(request.response_schema),
                },
            }
    elif request.json_object:
        arguments["response_format"] = {"type": "json_object"}
        if not any("json" in text.lower() for text in (system, *(message.content for message in request.messages))):
            system = f"{system}\n\nAnswer with a JSON object.".strip()  # refused where the word does not occur
    arguments["messages"] = [
        *([{"role": "system", "content": system}] if system else []),
        *_messages(request.messages, gives_thinking_back=provider == "deepseek" and request.is_reasoning),
    ]
    return arguments


def _sampling(provider: str, request: CallRequest) -> dict[str, Any]:
    """Reasoning models refuse all but the seed at OpenAI (developers.openai.com/api/docs/guides/reasoning), and the
    penalties at xAI (docs.x.ai/docs/guides/reasoning); DeepSeek's pay them no heed."""
    values: dict[str, Any] = {"seed": request.seed}
    if not (request.is_reasoning and provider == "openai"):
        values |= {"temperature": request.temperature, "top_p": request.top_p}
        if not (request.is_reasoning and provider == "grok"):
            values["frequency_penalty"] = request.frequency_penalty
            values["presence_penalty"] = request.presence_penalty
    return {name: value for name, value in values.items() if value is not None}


def _function(tool: Mapping[str, Any], is_openai: bool) -> dict[str, Any]:
    return {name: value for name, value in tool.items() if name != "strict" or is_openai}


def _messages(messages: Iterable[ChatMessage], *, gives_thinking_back: bool) -> list[dict[str, Any]]:
    """The conversation. A tool message takes no images, and nothing may stand between the results of one turn's calls,
    so their images follow them as a user's."""
    written: list[dict[str, Any]] = []
    images: list[Image] = []
    for message in messages:
        if message.role != "tool" and images:
            written.append({"role": "user", "content": [_image(image) for image in images]})
            images = []
        written.append(_message(message))
        if message.role == "tool":
            images.extend(message.images)
        elif message.tool_calls and gives_thinking_back:
            # DeepSeek refuses a call without the thinking before it, be that empty: api-docs.deepseek.com/guides/
            # thinking_mode#tool-calls
            written[-1]["reasoning_content"] = "".join(block.text for block in message.thinking)
    if images:
        written.append({"role": "user", "content": [_image(image) for image in images]})
    return written


def _message(message: ChatMessage) -> dict[str, Any]:
    if message.role == "tool":
        content = f"Error: {message.content}" if message.is_error else message.content
        return {"role": "tool", "tool_call_id": message.tool_call_id, "content": content}
    if message.tool_calls:
        calls = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in message.tool_calls
        ]
        return {"role": "assistant", "content": message.content or None, "tool_calls": calls}
    if message.images:
        # Without an order of the client's: the text first, as OpenAI's own examples have it.
        parts = message.ordered if message.parts else sorted(message.ordered, key=lambda part: isinstance(part, Image))
        return {"role": message.role, "content": [_part(part) for part in parts]}
    return {"role": message.role, "content": message.content}


def _part(part: TextPart | Image) -> dict[str, Any]:
    return _image(part) if isinstance(part, Image) else {"type": "text", "text": part.text}


def _image(image: Image) -> dict[str, Any]:
    url = f"data:{image.media_type};base64,{base64.b64encode(image.data).decode()}"
    return {"type": "image_url", "image_url": {"url": url}}


def is_closed(schema: Any) -> bool:
    """Whether a schema keeps to what OpenAI's strict mode takes: every object closed, every property required.

    https://platform.openai.com/docs/guides/structured-outputs#supported-schemas; others are sent without ``strict``,
    since strict mode would refuse the request outright.
    """
    if isinstance(schema, list):
        return all(is_closed(item) for item in schema)
    if not isinstance(schema, Mapping):
        return True
    properties = schema.get("properties")
    if schema.get("type") == "object" or properties is not None:
        names = set(properties) if isinstance(properties, Mapping) else set()
        if schema.get("additionalProperties") is not False or set(schema.get("required") or ()) != names:
            return False
        return all(is_closed(part) for part in (properties or {}).values())
    return all(is_closed(value) for key, value in schema.items() if key not in ("enum", "const", "default"))
