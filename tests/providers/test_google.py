"""The Gemini adapter over real HTTP with the real SDK."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from llm.errors import (
    ContextLengthExceeded,
    ProviderAuthenticationError,
    ProviderError,
    ProviderModelNotFound,
    ProviderPermissionError,
    ProviderRateLimited,
    ProviderRequestRefused,
    ProviderUnavailable,
)
from llm.providers.google import _retry_delay
from llm.types import CallResult, ChatMessage, Image, TextDelta, ToolCall, ToolCallDelta, Usage, UsageSeen
from tests.providers.calling import KEY, complete, request, stream
from tests.providers.standins import StandIn, answer, refusal

WEATHER = {
    "name": "weather",
    "description": "The weather in a city",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
}
SIGNATURE = base64.b64encode(b"thought").decode()
CALL = {"id": "fc-1", "name": "weather", "arguments": '{"city": "Oslo"}', "signature": SIGNATURE}


def test_plain_answer(provider: StandIn) -> None:
    provider.answer(text="Good day.", usage={"input": 7, "output": 3})
    assert complete(provider, "google") == CallResult("Good day.", "stop", Usage(input=7, output=3), (), "resp-1", 200)
    sent = provider.requests[0]
    assert sent.path == "/v1beta/models/model-1:generateContent"
    assert sent.headers["x-goog-api-key"] == KEY
    assert sent.headers["accept-encoding"] == "identity"


def test_streamed_answer(provider: StandIn) -> None:
    provider.answer(chunks=["Go", "od ", "day."], usage={"input": 7, "output": 3})
    assert stream(provider, "google").events == [
        TextDelta("Go"),
        TextDelta("od "),
        TextDelta("day."),
        CallResult("Good day.", "stop", Usage(input=7, output=3), (), "resp-1", 200),
    ]


def test_the_key_is_never_part_of_the_address(provider: StandIn) -> None:
    stream(provider, "google")
    sent = provider.requests[0]
    assert sent.path == "/v1beta/models/model-1:streamGenerateContent?alt=sse"
    assert sent.key == KEY


def test_request(provider: StandIn) -> None:
    complete(provider, "google", request(system="Be brief.", temperature=0.3, stop=("END",)))
    assert provider.requests[0].body == {
        "contents": [{"role": "user", "parts": [{"text": "Hi"}]}],
        "systemInstruction": {"role": "user", "parts": [{"text": "Be brief."}]},
        "generationConfig": {"maxOutputTokens": 100, "temperature": 0.3, "stopSequences": ["END"]},
    }


def test_cached_and_thinking_tokens(provider: StandIn) -> None:
    provider.answer(usage={"input": 1000, "cached_input": 3000, "output": 120, "reasoning": 900}, reasoning_text="Hm.")
    expected = Usage(input=1000, cached_input=3000, output=120, reasoning=900)
    plain = complete(provider, "google")
    assert (plain.usage, plain.text) == (expected, "Hello from the stand-in.")
    streamed = stream(provider, "google")
    assert streamed.result.usage == expected
    assert streamed.texts == ["Hello", " from", " the", " stand-in."]


def test_usage_counts_along_and_the_last_report_wins(provider: StandIn) -> None:
    provider.answer(usage_times=2, usage={"input": 10, "output": 5})
    streamed = stream(provider, "google")
    assert streamed.seen == [UsageSeen(Usage(input=10))]
    assert streamed.result.usage == Usage(input=10, output=5)


def test_usage_that_never_comes(provider: StandIn) -> None:
    provider.answer(usage_times=0)
    assert complete(provider, "google").usage is None
    assert stream(provider, "google").result.usage is None


@pytest.mark.parametrize("wrong", [-5, 10**12])
def test_absurd_usage_counts_as_not_reported(provider: StandIn, wrong: int) -> None:
    provider.answer(raw_usage={"promptTokenCount": 3, "candidatesTokenCount": wrong})
    assert complete(provider, "google").usage is None
    assert stream(provider, "google").result.usage is None


def test_tool_call_round_trip_keeps_the_thought_signature(provider: StandIn) -> None:
    provider.answer(text="", tool_calls=[CALL, {**CALL, "id": "fc-2", "signature": ""}])
    expected = (
        ToolCall("fc-1", "weather", '{"city": "Oslo"}', SIGNATURE),
        ToolCall("fc-2", "weather", '{"city": "Oslo"}'),
    )
    plain = complete(provider, "google", request(tools=(WEATHER,)))
    assert (plain.finish_reason, plain.tool_calls) == ("tool_calls", expected)
    streamed = stream(provider, "google", request(tools=(WEATHER,)))
    assert streamed.result.tool_calls == expected
    pieces = [event for event in streamed.events if isinstance(event, ToolCallDelta)]
    assert [(piece.index, piece.signature) for piece in pieces] == [(0, SIGNATURE), (1, "")]
    assert provider.requests[0].body["tools"] == [
        {
            "functionDeclarations": [
                {
                    "name": "weather",
                    "description": "The weather in a city",
                    "parameters_json_schema": WEATHER["parameters"],
                }
            ]
        }
    ]

    turns = (
        ChatMessage("user", "Weather?"),
        ChatMessage("assistant", "", tool_calls=expected),
        ChatMessage("tool", "rain", tool_call_id="fc-1"),
        ChatMessage("tool", "sun", tool_call_id="fc-2"),
    )
    complete(provider, "google", request(messages=turns, tools=(WEATHER,)))
    call = {"name": "weather", "args": {"city": "Oslo"}}
    assert provider.requests[-1].body["contents"] == [
        {"role": "user", "parts": [{"text": "Weather?"}]},
        {
            "role": "model",
            "parts": [
                {"functionCall": {"id": "fc-1", **call}, "thoughtSignature": SIGNATURE},
                {"functionCall": {"id": "fc-2", **call}},
            ],
        },
        {
            "role": "user",
            "parts": [
                {"functionResponse": {"id": "fc-1", "name": "weather", "response": {"result": "rain"}}},
                {"functionResponse": {"id": "fc-2", "name": "weather", "response": {"result": "sun"}}},
            ],
        },
    ]


def test_calls_without_an_id_get_one_that_is_not_sent_back(provider: StandIn) -> None:
    provider.script(answer(text="", tool_calls=[{**CALL, "id": ""}, {**CALL, "id": ""}]))
    calls = complete(provider, "google", request(tools=(WEATHER,))).tool_calls
    assert len({call.id for call in calls}) == 2
    turns = (
        ChatMessage("user", "Weather?"),
        ChatMessage("assistant", "", tool_calls=calls[:1]),
        ChatMessage("tool", "rain", tool_call_id=calls[0].id),
    )
    complete(provider, "google", request(messages=turns, tools=(WEATHER,)))
    contents = provider.requests[-1].body["contents"]
    assert "id" not in contents[1]["parts"][0]["functionCall"]
    assert contents[2]["parts"][0]["functionResponse"] == {"name": "weather", "response": {"result": "rain"}}


@pytest.mark.parametrize(
    ("choice", "sent"),
    [
        ("auto", {"mode": "AUTO"}),
        ("none", {"mode": "NONE"}),
        ("required", {"mode": "ANY"}),
        ("weather", {"mode": "ANY", "allowedFunctionNames": ["weather"]}),
    ],
)
def test_tool_choice(provider: StandIn, choice: str, sent: dict[str, Any]) -> None:
    complete(provider, "google", request(tools=(WEATHER,), tool_choice=choice))
    assert provider.requests[0].body["toolConfig"] == {"functionCallingConfig": sent}


def test_images_travel_as_bytes(provider: StandIn) -> None:
    image = Image("image/png", b"\x89PNG-bytes", 2, 2)
    complete(provider, "google", request(messages=(ChatMessage("user", "What?", images=(image,)),)))
    data = base64.b64encode(b"\x89PNG-bytes").decode()
    parts = provider.requests[0].body["contents"][0]["parts"]
    # The SDK leaves some inner names in snake case; the API takes both.
    assert parts == [{"inlineData": {"data": data, "mime_type": "image/png"}}, {"text": "What?"}]


def test_structured_output(provider: StandIn) -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}}}
    provider.answer(text='{"city": "Oslo"}')
    assert complete(provider, "google", request(response_schema=schema)).text == '{"city": "Oslo"}'
    config = provider.requests[0].body["generationConfig"]
    assert config["responseMimeType"] == "application/json"
    assert config["responseJsonSchema"] == schema


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ("STOP", "stop"),
        ("MAX_TOKENS", "length"),
        ("SAFETY", "content_filter"),
        ("RECITATION", "content_filter"),
        ("LANGUAGE", "other"),
        ("SOMETHING_NEW", "other"),
    ],
)
@pytest.mark.filterwarnings("ignore:SOMETHING_NEW")
def test_finish_reasons(provider: StandIn, sent: str, expected: str) -> None:
    provider.answer(finish_reason=sent)
    assert complete(provider, "google").finish_reason == expected
    assert stream(provider, "google").result.finish_reason == expected


def test_blocked_prompt(provider: StandIn) -> None:
    provider.answer(finish_reason="prompt_blocked", usage={"input": 8, "output": 0})
    expected = CallResult("", "content_filter", Usage(input=8), (), "resp-1", 200)
    assert complete(provider, "google") == expected
    assert stream(provider, "google").result == expected


@pytest.mark.parametrize(
    ("status", "code", "message", "expected"),
    [
        (
            400,
            "INVALID_ARGUMENT",
            "The input token count (1200000) exceeds the maximum number of tokens allowed (1048575).",
            ContextLengthExceeded,
        ),
        (400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key.", ProviderAuthenticationError),
        (400, "INVALID_ARGUMENT", "Unknown field", ProviderRequestRefused),
        (403, "PERMISSION_DENIED", "No", ProviderPermissionError),
        (404, "NOT_FOUND", "No such model", ProviderModelNotFound),
        (429, "RESOURCE_EXHAUSTED", "Quota", ProviderRateLimited),
        (500, "INTERNAL", "Oops", ProviderUnavailable),
        (503, "UNAVAILABLE", "Overloaded", ProviderUnavailable),
    ],
)
def test_refusals(provider: StandIn, status: int, code: str, message: str, expected: type[ProviderError]) -> None:
    provider.always(refusal(status, vendor="google", code=code, message=message))
    with pytest.raises(expected) as caught:
        complete(provider, "google")
    assert type(caught.value) is expected
    assert caught.value.status_code == status
    assert type(stream(provider, "google").error) is expected


def test_the_time_to_wait_is_read_from_the_body(provider: StandIn) -> None:
    retry = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "37s"}
    error = {"error": {"code": 429, "message": "Quota", "status": "RESOURCE_EXHAUSTED", "details": [retry]}}
    provider.always(answer(status=429, error=error))
    with pytest.raises(ProviderRateLimited) as caught:
        complete(provider, "google")
    assert caught.value.retry_after == 37.0


def test_the_environment_changes_nothing(provider: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_GENAI_USE_VERTEXAI", "true")
    monkeypatch.setenv("GOOGLE_API_KEY", "operator-key")
    monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "operator-project")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert complete(provider, "google").finish_reason == "stop"
    assert provider.requests[0].key == KEY
    assert provider.requests[0].path == "/v1beta/models/model-1:generateContent"


@pytest.mark.parametrize(("delay", "seconds"), [("37s", 37.0), ("0.5s", 0.5), ("9" * 400 + "s", None), ("soon", None)])
def test_how_long_to_wait_as_google_says_it(delay: str, seconds: float | None) -> None:
    assert _retry_delay({"error": {"details": [{"retryDelay": delay}]}}) == seconds
