"""Google's Gemini API."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from llm.providers.answer import Answer, local_id
from llm.providers.base import SDKProvider, Timeouts, as_mapping, token_count
from llm.providers.failures import Refusal, UnreadableAnswerError
from llm.providers.google_request import arguments, count_arguments
from llm.types import CallRequest, CallResult, Credentials, StreamEvent, Usage

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
        response = await client.aio.models.generate_content(**arguments(request))
        answer = self._new_answer(request)
        for _ in self._read(response, answer):
            pass
        if not answer.finish_reason:
            raise UnreadableAnswerError
        return answer.result()

    def _new_answer(self, request: CallRequest) -> Answer:
        return Answer(self.name, request.max_tokens)

    async def _open(self, client: genai.Client, request: CallRequest, answer: Answer) -> AsyncIterator[Any]:
        return await client.aio.models.generate_content_stream(**arguments(request))

    def _read(self, chunk: Any, answer: Answer) -> Iterable[StreamEvent]:
        answer.request_id = answer.request_id or chunk.response_id or ""
        answer.model = answer.model or chunk.model_version or ""
        feedback = chunk.prompt_feedback
        if feedback is not None and feedback.block_reason:
            answer.finish_reason = "content_filter"
        for candidate in (chunk.candidates or ())[:1]:
            for part in (candidate.content.parts if candidate.content else None) or ():
                if part.thought:
                    yield from answer.think(part.text)
                elif part.function_call is not None:
                    call = part.function_call
                    yield from answer.call(
                        id=call.id or local_id(),
                        name=call.name or "",
                        arguments=json.dumps(call.args or {}),
                        signature=base64.b64encode(part.thought_signature or b"").decode(),
                    )
                else:
                    yield from answer.text(part.text)
            if candidate.finish_reason:
                answer.finish_reason = FINISH_REASONS.get(candidate.finish_reason.value, "other")
        if chunk.usage_metadata is not None:
            yield from answer.see_usage(read_usage(as_mapping(chunk.usage_metadata)))

    async def _count(self, client: genai.Client, request: CallRequest) -> object:
        return (await client.aio.models.count_tokens(**count_arguments(request))).total_tokens

    async def _model_ids(self, client: genai.Client) -> AsyncGenerator[object, None]:
        async for model in await client.aio.models.list(config={"page_size": 1000}):
            yield (model.name or "").removeprefix("models/")

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
            seconds = float(delay[:-1])
            return seconds if math.isfinite(seconds) else None
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
