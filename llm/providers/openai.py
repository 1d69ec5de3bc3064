"""OpenAI's chat completions, and the vendors that speak the same protocol: Grok, DeepSeek, Llama."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from llm.providers.base import Answer, SDKProvider, Timeouts, as_mapping, call_result, token_count
from llm.providers.failures import STATUS_OF_TYPE, Refusal, UnreadableAnswerError, text_at
from llm.types import CallRequest, CallResult, ChatMessage, Credentials, StreamEvent, ToolCall, Usage

if TYPE_CHECKING:
    import httpx2
    from openai import AsyncOpenAI

BASE_URLS = {
    "openai": "https://api.openai.com/v1",
    "grok": "https://api.x.ai/v1",
    "deepseek": "https://api.deepseek.com",
    "llama": "https://api.llama.com/compat/v1",
}

FINISH_REASONS = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
}


class OpenAIAnswer(Answer):
    """Tool calls come in fragments, told apart by their index."""

    def __init__(self, provider: str, max_tokens: int) -> None:
        super().__init__(provider, max_tokens)
        self.calls: dict[int, dict[str, str]] = {}

    def result(self) -> CallResult:
        self.tool_calls = [ToolCall(**self.calls[index]) for index in sorted(self.calls)]
        return super().result()


class OpenAIProvider(SDKProvider[OpenAIAnswer]):
    """One instance per vendor name; what differs between them is asked by name in ``_arguments``."""

    sdk = "openai"

    def __init__(self, name: str = "openai", *, timeouts: Timeouts | None = None) -> None:
        super().__init__(name, timeouts=timeouts)
        self.default_base_url = BASE_URLS.get(name, "")

    def _build(self, http: httpx2.AsyncClient, credentials: Credentials, base_url: str) -> AsyncOpenAI:
        import openai

        client = openai.AsyncOpenAI(
            api_key=credentials.api_key, base_url=base_url, max_retries=0, timeout=None, http_client=http
        )
        # Read from OPENAI_ORG_ID and OPENAI_PROJECT_ID by the SDK: they would go out with every customer's own key,
        # and to other vendors.
        client.organization = None
        client.project = None
        return client

    async def _complete(self, client: AsyncOpenAI, request: CallRequest) -> CallResult:
        completion = await client.chat.completions.create(**self._arguments(request))
        choice = (getattr(completion, "choices", None) or [None])[0]
        if choice is None:
            raise UnreadableAnswerError
        message = choice.message
        calls = [
            ToolCall(call.id, call.function.name, call.function.arguments)
            for call in message.tool_calls or ()
            if call.type == "function"
        ]
        return call_result(
            text=message.content or message.refusal or "",
            finish_reason="content_filter" if message.refusal else FINISH_REASONS.get(choice.finish_reason, "other"),
            usage=read_usage(as_mapping(completion.usage), self.name),
            tool_calls=calls,
            request_id=completion._request_id or completion.id or "",
        )

    def _new_answer(self, request: CallRequest) -> OpenAIAnswer:
        return OpenAIAnswer(self.name, request.max_tokens)

    async def _open(self, client: AsyncOpenAI, request: CallRequest, answer: OpenAIAnswer) -> AsyncIterator[Any]:
        stream = await client.chat.completions.create(
            **self._arguments(request), stream=True, stream_options={"include_usage": True}
        )
        answer.request_id = stream.response.headers.get("x-request-id", "")
        return aiter(stream)

    def _read(self, chunk: Any, answer: OpenAIAnswer) -> Iterable[StreamEvent]:
        answer.request_id = answer.request_id or chunk.id or ""
        for choice in chunk.choices or ():
            delta = choice.delta
            if delta is not None:
                # DeepSeek, Grok and Llama show their thinking in fields of their own.
                thinking = getattr(delta, "reasoning_content", None) or getattr(delta, "reasoning", None)
                if thinking:
                    answer.has_begun = True
                yield from answer.text(delta.content)
                if delta.refusal:
                    yield from answer.text(delta.refusal)
                    answer.finish_reason = "content_filter"
                for fragment in delta.tool_calls or ():
                    call = answer.calls.setdefault(fragment.index, {"id": "", "name": "", "arguments": ""})
                    function = fragment.function
                    call["id"] = fragment.id or call["id"]
                    call["name"] += answer.take((function.name if function else None) or "")
                    call["arguments"] += answer.take((function.arguments if function else None) or "")
            if choice.finish_reason:
                answer.finish_reason = answer.finish_reason or FINISH_REASONS.get(choice.finish_reason, "other")
        if chunk.usage is not None:
            yield from answer.see_usage(read_usage(as_mapping(chunk.usage), self.name))

    def _refusal(self, error: Exception) -> Refusal | None:
        import openai

        if isinstance(error, openai.APIStatusError):
            return Refusal(
                status=error.status_code,
                code=error.code or error.type or "",
                message=text_at(error.body, "message") or str(error.body),
                headers=error.response.headers,
                request_id=error.request_id or "",
            )
        if isinstance(error, openai.APIConnectionError):
            return None
        if isinstance(error, openai.APIError):  # an error event in the middle of a stream
            kind = error.type or error.code or ""
            return Refusal(status=STATUS_OF_TYPE.get(kind), code=error.code or kind, message=error.message)
        return None

    # the request ----------------------------------------------------------------------------------------------------

    def _arguments(self, request: CallRequest) -> dict[str, Any]:
        is_openai = self.name == "openai"
        system = request.system
        arguments: dict[str, Any] = {"model": request.model}
        # OpenAI's reasoning models refuse max_tokens; the other vendors know only that one.
        arguments["max_completion_tokens" if is_openai else "max_tokens"] = request.max_tokens
        if request.temperature is not None and not (is_openai and request.is_reasoning):
            arguments["temperature"] = request.temperature
        if request.stop:
            arguments["stop"] = list(request.stop)
        if request.tools:
            arguments["tools"] = [{"type": "function", "function": dict(tool)} for tool in request.tools]
            if request.tool_choice in ("auto", "none", "required"):
                arguments["tool_choice"] = request.tool_choice
            elif request.tool_choice:
                arguments["tool_choice"] = {"type": "function", "function": {"name": request.tool_choice}}
        if request.response_schema is not None:
            if self.name == "deepseek":
                # DeepSeek promises JSON but takes no schema, and wants the word in the prompt.
                arguments["response_format"] = {"type": "json_object"}
                schema = json.dumps(request.response_schema, sort_keys=True)
                system = f"{system}\n\nAnswer with JSON that satisfies this JSON schema:\n{schema}".strip()
            else:
                arguments["response_format"] = {
                    "type": "json_schema",
                    "json_schema": {
                        "name": "answer",
                        "schema": request.response_schema,
                        "strict": is_closed(request.response_schema),
                    },
                }
        arguments["messages"] = [
            *([{"role": "system", "content": system}] if system else []),
            *(_message(message) for message in request.messages),
        ]
        return arguments


def _message(message: ChatMessage) -> dict[str, Any]:
    if message.role == "tool":
        return {"role": "tool", "tool_call_id": message.tool_call_id, "content": message.content}
    if message.tool_calls:
        calls = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in message.tool_calls
        ]
        return {"role": "assistant", "content": message.content or None, "tool_calls": calls}
    if message.images:
        content: list[dict[str, Any]] = [{"type": "text", "text": message.content}] if message.content else []
        for image in message.images:
            url = f"data:{image.media_type};base64,{base64.b64encode(image.data).decode()}"
            content.append({"type": "image_url", "image_url": {"url": url}})
        return {"role": message.role, "content": content}
    return {"role": message.role, "content": message.content}


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


# the usage ----------------------------------------------------------------------------------------------------------


def read_usage(report: Mapping[str, Any] | None, provider: str = "openai") -> Usage | None:
    """A chat completion's usage in disjoint buckets, or None where it is missing or cannot be true.

    ``prompt_tokens`` includes the cached and the written tokens. ``completion_tokens`` includes the reasoning at OpenAI
    and DeepSeek and leaves it out at xAI (docs.x.ai, "counted separately from completion_tokens, but counted in the
    total_tokens"), so the total decides: where prompt + completion + reasoning is the total, reasoning comes on top.
    """
    if report is None or report.get("prompt_tokens") is None or report.get("completion_tokens") is None:
        return None
    prompt = token_count(report, "prompt_tokens")
    completion = token_count(report, "completion_tokens")
    total = token_count(report, "total_tokens")
    cached = token_count(report, "prompt_tokens_details", "cached_tokens")
    hit = token_count(report, "prompt_cache_hit_tokens")  # DeepSeek
    written = token_count(report, "prompt_tokens_details", "cache_write_tokens")
    reasoning = token_count(report, "completion_tokens_details", "reasoning_tokens")
    if (
        prompt is None
        or completion is None
        or total is None
        or cached is None
        or hit is None
        or written is None
        or reasoning is None
    ):
        return None
    cached = cached or hit
    if cached + written > prompt:
        return None
    is_extra = total == prompt + completion + reasoning if total else provider == "grok"
    if is_extra:
        completion += reasoning
    if reasoning > completion:
        return None
    return Usage(
        input=prompt - cached - written,
        cached_input=cached,
        cache_write_5m=written,
        output=completion - reasoning,
        reasoning=reasoning,
    )
