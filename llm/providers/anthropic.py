"""Anthropic's messages API."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from llm.providers.answer import Answer, call_result
from llm.providers.anthropic_request import arguments, prompt
from llm.providers.base import SDKProvider, Timeouts, as_mapping, token_count
from llm.providers.failures import STATUS_OF_TYPE, Refusal, UnreadableAnswerError, text_at
from llm.types import CallRequest, CallResult, Credentials, StreamEvent, Thinking, ToolCall, Usage

if TYPE_CHECKING:
    import httpx2
    from anthropic import AsyncAnthropic

FINISH_REASONS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}


class AnthropicAnswer(Answer):
    """Usage comes in two reports, the second adding to the first."""

    def __init__(self, provider: str, max_tokens: int) -> None:
        super().__init__(provider, max_tokens)
        self.report: dict[str, Any] = {}

    def merge(self, report: Mapping[str, Any] | None) -> Usage | None:
        """Usage is cumulative: a figure that is reported again replaces the earlier one, it is not added to it."""
        if report is None:
            return read_usage(self.report)
        self.report.update({name: value for name, value in report.items() if value is not None})
        return read_usage(self.report)


class AnthropicProvider(SDKProvider[AnthropicAnswer]):
    sdk = "anthropic"
    default_base_url = "https://api.anthropic.com"

    def __init__(self, name: str = "anthropic", *, timeouts: Timeouts | None = None) -> None:
        super().__init__(name, timeouts=timeouts)

    def _build(self, http: httpx2.AsyncClient, credentials: Credentials, base_url: str) -> AsyncAnthropic:
        import anthropic

        return anthropic.AsyncAnthropic(
            api_key=credentials.api_key,
            base_url=base_url,
            max_retries=0,
            timeout=None,
            http_client=http,
            open_telemetry=False,
        )

    async def _complete(self, client: AsyncAnthropic, request: CallRequest) -> CallResult:
        message = await client.messages.create(**arguments(request))
        blocks = getattr(message, "content", None)
        if blocks is None:
            raise UnreadableAnswerError
        return call_result(
            text="".join(block.text for block in blocks if block.type == "text"),
            finish_reason=FINISH_REASONS.get(message.stop_reason or "", "other"),
            usage=read_usage(as_mapping(message.usage)),
            tool_calls=[
                ToolCall(block.id, block.name, json.dumps(block.input)) for block in blocks if block.type == "tool_use"
            ],
            request_id=message._request_id or message.id or "",
            thinking=[block for block in map(_thinking, blocks) if block],
            stop_sequence=message.stop_sequence or "",
            model=message.model,
        )

    def _new_answer(self, request: CallRequest) -> AnthropicAnswer:
        return AnthropicAnswer(self.name, request.max_tokens)

    async def _open(self, client: AsyncAnthropic, request: CallRequest, answer: AnthropicAnswer) -> AsyncIterator[Any]:
        stream = await client.messages.create(**arguments(request), stream=True)
        answer.request_id = stream.response.headers.get("request-id", "")
        return aiter(stream)

    def _read(self, chunk: Any, answer: AnthropicAnswer) -> Iterable[StreamEvent]:
        match chunk.type:
            case "message_start":
                answer.request_id = answer.request_id or chunk.message.id or ""
                answer.model = chunk.message.model or ""
                yield from answer.see_usage(answer.merge(as_mapping(chunk.message.usage)))
            case "content_block_start":
                block = chunk.content_block
                answer.has_begun = True
                answer.end_thinking()
                if block.type == "tool_use":
                    yield from answer.call(chunk.index, id=block.id, name=block.name)
                elif block.type == "text":
                    yield from answer.text(block.text)
                elif thinking := _thinking(block):
                    yield from answer.think(thinking.text, signature=thinking.signature, redacted=thinking.redacted)
            case "content_block_delta":
                delta = chunk.delta
                answer.has_begun = True
                if delta.type == "text_delta":
                    yield from answer.text(delta.text)
                elif delta.type == "thinking_delta":
                    yield from answer.think(delta.thinking)
                elif delta.type == "signature_delta":
                    yield from answer.think("", signature=delta.signature or "")
                elif delta.type == "input_json_delta" and answer.is_calling(chunk.index):
                    yield from answer.call(chunk.index, arguments=delta.partial_json or "")
            case "content_block_stop":
                yield from answer.end_call(chunk.index)
            case "message_delta":
                if chunk.delta.stop_reason:
                    answer.finish_reason = FINISH_REASONS.get(chunk.delta.stop_reason, "other")
                    answer.stop_sequence = chunk.delta.stop_sequence or ""
                yield from answer.see_usage(answer.merge(as_mapping(chunk.usage)))

    async def _count(self, client: AsyncAnthropic, request: CallRequest) -> object:
        return (await client.messages.count_tokens(**prompt(request))).input_tokens

    async def _model_ids(self, client: AsyncAnthropic) -> AsyncGenerator[object, None]:
        async for model in client.models.list(limit=1000):
            yield model.id

    def _refusal(self, error: Exception) -> Refusal | None:
        import anthropic

        if not isinstance(error, anthropic.APIStatusError):
            return None
        kind = text_at(error.body, "error", "type")
        # In the middle of a stream the HTTP status is 200 and only the type tells.
        status = error.status_code if error.status_code >= 300 else STATUS_OF_TYPE.get(kind)
        return Refusal(
            status=status,
            code=kind,
            message=text_at(error.body, "error", "message") or str(error.body),
            headers=error.response.headers,
            request_id=error.request_id or "",
        )


def _thinking(block: Any) -> Thinking | None:
    """A block of thinking that says something; hosts that only resemble the vendor leave fields out."""
    match block.type:
        case "thinking":
            thinking = Thinking(getattr(block, "thinking", None) or "", getattr(block, "signature", None) or "")
        case "redacted_thinking":
            thinking = Thinking("", redacted=getattr(block, "data", None) or "")
        case _:
            return None
    return thinking if thinking != Thinking("") else None


# the usage ----------------------------------------------------------------------------------------------------------


def read_usage(report: Mapping[str, Any] | None) -> Usage | None:
    """A message's usage in disjoint buckets, or None where it is missing or cannot be true.

    ``input_tokens`` excludes what was read from and written to the cache; ``output_tokens`` includes the thinking. The
    written tokens are broken down by lifetime in ``cache_creation`` where the vendor does so; the rest is the default
    lifetime of five minutes.
    """
    if report is None or report.get("input_tokens") is None or report.get("output_tokens") is None:
        return None
    fresh = token_count(report, "input_tokens")
    output = token_count(report, "output_tokens")
    read = token_count(report, "cache_read_input_tokens")
    written = token_count(report, "cache_creation_input_tokens")
    written_5m = token_count(report, "cache_creation", "ephemeral_5m_input_tokens")
    written_1h = token_count(report, "cache_creation", "ephemeral_1h_input_tokens")
    thinking = token_count(report, "output_tokens_details", "thinking_tokens")
    if (
        fresh is None
        or output is None
        or read is None
        or written is None
        or written_5m is None
        or written_1h is None
        or thinking is None
        or thinking > output
    ):
        return None
    return Usage(
        input=fresh,
        cached_input=read,
        cache_write_5m=max(written_5m, written - written_1h),
        cache_write_1h=written_1h,
        output=output - thinking,
        reasoning=thinking,
    )
