"""The OpenAI adapter, and the vendors that speak its protocol, over real HTTP with the real SDK."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from llm.errors import (
    ContextLengthExceeded,
    ProviderModelNotFound,
    ProviderPermissionError,
    ProviderQuotaExhausted,
    ProviderRateLimited,
    ProviderRequestRefused,
)
from llm.providers.openai_request import is_closed
from llm.types import CallResult, ChatMessage, Image, TextDelta, ToolCall, Usage
from tests.providers.calling import KEY, complete, request, stream
from tests.providers.standins import StandIn, refusal

COMPATIBLE = ("openai", "grok", "deepseek", "llama")
WEATHER = {
    "name": "weather",
    "description": "The weather in a city",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
CALL = {"id": "call_1", "name": "weather", "arguments": '{"city": "Łódź"}'}


@pytest.mark.parametrize("name", COMPATIBLE)
def test_plain_answer(provider: StandIn, name: str) -> None:
    provider.answer(text="Good day.", usage={"input": 7, "output": 3})
    assert complete(provider, name) == CallResult("Good day.", "stop", Usage(input=7, output=3), (), "req-1", 200)
    assert provider.requests[0].path == "/v1/chat/completions"
    assert provider.requests[0].headers["authorization"] == f"Bearer {KEY}"
    assert provider.requests[0].headers["accept-encoding"] == "identity"


@pytest.mark.parametrize("name", COMPATIBLE)
def test_streamed_answer(provider: StandIn, name: str) -> None:
    provider.answer(chunks=["Go", "od ", "day."], usage={"input": 7, "output": 3})
    assert stream(provider, name).events == [
        TextDelta("Go"),
        TextDelta("od "),
        TextDelta("day."),
        CallResult("Good day.", "stop", Usage(input=7, output=3), (), "req-1", 200),
    ]
    assert provider.requests[0].body["stream_options"] == {"include_usage": True}


def test_request_to_openai(provider: StandIn) -> None:
    complete(provider, "openai", request(system="Be brief.", temperature=0.3, stop=("END",)))
    assert provider.requests[0].body == {
        "model": "model-1",
        "max_completion_tokens": 100,
        "temperature": 0.3,
        "stop": ["END"],
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}],
    }


@pytest.mark.parametrize("name", ["grok", "deepseek", "llama"])
def test_other_vendors_get_max_tokens(provider: StandIn, name: str) -> None:
    complete(provider, name, request(temperature=0.3, is_reasoning=True))
    body = provider.requests[0].body
    assert body["max_tokens"] == 100
    assert "max_completion_tokens" not in body
    assert body["temperature"] == 0.3


def test_reasoning_models_of_openai_get_no_temperature(provider: StandIn) -> None:
    complete(provider, "openai", request(temperature=0.3, is_reasoning=True))
    assert "temperature" not in provider.requests[0].body


def test_cached_and_reasoning_tokens(provider: StandIn) -> None:
    usage = {"input": 86, "cached_input": 1920, "cache_write_5m": 40, "output": 108, "reasoning": 192}
    provider.answer(usage=usage)
    expected = Usage(input=86, cached_input=1920, cache_write_5m=40, output=108, reasoning=192)
    assert complete(provider, "openai").usage == expected
    assert stream(provider, "openai").result.usage == expected


def test_grok_reports_reasoning_on_top(provider: StandIn) -> None:
    report = {
        "prompt_tokens": 32,
        "completion_tokens": 9,
        "total_tokens": 135,
        "completion_tokens_details": {"reasoning_tokens": 94},
    }
    provider.answer(raw_usage=report)
    assert complete(provider, "grok").usage == Usage(input=32, output=9, reasoning=94)
    assert stream(provider, "grok").result.usage == Usage(input=32, output=9, reasoning=94)


def test_deepseek_reports_cache_hits_in_its_own_fields(provider: StandIn) -> None:
    report = {
        "prompt_tokens": 64,
        "completion_tokens": 5,
        "total_tokens": 69,
        "prompt_cache_hit_tokens": 60,
        "prompt_cache_miss_tokens": 4,
    }
    provider.answer(raw_usage=report)
    assert complete(provider, "deepseek").usage == Usage(input=4, cached_input=60, output=5)
    assert stream(provider, "deepseek").result.usage == Usage(input=4, cached_input=60, output=5)


def test_thinking_is_not_part_of_the_text(provider: StandIn) -> None:
    provider.answer(text="42", reasoning_text="Let me see")
    assert complete(provider, "deepseek").text == "42"
    assert stream(provider, "deepseek").texts == ["42"]


def test_usage_that_never_comes(provider: StandIn) -> None:
    provider.answer(usage_times=0)
    assert complete(provider, "openai").usage is None
    assert stream(provider, "openai").result == CallResult("Hello from the stand-in.", "stop", None, (), "req-1", 200)


def test_usage_that_comes_twice_counts_once_as_last_said(provider: StandIn) -> None:
    provider.answer(usage_times=2, usage={"input": 10, "output": 5})
    streamed = stream(provider, "openai")
    assert streamed.result.usage == Usage(input=10, output=5)
    assert streamed.seen == []


@pytest.mark.parametrize("wrong", [-5, 10**12, "many", 1.5])
def test_absurd_usage_counts_as_not_reported(provider: StandIn, wrong: Any) -> None:
    provider.answer(raw_usage={"prompt_tokens": 3, "completion_tokens": wrong, "total_tokens": 9})
    assert complete(provider, "openai").usage is None
    assert stream(provider, "openai").result.usage is None


def test_tool_call_round_trip(provider: StandIn) -> None:
    provider.answer(text="", tool_calls=[CALL, {**CALL, "id": "call_2"}], finish_reason="tool_calls")
    expected = (ToolCall("call_1", "weather", '{"city": "Łódź"}'), ToolCall("call_2", "weather", '{"city": "Łódź"}'))
    plain = complete(provider, "openai", request(tools=(WEATHER,)))
    assert (plain.text, plain.finish_reason, plain.tool_calls) == ("", "tool_calls", expected)
    assert stream(provider, "openai", request(tools=(WEATHER,))).result.tool_calls == expected
    assert provider.requests[0].body["tools"] == [{"type": "function", "function": WEATHER}]

    provider.answer(text="Rain.")
    turns = (
        ChatMessage("user", "Weather?"),
        ChatMessage("assistant", "", tool_calls=expected[:1]),
        ChatMessage("tool", "rain", tool_call_id="call_1"),
    )
    complete(provider, "openai", request(messages=turns, tools=(WEATHER,)))
    assert provider.requests[-1].body["messages"] == [
        {"role": "user", "content": "Weather?"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Łódź"}'}}
            ],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": "rain"},
    ]


def test_forced_tool_finishes_as_tool_calls(provider: StandIn) -> None:
    """OpenAI says ``stop`` when one function was forced."""
    provider.answer(text="", tool_calls=[CALL], finish_reason="stop")
    assert complete(provider, "openai", request(tools=(WEATHER,), tool_choice="weather")).finish_reason == "tool_calls"
    choice = provider.requests[0].body["tool_choice"]
    assert choice == {"type": "function", "function": {"name": "weather"}}


@pytest.mark.parametrize("choice", ["auto", "none", "required"])
def test_tool_choice(provider: StandIn, choice: str) -> None:
    complete(provider, "openai", request(tools=(WEATHER,), tool_choice=choice))
    assert provider.requests[0].body["tool_choice"] == choice


def test_images_travel_as_bytes_not_as_links(provider: StandIn) -> None:
    image = Image("image/png", b"\x89PNG-bytes", 2, 2)
    complete(provider, "openai", request(messages=(ChatMessage("user", "What is it?", images=(image,)),)))
    assert provider.requests[0].body["messages"] == [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What is it?"},
                {
                    "type": "image_url",
                    "image_url": {"url": "data:image/png;base64," + base64.b64encode(b"\x89PNG-bytes").decode()},
                },
            ],
        }
    ]


def test_structured_output(provider: StandIn) -> None:
    schema = {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    }
    complete(provider, "openai", request(response_schema=schema))
    assert provider.requests[0].body["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "answer", "schema": schema, "strict": True},
    }


def test_structured_output_at_deepseek_goes_into_the_prompt(provider: StandIn) -> None:
    complete(provider, "deepseek", request(system="Be brief.", response_schema={"type": "object"}))
    body = provider.requests[0].body
    assert body["response_format"] == {"type": "json_object"}
    assert body["messages"][0] == {
        "role": "system",
        "content": 'Be brief.\n\nAnswer with JSON that satisfies this JSON schema:\n{"type": "object"}',
    }


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": "string"}, True),
        ({"type": "object", "properties": {}, "additionalProperties": False}, True),
        ({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}, False),
        ({"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": False}, False),
        ({"type": "array", "items": {"type": "object"}}, False),
        ({"anyOf": [{"type": "string"}, {"type": "object"}]}, False),
    ],
)
def test_strict_only_where_the_schema_allows_it(schema: dict[str, Any], expected: bool) -> None:
    assert is_closed(schema) is expected


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ("stop", "stop"),
        ("length", "length"),
        ("content_filter", "content_filter"),
        ("insufficient_system_resource", "other"),
    ],
)
def test_finish_reasons(provider: StandIn, sent: str, expected: str) -> None:
    provider.answer(finish_reason=sent)
    assert complete(provider, "openai").finish_reason == expected
    assert stream(provider, "openai").result.finish_reason == expected


@pytest.mark.parametrize(
    ("behaviour", "expected"),
    [
        (refusal(400, code="context_length_exceeded", message="This model's limit is 8 tokens"), ContextLengthExceeded),
        (refusal(400, message="This model's maximum context length is 131072 tokens"), ContextLengthExceeded),
        (refusal(400, code="invalid_request_error", message="Unknown parameter"), ProviderRequestRefused),
        (refusal(403, code="unsupported_country"), ProviderPermissionError),
        (refusal(404, code="model_not_found"), ProviderModelNotFound),
        (refusal(429, code="rate_limit_exceeded"), ProviderRateLimited),
        (refusal(429, code="insufficient_quota"), ProviderQuotaExhausted),
        (refusal(402, message="Insufficient Balance"), ProviderQuotaExhausted),
    ],
)
def test_refusals(provider: StandIn, behaviour: Any, expected: type[Exception]) -> None:
    provider.always(behaviour)
    with pytest.raises(expected) as caught:
        complete(provider, "openai")
    assert type(caught.value) is expected
    assert type(stream(provider, "openai").error) is expected


def test_the_environment_adds_nothing(provider: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the operator's organisation nor a proxy may travel with a customer's own key."""
    monkeypatch.setenv("OPENAI_ORG_ID", "org-operator")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "proj-operator")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/elsewhere")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    complete(provider, "grok")
    headers = provider.requests[0].headers
    assert "openai-organization" not in headers
    assert "openai-project" not in headers


@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "streamed"])
def test_tool_calls_of_hosts_that_only_resemble_openai(provider: StandIn, streamed: bool) -> None:
    """No id, no arguments, or arguments as the object that they stand for: still calls, and never an exception."""
    odd = [
        {"id": None, "name": "weather", "arguments": None, "pieces": [None]},
        {"id": {"n": 1}, "name": "weather", "arguments": {"city": "Łódź"}, "pieces": [{"city": "Łódź"}]},
        {"id": "same", "name": "weather", "arguments": "{}"},
        {"id": "same", "name": "weather", "arguments": "{}"},
    ]
    provider.answer("", tool_calls=odd, finish_reason="tool_calls")
    result = stream(provider, "llama").result if streamed else complete(provider, "llama")
    first, second, third, fourth = result.tool_calls
    assert len({call.id for call in result.tool_calls}) == 4  # results are told apart by it
    assert (third.id, fourth.id[:11]) == ("same", "call_local_")
    assert (first.name, first.arguments) == ("weather", "")
    assert (second.name, second.arguments) == ("weather", '{"city": "Łódź"}')
    assert first.id.startswith("call_local_")
    assert first.id != second.id
