"""Google's Gemini API."""

from __future__ import annotations

import base64
import binascii
import json
import uuid
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from llm.providers.base import Answer, SDKProvider, Timeouts, as_mapping, json_object, token_count
from llm.providers.failures import Refusal, UnreadableAnswerError
from llm.types import CallRequest, CallResult, ChatMessage, Credentials, StreamEvent, ToolCall, Usage

if TYPE_CHECKING:
    import httpx2
    from google import genai

FINISH_REASONS = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    "CONTINUATION": "length",
    "SAFETY": "content_filter",
    "RECITATION": "content_filter",
    "BLOCKLIST": "content_filter",
    "PROHIBITED_CONTENT": "content_filter",
    "SPII": "content_filter",
    "IMAGE_SAFETY": "content_filter",
    "IMAGE_PROHIBITED_CONTENT": "content_filter",
    "IMAGE_RECITATION": "content_filter",
    "MODEL_ARMOR": "content_filter",
}

LOCAL_ID = "call_local_"
"""Marks the ids we give to calls that Gemini left without one; they are not sent back to it."""


class GoogleProvider(SDKProvider[Answer]):
    sdk = "google.genai"
    default_base_url = "https://generativelanguage.googleapis.com"

    def __init__(self, name: str = "google", *, timeouts: Timeouts | None = None) -> None:
        super().__init__(name, timeouts=timeouts)

    def _build(self, http: httpx2.AsyncClient, credentials: Credentials, base_url: str) -> genai.Client:
        import httpx2
        from google import genai
        from google.genai import types

        from llm.providers.transport import tls

        options = types.HttpOptions(
            base_url=base_url,
            api_version="v1beta",
            retry_options=types.HttpRetryOptions(attempts=1),
            # The SDK wants a client for blocking calls as well; it is never used, and this one opens nothing.
            httpx_client=httpx2.Client(transport=httpx2.BaseTransport(), trust_env=False),
            httpx_async_client=http,
            async_client_args={"ssl": tls()},  # or the SDK reads the trust store once more, for websockets
        )
        # The key travels in the x-goog-api-key header. Without vertexai=False the environment could turn the call into
        # one to another service.
        return genai.Client(vertexai=False, api_key=credentials.api_key, http_options=options)

    async def _complete(self, client: genai.Client, request: CallRequest) -> CallResult:
        response = await client.aio.models.generate_content(**_arguments(request))
        answer = self._new_answer(request)
        for _ in self._read(response, answer):
            pass
        if not answer.finish_reason:
            raise UnreadableAnswerError
        return answer.result()

    def _new_answer(self, request: CallRequest) -> Answer:
        return Answer(self.name, request.max_tokens)

    async def _open(self, client: genai.Client, request: CallRequest, answer: Answer) -> AsyncIterator[Any]:
        return await client.aio.models.generate_content_stream(**_arguments(request))

    def _read(self, chunk: Any, answer: Answer) -> Iterable[StreamEvent]:
        answer.request_id = answer.request_id or chunk.response_id or ""
        feedback = chunk.prompt_feedback
        if feedback is not None and feedback.block_reason:
            answer.finish_reason = "content_filter"
        for candidate in (chunk.candidates or ())[:1]:
            for part in (candidate.content.parts if candidate.content else None) or ():
                if part.thought:
                    answer.has_begun = True
                elif part.function_call is not None:
                    call = part.function_call
                    arguments = answer.take(json.dumps(call.args or {}))
                    signature = base64.b64encode(part.thought_signature or b"").decode()
                    call_id = call.id or f"{LOCAL_ID}{uuid.uuid4().hex}"
                    answer.tool_calls.append(ToolCall(call_id, call.name or "", arguments, signature))
                else:
                    yield from answer.text(part.text)
            if candidate.finish_reason:
                answer.finish_reason = FINISH_REASONS.get(candidate.finish_reason.value, "other")
        if chunk.usage_metadata is not None:
            yield from answer.see_usage(read_usage(as_mapping(chunk.usage_metadata)))

    def _refusal(self, error: Exception) -> Refusal | None:
        from google.genai import errors

        if not isinstance(error, errors.APIError):
            return None
        body = error.details if isinstance(error.details, Mapping) else {}
        return Refusal(
            status=error.code if isinstance(error.code, int) else None,
            code=str(error.status or ""),
            message=f"{error.message} {json.dumps(body, default=str)}",
            headers=getattr(error.response, "headers", None) or {},
            retry_after=_retry_delay(body),
        )


