"""Anthropic's messages API."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from llm.providers.base import Answer, SDKProvider, Timeouts, as_mapping, call_result, json_object, token_count
from llm.providers.failures import STATUS_OF_TYPE, Refusal, UnreadableAnswerError, text_at
from llm.types import CallRequest, CallResult, ChatMessage, Credentials, StreamEvent, ToolCall, Usage

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
    """Content comes in blocks, told apart by their index; usage in two reports, the second adding to the first."""

    def __init__(self, provider: str, max_tokens: int) -> None:
        super().__init__(provider, max_tokens)
        self.calls: dict[int, dict[str, str]] = {}
        self.report: dict[str, Any] = {}

    def merge(self, report: Mapping[str, Any] | None) -> Usage | None:
        """Usage is cumulative: a figure that is reported again replaces the earlier one, it is not added to it."""
        if report is None:
            return read_usage(self.report)
        self.report.update({name: value for name, value in report.items() if value is not None})
        return read_usage(self.report)

    def result(self) -> CallResult:
        self.tool_calls = [
            ToolCall(call["id"], call["name"], call["arguments"] or "{}") for _, call in sorted(self.calls.items())
        ]
        return super().result()


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
        message = await client.messages.create(**_arguments(request))
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
        )

    def _new_answer(self, request: CallRequest) -> AnthropicAnswer:
        return AnthropicAnswer(self.name, request.max_tokens)

    async def _open(self, client: AsyncAnthropic, request: CallRequest, answer: AnthropicAnswer) -> AsyncIterator[Any]:
        stream = await client.messages.create(**_arguments(request), stream=True)
        answer.request_id = stream.response.headers.get("request-id", "")
        return aiter(stream)

    def _read(self, chunk: Any, answer: AnthropicAnswer) -> Iterable[StreamEvent]:
        match chunk.type:
            case "message_start":
                answer.request_id = answer.request_id or chunk.message.id or ""
                yield from answer.see_usage(answer.merge(as_mapping(chunk.message.usage)))
            case "content_block_start":
                block = chunk.content_block
                answer.has_begun = True
                if block.type == "tool_use":
                    answer.calls[chunk.index] = {"id": block.id, "name": block.name, "arguments": ""}
                elif block.type == "text":
                    yield from answer.text(block.text)
            case "content_block_delta":
                delta = chunk.delta
                answer.has_begun = True
                if delta.type == "text_delta":
                    yield from answer.text(delta.text)
                elif delta.type == "input_json_delta" and chunk.index in answer.calls:
                    answer.calls[chunk.index]["arguments"] += answer.take(delta.partial_json or "")
            case "message_delta":
                if chunk.delta.stop_reason:
                    answer.finish_reason = FINISH_REASONS.get(chunk.delta.stop_reason, "other")
                yield from answer.see_usage(answer.merge(as_mapping(chunk.usage)))

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


# the request --------------------------------------------------------------------------------------------------------


def _arguments(request: CallRequest) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "model": request.model,
        "max_tokens": request.max_tokens,
        "messages": _turns(request.messages),
    }
    if request.system:
        arguments["system"] = request.system
    if request.temperature is not None and not request.is_reasoning:
        # The SDK has dropped the parameter because the newer models refuse it; the older ones still take it.
        arguments["extra_body"] = {"temperature": request.temperature}
    if request.stop:
        arguments["stop_sequences"] = list(request.stop)
    if request.tools:
        arguments["tools"] = [
            {
                "name": tool["name"],
                **({"description": tool["description"]} if tool.get("description") else {}),
                "input_schema": tool.get("parameters") or {"type": "object", "properties": {}},
            }
            for tool in request.tools
        ]
        if request.tool_choice in ("auto", "none"):
            arguments["tool_choice"] = {"type": request.tool_choice}
        elif request.tool_choice == "required":
            arguments["tool_choice"] = {"type": "any"}
        elif request.tool_choice:
            arguments["tool_choice"] = {"type": "tool", "name": request.tool_choice}
    if request.response_schema is not None:
        arguments["output_config"] = {"format": {"type": "json_schema", "schema": request.response_schema}}
    return arguments


def _turns(messages: Iterable[ChatMessage]) -> list[dict[str, Any]]:
    """The conversation in turns that alternate, as the API wants them: tool results belong to a user's turn, and they
    come first in it. Empty texts are left out, for the API refuses them."""
    turns: list[dict[str, Any]] = []
    for message in messages:
        role = "assistant" if message.role == "assistant" else "user"
        blocks = _blocks(message)
        if not blocks:
            continue
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"].extend(blocks)
        else:
            turns.append({"role": role, "content": blocks})
    for turn in turns:
        turn["content"].sort(key=lambda block: block["type"] != "tool_result")
    return turns


def _blocks(message: ChatMessage) -> list[dict[str, Any]]:
    if message.role == "tool":
        return [{"type": "tool_result", "tool_use_id": message.tool_call_id, "content": message.content}]
    blocks: list[dict[str, Any]] = [
        {
            "type": "image",
            "source": {
                "type": "base64",
                "media_type": image.media_type,
                "data": base64.b64encode(image.data).decode(),
            },
        }
        for image in message.images
    ]
    if message.content:
        blocks.append({"type": "text", "text": message.content})
    for call in message.tool_calls:
        blocks.append({"type": "tool_use", "id": call.id, "name": call.name, "input": json_object(call.arguments)})
    return blocks


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
