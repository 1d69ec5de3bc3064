"""OpenAI's chat completions, and the vendors that speak the same protocol: Grok, DeepSeek, Llama."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from llm.providers.answer import Answer, call_result, local_id
from llm.providers.base import SDKProvider, Timeouts, as_mapping, token_count
from llm.providers.failures import STATUS_OF_TYPE, Refusal, UnreadableAnswerError, text_at
from llm.providers.openai_request import arguments
from llm.types import CallRequest, CallResult, Credentials, StreamEvent, Thinking, ToolCall, Usage

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


class OpenAIProvider(SDKProvider[Answer]):
    """One instance per vendor name; what differs between them is asked by name in ``openai_request``."""

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
        completion = await client.chat.completions.create(**arguments(self.name, request))
        choice = (getattr(completion, "choices", None) or [None])[0]
        if choice is None:
            raise UnreadableAnswerError
        message = choice.message
        calls = [
            ToolCall(_id(call.id), _text(call.function.name), _text(call.function.arguments))
            for call in message.tool_calls or ()
            if call.type in ("function", None) and call.function is not None
        ]
        return call_result(
            text=message.content or message.refusal or "",
            finish_reason="content_filter" if message.refusal else FINISH_REASONS.get(choice.finish_reason, "other"),
            usage=read_usage(as_mapping(completion.usage), self.name),
            tool_calls=calls,
            request_id=completion._request_id or completion.id or "",
            thinking=[Thinking(text)] if (text := _thinking(message)) else [],
            model=completion.model,
        )

    def _new_answer(self, request: CallRequest) -> Answer:
        return Answer(self.name, request.max_tokens)

    async def _open(self, client: AsyncOpenAI, request: CallRequest, answer: Answer) -> AsyncIterator[Any]:
        stream = await client.chat.completions.create(
            **arguments(self.name, request), stream=True, stream_options={"include_usage": True}
        )
        answer.request_id = stream.response.headers.get("x-request-id", "")
        return aiter(stream)

    def _read(self, chunk: Any, answer: Answer) -> Iterable[StreamEvent]:
        answer.request_id = answer.request_id or chunk.id or ""
        answer.model = answer.model or chunk.model or ""
        for choice in chunk.choices or ():
            delta = choice.delta
            if delta is not None:
                yield from answer.think(thinking) if (thinking := _thinking(delta)) else ()
                yield from answer.text(delta.content)
                if delta.refusal:
                    yield from answer.text(delta.refusal)
                    answer.finish_reason = "content_filter"
                for fragment in delta.tool_calls or ():
                    function = fragment.function
                    yield from answer.call(
                        fragment.index,
                        id=fragment.id if isinstance(fragment.id, str) else "",
                        name=_text(function.name) if function else "",
                        arguments=_text(function.arguments) if function else "",
                    )
            if choice.finish_reason:
                answer.finish_reason = answer.finish_reason or FINISH_REASONS.get(choice.finish_reason, "other")
        if chunk.usage is not None:
            yield from answer.see_usage(read_usage(as_mapping(chunk.usage), self.name))

    async def count_tokens(self, request: CallRequest, credentials: Credentials) -> int | None:
        return None

    async def _model_ids(self, client: AsyncOpenAI) -> AsyncGenerator[object, None]:
        # Taken from the raw answer: some hosts send the list bare, which the SDK can't read. There is only one page.
        response = await client.models.with_raw_response.list()
        body = json.loads(response.content)
        models = body.get("data") if isinstance(body, dict) else body
        if not isinstance(models, list):
            raise UnreadableAnswerError
        for model in models:
            yield model.get("id") if isinstance(model, dict) else None

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


def _thinking(part: Any) -> str:
    """DeepSeek, Grok and Llama show their thinking, of a message or a piece of it, in fields of their own."""
    for name in ("reasoning_content", "reasoning"):
        text = getattr(part, name, None)
        if isinstance(text, str) and text:
            return text
    return ""


# the usage ----------------------------------------------------------------------------------------------------------


def _id(value: object) -> str:
    """A call's id; some hosts send none, or something else."""
    return value if isinstance(value, str) and value else local_id()


def _text(value: object) -> str:
    """What should be text; some hosts send arguments as the object that they stand for."""
    if value is None or isinstance(value, str):
        return value or ""
    return json.dumps(value, ensure_ascii=False)


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