def _retry_delay(body: Mapping[str, Any]) -> float | None:
    """Google says how long to wait in the body: ``{"@type": ".../google.rpc.RetryInfo", "retryDelay": "37s"}``."""
    error = body.get("error")
    details = error.get("details") if isinstance(error, Mapping) else None
    for detail in details if isinstance(details, list) else ():
        delay = detail.get("retryDelay") if isinstance(detail, Mapping) else None
        if isinstance(delay, str) and delay.endswith("s") and delay[:-1].replace(".", "", 1).isdecimal():
            return float(delay[:-1])
    return None


# the request --------------------------------------------------------------------------------------------------------


def _arguments(request: CallRequest) -> dict[str, Any]:
    from google.genai import types

    config: dict[str, Any] = {
        "max_output_tokens": request.max_tokens,
        # Both would make further calls behind our back, beyond the max_tokens that bounds the bill.
        "automatic_continuation": False,
        "automatic_function_calling": types.AutomaticFunctionCallingConfig(disable=True),
    }
    if request.system:
        config["system_instruction"] = request.system
    if request.temperature is not None:
        config["temperature"] = request.temperature
    if request.stop:
        config["stop_sequences"] = list(request.stop)
    if request.tools:
        declarations = [
            types.FunctionDeclaration(
                name=tool["name"],
                description=tool.get("description"),
                parameters_json_schema=tool.get("parameters") or {"type": "object", "properties": {}},
            )
            for tool in request.tools
        ]
        config["tools"] = [types.Tool(function_declarations=declarations)]
        if request.tool_choice:
            mode = {"auto": "AUTO", "none": "NONE"}.get(request.tool_choice, "ANY")
            names = None if request.tool_choice in ("auto", "none", "required") else [request.tool_choice]
            config["tool_config"] = types.ToolConfig(
                function_calling_config=types.FunctionCallingConfig(
                    mode=types.FunctionCallingConfigMode(mode), allowed_function_names=names
                )
            )
    if request.response_schema is not None:
        config["response_mime_type"] = "application/json"
        config["response_json_schema"] = request.response_schema
    return {
        "model": request.model,
        "contents": _contents(request.messages),
        "config": types.GenerateContentConfig(**config),
    }


def _contents(messages: Iterable[ChatMessage]) -> list[Any]:
    """The conversation; turns of one role are merged, since the results of parallel calls must come together."""
    from google.genai import types

    names: dict[str, str] = {}
    contents: list[types.Content] = []
    for message in messages:
        role = "model" if message.role == "assistant" else "user"
        parts: list[types.Part] = []
        for image in message.images:
            parts.append(types.Part(inline_data=types.Blob(mime_type=image.media_type, data=image.data)))
        if message.role == "tool":
            # A result is matched by the function's name, which only the call knows.
            parts.append(
                types.Part(
                    function_response=types.FunctionResponse(
                        id=_vendor_id(message.tool_call_id),
                        name=names.get(message.tool_call_id, message.tool_call_id),
                        response={"result": message.content},
                    )
                )
            )
        elif message.content:
            parts.append(types.Part(text=message.content))
        for call in message.tool_calls:
            names[call.id] = call.name
            function_call = types.FunctionCall(id=_vendor_id(call.id), name=call.name, args=json_object(call.arguments))
            parts.append(types.Part(function_call=function_call, thought_signature=_signature(call.signature)))
        if not parts:
            continue
        if contents and contents[-1].role == role:
            contents[-1].parts = [*(contents[-1].parts or []), *parts]
        else:
            contents.append(types.Content(role=role, parts=parts))
    return contents


def _vendor_id(call_id: str) -> str | None:
    return None if not call_id or call_id.startswith(LOCAL_ID) else call_id


def _signature(signature: str) -> bytes | None:
    try:
        return base64.b64decode(signature, validate=True) or None
    except binascii.Error:
        return None


# the usage ----------------------------------------------------------------------------------------------------------


def read_usage(report: Mapping[str, Any] | None) -> Usage | None:
    """Gemini's usage in disjoint buckets, or None where it is missing or cannot be true.

    ``prompt_token_count`` includes the cached tokens, ``candidates_token_count`` excludes the thoughts, and what tools
    fed back to the model (``tool_use_prompt_token_count``) is input on top of the prompt.
    """
    if report is None or report.get("prompt_token_count") is None:
        return None
    prompt = token_count(report, "prompt_token_count")
    cached = token_count(report, "cached_content_token_count")
    tool_use = token_count(report, "tool_use_prompt_token_count")
    candidates = token_count(report, "candidates_token_count")
    thoughts = token_count(report, "thoughts_token_count")
    if (
        prompt is None
        or cached is None
        or tool_use is None
        or candidates is None
        or thoughts is None
        or cached > prompt
    ):
        return None
    return Usage(input=prompt - cached + tool_use, cached_input=cached, output=candidates, reasoning=thoughts)
