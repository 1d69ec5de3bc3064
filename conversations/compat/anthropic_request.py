"""``POST /v1/messages`` as it comes in: Anthropic's request, read strictly.

https://docs.claude.com/en/api/messages
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from conversations.compat.asking import Prompt, Request, as_ask, notes, resolved
from conversations.compat.fields import (
    MAX_TURNS,
    BadRequest,
    CacheControl,
    CallId,
    Notes,
    Stop,
    Strict,
    Text,
    TokenLimit,
    ToolName,
    cache_of,
    image,
    parse,
)
from conversations.compat.signatures import signature_in
from llm.types import ChatMessage, Image, TextPart, Thinking, ToolCall

_NO_FETCHING = "Send the image itself, in base64; no address or file is fetched for you."


class TextBlock(Strict):
    type: Literal["text"]
    text: Text
    cache_control: CacheControl | None = None
    ignored = frozenset({"citations"})


class Base64Source(Strict):
    type: Literal["base64"]
    media_type: str
    data: str


class ImageBlock(Strict):
    type: Literal["image"]
    source: Base64Source | dict[str, Any]
    cache_control: CacheControl | None = None


class ToolUse(Strict):
    type: Literal["tool_use"]
    id: CallId
    name: ToolName
    input: dict[str, Any]
    cache_control: CacheControl | None = None
    extra_content: dict[str, Any] | None = None
    ignored = frozenset({"caller"})


class ToolResult(Strict):
    type: Literal["tool_result"]
    tool_use_id: CallId
    content: Text | list[Annotated[TextBlock | ImageBlock, Field(discriminator="type")]] = ""
    is_error: bool = False
    cache_control: CacheControl | None = None


class ThinkingBlock(Strict):
    type: Literal["thinking"]
    thinking: Text
    signature: Text = ""


class RedactedThinking(Strict):
    type: Literal["redacted_thinking"]
    data: Text


UserBlock = Annotated[TextBlock | ImageBlock | ToolResult, Field(discriminator="type")]
AssistantBlock = Annotated[TextBlock | ToolUse | ThinkingBlock | RedactedThinking, Field(discriminator="type")]


class System(Strict):
    role: Literal["system"]
    content: Text | list[TextBlock]


class User(Strict):
    role: Literal["user"]
    content: Text | list[UserBlock]


class Assistant(Strict):
    role: Literal["assistant"]
    content: Text | list[AssistantBlock]


Turn = Annotated[System | User | Assistant, Field(discriminator="role")]


class ToolDefinition(Strict):
    name: ToolName
    input_schema: dict[str, Any]
    description: Text = ""
    type: Literal["custom"] = "custom"
    strict: bool | None = None
    cache_control: CacheControl | None = None
    allowed_callers: list[Literal["direct"]] | None = None
    defer_loading: Literal[False] = False
    ignored = frozenset({"eager_input_streaming", "input_examples"})
    only: ClassVar[dict[str, tuple[tuple[Any, ...], str]]] = {
        "type": (("custom",), "Tools of the provider's own are billed apart or not described: give an “input_schema”."),
        "defer_loading": ((False,), "Every tool is part of the prompt."),
    }


class ToolChoice(Strict):
    type: Literal["auto", "any", "tool", "none"]
    name: ToolName | None = None
    disable_parallel_tool_use: bool = False


class ThinkingOptions(Strict):
    type: Literal["enabled", "adaptive", "disabled", "between_tools"]
    budget_tokens: Annotated[int, Field(ge=1024)] | None = None
    display: Literal["summarized", "omitted"] = "summarized"


class Format(Strict):
    type: Literal["json_schema"]
    schema_: dict[str, Any] = Field(alias="schema")
    ignored = frozenset({"name"})


class OutputConfig(Strict):
    effort: Literal["low", "medium", "high", "xhigh", "max"] | None = None
    format: Format | None = None


class TokenCount(Strict):
    """What a prompt is made of; all that counting its tokens needs."""

    model: Annotated[str, Field(min_length=1, max_length=250)]
    messages: list[Turn] = Field(min_length=1, max_length=MAX_TURNS)
    system: Text | list[TextBlock] | None = None
    tools: list[ToolDefinition] | None = Field(default=None, max_length=512)
    tool_choice: ToolChoice | None = None
    thinking: ThinkingOptions | None = None
    output_config: OutputConfig | None = None
    cache_control: CacheControl | None = None
    speed: Literal["standard"] = "standard"
    # The first makes prompts shorter at Anthropic, and is of no account where it is not done; the other asks why a cache
    # was missed.
    ignored = frozenset({"context_management", "diagnostics"})
    refused: ClassVar[dict[str, str]] = {
        "compaction": "Summaries are billed apart and not supported.",
        "container": "Code execution is billed apart and not supported.",
        "fallbacks": "Fallbacks are the workspace's.",
        "mcp_servers": "Tools that run at the provider are not supported.",
    }
    only: ClassVar[dict[str, tuple[tuple[Any, ...], str]]] = {
        "speed": (("standard",), "Other speeds are billed apart and not supported."),
        "service_tier": (("auto", "standard_only"), "Other tiers are billed apart and not supported."),
        "inference_geo": (("global",), "Other places are billed apart and not supported."),
    }


class MessageRequest(TokenCount):
    max_tokens: TokenLimit
    stream: bool = False
    stop_sequences: list[Stop] | None = Field(default=None, max_length=16)
    temperature: Annotated[float, Field(ge=0, le=1)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=1)] | None = None
    metadata: Notes | None = None
    service_tier: Literal["auto", "standard_only"] = "auto"
    inference_geo: Literal["global"] = "global"
    output_format: Format | None = None


def read(body: dict[str, Any]) -> Request:
    """The request, ready for the road. Raises BadRequest, or NotFound for the model."""
    return _request(parse(MessageRequest, body))


def read_for_counting(body: dict[str, Any]) -> Request:
    """The same for a request whose tokens are only to be counted."""
    counted: TokenCount = parse(TokenCount, body)
    return _request(MessageRequest.model_construct(**{**dict(counted), "max_tokens": 1}))


def _request(asked: MessageRequest) -> Request:
    prompt = Prompt(system=_texts(asked.system or ""))
    for index, turn in enumerate(asked.messages):
        _add(prompt, turn, path=f"messages[{index}]")
    if asked.cache_control and prompt.turns:
        last = prompt.turns[-1]
        prompt.turns[-1] = _cached(last, cache_of(asked.cache_control))
    config, thinking = asked.output_config or OutputConfig(), asked.thinking
    structure = config.format or asked.output_format
    if thinking and thinking.type == "enabled":
        if thinking.budget_tokens is None:
            raise BadRequest("thinking.budget_tokens", "Field required")
        if thinking.budget_tokens >= asked.max_tokens > 1:
            raise BadRequest("thinking.budget_tokens", "It must be less than max_tokens, which includes it.")
    tools, tools_cache = _tools(asked)
    chat, metadata = notes(asked.metadata)
    is_serial = bool(asked.tool_choice and asked.tool_choice.disable_parallel_tool_use)
    shows_thinking = thinking is not None and thinking.type != "disabled"
    ask = as_ask(
        prompt,
        llm=resolved(asked.model),
        stream=asked.stream,
        max_tokens=asked.max_tokens,
        temperature=asked.temperature,
        stop=asked.stop_sequences or (),
        tools=tools,
        tool_choice=_tool_choice(asked.tool_choice),
        response_schema=structure.schema_ if structure else None,
        metadata=metadata,
        options={
            "top_p": asked.top_p,
            "top_k": asked.top_k,
            "tools_cache": tools_cache,
            "reasoning_effort": config.effort,
            "thinking": "disabled" if thinking and thinking.type == "between_tools" else thinking and thinking.type,
            "thinking_budget": thinking.budget_tokens if thinking and thinking.type == "enabled" else None,
            "shows_thinking": (shows_thinking and thinking.display == "summarized") or None if thinking else None,
            "parallel_tool_calls": False if is_serial else None,
        },
    )
    return Request(ask=ask, conversation_id=chat, model=asked.model, shows_thinking=shows_thinking)


def _add(prompt: Prompt, turn: Any, *, path: str) -> None:
    if isinstance(turn, System):
        prompt.system.extend(_texts(turn.content))
        return
    if isinstance(turn.content, str):
        if turn.content:
            prompt.add(ChatMessage.of_parts(turn.role, [TextPart(turn.content)]))
        return
    if isinstance(turn, Assistant):
        prompt.add(_assistant(turn.content))
        return
    # Results of tools come first, as the API has it; each is a turn of its own here.
    for index, block in enumerate(turn.content):
        if isinstance(block, ToolResult):
            parts, stored = _parts(block.content, path=f"{path}.content[{index}].content")
            result = ChatMessage.of_parts(
                "tool",
                parts,
                tool_call_id=block.tool_use_id,
                is_error=block.is_error,
                cache=cache_of(block.cache_control),
            )
            prompt.add(result, stored)
    rest = [block for block in turn.content if not isinstance(block, ToolResult)]
    parts, stored = _parts(rest, path=f"{path}.content")
    if parts:
        prompt.add(ChatMessage.of_parts("user", parts), stored)


def _assistant(blocks: list[Any]) -> ChatMessage:
    thinking: list[Thinking] = []
    calls: list[ToolCall] = []
    cache = ""
    for block in blocks:
        match block:
            case ThinkingBlock() if block.signature:  # without one it is of another vendor, and proves nothing
                thinking.append(Thinking(block.thinking, block.signature))
            case RedactedThinking():
                thinking.append(Thinking("", redacted=block.data))
            case ToolUse():
                arguments = json.dumps(block.input, ensure_ascii=False)
                calls.append(ToolCall(block.id, block.name, arguments, signature_in(block.extra_content)))
                cache = cache_of(block.cache_control) or cache
    texts = [TextPart(block.text, cache_of(block.cache_control)) for block in blocks if isinstance(block, TextBlock)]
    return ChatMessage.of_parts("assistant", texts, tool_calls=tuple(calls), thinking=tuple(thinking), cache=cache)


def _texts(content: str | list[TextBlock]) -> list[TextPart]:
    if isinstance(content, str):
        return [TextPart(content)] if content else []
    return [TextPart(block.text, cache_of(block.cache_control)) for block in content if block.text]


def _parts(content: Any, *, path: str) -> tuple[list[TextPart | Image], list[dict[str, Any]]]:
    if isinstance(content, str):
        return ([TextPart(content)] if content else []), []
    parts: list[TextPart | Image] = []
    stored = []
    for index, block in enumerate(content):
        if isinstance(block, TextBlock):
            if block.text:
                parts.append(TextPart(block.text, cache_of(block.cache_control)))
            continue
        where = f"{path}[{index}].source"
        if not isinstance(block.source, Base64Source):
            raise BadRequest(where, _NO_FETCHING)
        picture, kept = image(
            media_type=block.source.media_type,
            data=block.source.data,
            cache=cache_of(block.cache_control),
            path=f"{where}.data",
        )
        parts.append(picture)
        stored.append(kept)
    return parts, stored


def _cached(turn: ChatMessage, cache: str) -> ChatMessage:
    return replace(turn, cache=turn.cache or cache)


def _tools(asked: TokenCount) -> tuple[list[dict[str, Any]], str]:
    tools, cache = [], ""
    for tool in asked.tools or ():
        definition: dict[str, Any] = {
            "name": tool.name,
            "description": tool.description,
            "parameters": tool.input_schema,
        }
        if tool.strict:
            definition["strict"] = True
        tools.append(definition)
        cache = cache_of(tool.cache_control) or cache
    if len({tool["name"] for tool in tools}) != len(tools):
        raise BadRequest("tools", "Two tools have the same name.")
    return tools, cache


def _tool_choice(choice: ToolChoice | None) -> str:
    if choice is None:
        return ""
    if choice.type == "tool":
        if choice.name is None:
            raise BadRequest("tool_choice.name", "Field required")
        return choice.name
    return {"any": "required"}.get(choice.type, choice.type)
