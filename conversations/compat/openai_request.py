"""``POST /v1/chat/completions`` as it comes in: OpenAI's request, read strictly.

https://platform.openai.com/docs/api-reference/chat/create
"""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

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
from conversations.compat.signatures import SIGNED_FORMAT, signature_in
from llm.types import ChatMessage, Image, TextPart, Thinking, ToolCall

_DATA_URL = re.compile(r"data:(?P<type>image/[\w.+-]+);base64,(?P<data>.*)", re.DOTALL)


class TextContent(Strict):
    type: Literal["text"]
    text: Text
    cache_control: CacheControl | None = None
    # What frameworks note on the parts of an answer and send back with them.
    ignored = frozenset({"annotations", "id", "index"})
    refused: ClassVar[dict[str, str]] = {"prompt_cache_breakpoint": "Mark it with “cache_control”."}


class RefusalContent(Strict):
    type: Literal["refusal"]
    refusal: Text


class ImageURL(Strict):
    url: str
    detail: Literal["auto", "low", "high", "original"] = "auto"


class ImageContent(Strict):
    type: Literal["image_url"]
    image_url: ImageURL
    cache_control: CacheControl | None = None
    refused: ClassVar[dict[str, str]] = {"prompt_cache_breakpoint": "Mark it with “cache_control”."}


Content = Annotated[TextContent | RefusalContent | ImageContent, Field(discriminator="type")]


class System(Strict):
    role: Literal["system", "developer"]
    content: Text | list[TextContent]
    name: str | None = None


class User(Strict):
    role: Literal["user"]
    content: Text | list[Content]
    name: str | None = None


class Function(Strict):
    name: ToolName
    arguments: Text
    ignored = frozenset({"parsed_arguments"})  # noted by OpenAI's own SDK


class Call(Strict):
    id: CallId
    type: Literal["function"] = "function"
    function: Function
    extra_content: dict[str, Any] | None = None
    ignored = frozenset({"index", "provider_specific_fields"})


class ReasoningDetail(Strict):
    """A block of thinking that is given back, in OpenRouter's shape."""

    type: str
    text: Text = ""
    signature: Text = ""
    data: Text = ""
    format: str = ""
    ignored = frozenset({"id", "index", "summary"})


class Assistant(Strict):
    role: Literal["assistant"]
    content: Text | list[Content] | None = None
    tool_calls: list[Call] | None = Field(default=None, max_length=128)
    refusal: Text | None = None
    name: str | None = None
    reasoning_content: Text = ""
    reasoning: Text = ""
    reasoning_details: list[ReasoningDetail] | None = None
    # What clients give back of an answer as they got it.
    ignored = frozenset({"annotations", "audio", "parsed", "provider_specific_fields", "thinking_blocks"})
    refused: ClassVar[dict[str, str]] = {"function_call": "Use “tool_calls”."}


class Tool(Strict):
    role: Literal["tool"]
    tool_call_id: CallId
    content: Text | list[TextContent] = ""
    ignored = frozenset({"name"})


Turn = Annotated[System | User | Assistant | Tool, Field(discriminator="role")]


class FunctionDefinition(Strict):
    name: ToolName
    description: Text = ""
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class ToolDefinition(Strict):
    type: Literal["function"]
    function: FunctionDefinition
    cache_control: CacheControl | None = None
    only: ClassVar[dict[str, tuple[tuple[Any, ...], str]]] = {"type": (("function",), "Only functions are supported.")}


class NamedFunction(Strict):
    name: ToolName


class NamedTool(Strict):
    type: Literal["function"]
    function: NamedFunction


class JSONSchema(Strict):
    name: Annotated[str, Field(min_length=1, max_length=64)] = "answer"
    schema_: dict[str, Any] = Field(alias="schema")
    strict: bool | None = None
    description: Text = ""


class ResponseFormat(Strict):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: JSONSchema | None = None

    @model_validator(mode="after")
    def _has_schema(self) -> ResponseFormat:
        if self.type == "json_schema" and self.json_schema is None:
            raise ValueError("“json_schema” is required.")
        return self


class StreamOptions(Strict):
    include_usage: bool = False
    include_obfuscation: bool = False


class Reasoning(Strict):
    """OpenRouter's way to say it."""

    effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = None
    enabled: bool | None = None
    exclude: bool = False
    ignored = frozenset({"summary"})

    @property
    def wanted(self) -> str | None:
        return "none" if self.enabled is False else self.effort


class UsageOptions(Strict):
    include: bool = True


class ChatCompletion(Strict):
    model: Annotated[str, Field(min_length=1, max_length=250)]
    messages: list[Turn] = Field(min_length=1, max_length=MAX_TURNS)
    stream: bool = False
    stream_options: StreamOptions | None = None
    max_tokens: TokenLimit | None = None
    max_completion_tokens: TokenLimit | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    n: Literal[1] = 1
    top_k: Annotated[int, Field(ge=1)] | None = None
    stop: Stop | Annotated[list[Stop], Field(max_length=16)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    tools: list[ToolDefinition] | None = Field(default=None, max_length=128)
    tool_choice: Literal["none", "auto", "required"] | NamedTool | None = None
    parallel_tool_calls: bool | None = None
    response_format: ResponseFormat | None = None
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = None
    reasoning: Reasoning | None = None
    verbosity: Literal["low", "medium", "high"] | None = None
    user: Annotated[str, Field(max_length=512)] | None = None
    metadata: Notes | None = None
    # Taken where they say what is so anyway.
    logprobs: Literal[False] = False
    top_logprobs: Literal[0] = 0
    logit_bias: Annotated[dict[str, Any], Field(max_length=0)] | None = None
    service_tier: Literal["auto", "default"] = "default"
    modalities: list[Literal["text"]] | None = None
    usage: UsageOptions | None = None
    ignored = frozenset({"prompt_cache_key", "safety_identifier", "store"})
    refused: ClassVar[dict[str, str]] = {
        "audio": "Audio is not supported.",
        "functions": "Use “tools”.",
        "function_call": "Use “tool_choice”.",
        "moderation": "Moderation with the call is not supported.",
        "prediction": "Predicted outputs are billed apart and not supported.",
        "prompt_cache_options": "Mark what is to be cached with “cache_control”.",
        "prompt_cache_retention": "A longer cache is billed apart and not supported.",
        "web_search_options": "Web search is billed apart and not supported.",
    }
    only: ClassVar[dict[str, tuple[tuple[Any, ...], str]]] = {
        "n": ((1,), "A call has one answer: ask again for another."),
        "logprobs": ((False,), "Probabilities are not supported."),
        "logit_bias": (({},), "A bias is not supported."),
        "modalities": ((["text"],), "Answers are text."),
        "service_tier": (("auto", "default"), "Other tiers are billed apart and not supported."),
    }


def read(body: dict[str, Any]) -> Request:
    """The request, ready for the road. Raises BadRequest, or NotFound for the model."""
    asked: ChatCompletion = parse(ChatCompletion, body)
    prompt = Prompt()
    for index, turn in enumerate(asked.messages):
        _add(prompt, turn, path=f"messages[{index}]")
    tools, tools_cache = _tools(asked)
    chat, metadata = notes(asked.metadata)
    if asked.user:
        metadata.setdefault("user", asked.user)
    structure = asked.response_format.json_schema if asked.response_format else None
    stop = [asked.stop] if isinstance(asked.stop, str) else asked.stop
    ask = as_ask(
        prompt,
        llm=resolved(asked.model),
        stream=asked.stream,
        max_tokens=asked.max_completion_tokens or asked.max_tokens,
        temperature=asked.temperature,
        stop=stop or (),
        tools=tools,
        tool_choice=_tool_choice(asked),
        response_schema=structure.schema_ if structure else None,
        metadata=metadata,
        options={
            "top_p": asked.top_p,
            "top_k": asked.top_k,
            "seed": asked.seed,
            "frequency_penalty": asked.frequency_penalty,
            "presence_penalty": asked.presence_penalty,
            "json_object": bool(asked.response_format and asked.response_format.type == "json_object"),
            "schema_name": structure.name if structure else "",
            "reasoning_effort": asked.reasoning_effort or (asked.reasoning.wanted if asked.reasoning else None),
            "verbosity": asked.verbosity,
            "tools_cache": tools_cache,
            "parallel_tool_calls": asked.parallel_tool_calls,
        },
    )
    return Request(
        ask=ask,
        conversation_id=chat,
        model=asked.model,
        shows_thinking=not (asked.reasoning and asked.reasoning.exclude),
        includes_usage=bool(
            (asked.stream_options and asked.stream_options.include_usage) or (asked.usage and asked.usage.include)
        ),
    )


def _add(prompt: Prompt, turn: Any, *, path: str) -> None:
    match turn:
        case System():
            prompt.system.extend(_texts(turn.content))
        case Tool():
            text = "\n\n".join(part.text for part in _texts(turn.content))
            prompt.add(ChatMessage("tool", text, tool_call_id=turn.tool_call_id))
        case Assistant():
            parts, _ = _parts(turn.content, path=f"{path}.content")
            if not parts and turn.refusal:
                parts = [TextPart(turn.refusal)]
            calls = tuple(
                ToolCall(call.id, call.function.name, call.function.arguments, signature_in(call.extra_content))
                for call in turn.tool_calls or ()
            )
            if parts or calls:
                prompt.add(ChatMessage.of_parts("assistant", parts, tool_calls=calls, thinking=_thinking(turn)))
        case User():
            parts, stored = _parts(turn.content, path=f"{path}.content")
            if any(isinstance(part, Image) or part.text for part in parts):
                prompt.add(ChatMessage.of_parts("user", parts), stored)


def _thinking(turn: Assistant) -> tuple[Thinking, ...]:
    """What the model thought before, as far as a vendor wants it back: signed blocks, and, before a call, plain text."""
    blocks = [
        Thinking(detail.text, detail.signature, detail.data)
        for detail in turn.reasoning_details or ()
        if detail.format == SIGNED_FORMAT and (detail.signature or detail.data)
    ]
    if not blocks and turn.tool_calls and (text := turn.reasoning_content or turn.reasoning):
        blocks = [Thinking(text)]
    return tuple(blocks)


def _texts(content: Any) -> list[TextPart]:
    if isinstance(content, str):
        return [TextPart(content)] if content else []
    return [TextPart(part.text, cache_of(part.cache_control)) for part in content if part.text]


def _parts(content: Any, *, path: str) -> tuple[list[TextPart | Image], list[dict[str, Any]]]:
    if content is None or isinstance(content, str):
        return ([TextPart(content)] if content else []), []
    parts: list[TextPart | Image] = []
    stored = []
    for index, part in enumerate(content):
        match part:
            case TextContent():
                parts.append(TextPart(part.text, cache_of(part.cache_control)))
            case RefusalContent():
                parts.append(TextPart(part.refusal))
            case ImageContent():
                where = f"{path}[{index}].image_url.url"
                url = _DATA_URL.fullmatch(part.image_url.url)
                if url is None:
                    raise BadRequest(
                        where, "Send the image itself, as “data:image/png;base64,…”; no address is fetched for you."
                    )
                picture, kept = image(
                    media_type=url["type"], data=url["data"], cache=cache_of(part.cache_control), path=where
                )
                parts.append(picture)
                stored.append(kept)
    return parts, stored


def _tools(asked: ChatCompletion) -> tuple[list[dict[str, Any]], str]:
    tools, cache = [], ""
    for tool in asked.tools or ():
        definition: dict[str, Any] = {
            "name": tool.function.name,
            "description": tool.function.description,
            "parameters": tool.function.parameters or {"type": "object", "properties": {}},
        }
        if tool.function.strict:
            definition["strict"] = True
        tools.append(definition)
        cache = cache_of(tool.cache_control) or cache
    if len({tool["name"] for tool in tools}) != len(tools):
        raise BadRequest("tools", "Two tools have the same name.")
    return tools, cache


def _tool_choice(asked: ChatCompletion) -> str:
    choice = asked.tool_choice
    if isinstance(choice, NamedTool):
        return choice.function.name
    return choice or ""
