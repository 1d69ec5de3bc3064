"""The Anthropic adapter over real HTTP with the real SDK."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from llm.errors import (
    ContextLengthExceeded,
    ProviderError,
    ProviderModelNotFound,
    ProviderQuotaExhausted,
    ProviderRateLimited,
    ProviderRequestRefused,
    ProviderUnavailable,
)
from llm.types import CallResult, ChatMessage, Image, TextDelta, ToolCall, Usage, UsageSeen
from tests.providers.calling import KEY, complete, request, stream
from tests.providers.standins import StandIn, fault, refusal
from tests.providers.wire import error_body

WEATHER = {
    "name": "weather",
    "description": "The weather in a city",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
}
CALL = {"id": "toolu_1", "name": "weather", "arguments": '{"city": "Oslo"}'}


def test_plain_answer(provider: StandIn) -> None:
    provider.answer(text="Good day.", usage={"input": 7, "output": 3})
    assert complete(provider, "anthropic") == CallResult(
        "Good day.", "stop", Usage(input=7, output=3), (), "req-1", 200
    )
    assert provider.requests[0].path == "/v1/messages"
    assert provider.requests[0].key == KEY
    assert provider.requests[0].headers["accept-encoding"] == "identity"


def test_streamed_answer(provider: StandIn) -> None:
    provider.answer(chunks=["Go", "od ", "day."], usage={"input": 7, "output": 3})
    assert stream(provider, "anthropic").events == [
        UsageSeen(Usage(input=7, output=1)),
        TextDelta("Go"),
        TextDelta("od "),
        TextDelta("day."),
        CallResult("Good day.", "stop", Usage(input=7, output=3), (), "req-1", 200),
    ]


def test_request(provider: StandIn) -> None:
    complete(provider, "anthropic", request(system="Be brief.", temperature=0.3, stop=("END",)))
    assert provider.requests[0].body == {
        "model": "model-1",
        "max_tokens": 100,
        "system": "Be brief.",
        "temperature": 0.3,
        "stop_sequences": ["END"],
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}],
    }


def test_models_that_think_get_no_temperature(provider: StandIn) -> None:
    complete(provider, "anthropic", request(temperature=0.3, is_reasoning=True))
    assert "temperature" not in provider.requests[0].body


def test_a_long_answer_needs_no_stream(provider: StandIn) -> None:
    """The SDK refuses plain calls that it thinks may take ten minutes; our own deadline decides instead."""
    assert complete(provider, "anthropic", request(max_tokens=128_000)).finish_reason == "stop"


def test_cache_and_thinking_tokens(provider: StandIn) -> None:
    usage = {
        "input": 20,
        "cached_input": 1800,
        "cache_write_5m": 148,
        "cache_write_1h": 100,
        "output": 103,
        "reasoning": 400,
    }
    provider.answer(usage=usage, reasoning_text="Hm.")
    expected = Usage(20, 1800, 148, 100, 103, 400)
    assert complete(provider, "anthropic").usage == expected
    streamed = stream(provider, "anthropic")
    assert streamed.result.usage == expected
    assert streamed.texts == ["Hello", " from", " the", " stand-in."]
    assert streamed.seen == [UsageSeen(Usage(20, 1800, 148, 100, 1, 0))]


def test_cumulative_usage_is_not_added_up(provider: StandIn) -> None:
    provider.answer(usage_times=2, usage={"input": 10, "output": 5})
    streamed = stream(provider, "anthropic")
    assert streamed.seen == [UsageSeen(Usage(input=10, output=1)), UsageSeen(Usage(input=10, output=2))]
    assert streamed.result.usage == Usage(input=10, output=5)


def test_usage_that_never_comes(provider: StandIn) -> None:
    provider.answer(usage_times=0)
    assert complete(provider, "anthropic").usage is None
    streamed = stream(provider, "anthropic")
    assert (streamed.result.usage, streamed.seen) == (None, [])


@pytest.mark.parametrize("wrong", [-5, 10**12, "many", 1.5])
def test_absurd_usage_counts_as_not_reported(provider: StandIn, wrong: Any) -> None:
    provider.answer(raw_usage={"input_tokens": 3, "output_tokens": wrong})
    assert complete(provider, "anthropic").usage is None
    assert stream(provider, "anthropic").result.usage is None


def test_tool_call_round_trip(provider: StandIn) -> None:
    provider.answer(text="Let me look.", tool_calls=[CALL, {**CALL, "id": "toolu_2"}], finish_reason="tool_calls")
    expected = (ToolCall("toolu_1", "weather", '{"city": "Oslo"}'), ToolCall("toolu_2", "weather", '{"city": "Oslo"}'))
    plain = complete(provider, "anthropic", request(tools=(WEATHER,), tool_choice="required"))
    assert (plain.text, plain.finish_reason, plain.tool_calls) == ("Let me look.", "tool_calls", expected)
    assert stream(provider, "anthropic", request(tools=(WEATHER,))).result.tool_calls == expected
    assert provider.requests[0].body["tool_choice"] == {"type": "any"}
    assert provider.requests[0].body["tools"] == [
        {"name": "weather", "description": "The weather in a city", "input_schema": WEATHER["parameters"]}
    ]

    turns = (
        ChatMessage("user", "Weather?"),
        ChatMessage("assistant", "Let me look.", tool_calls=expected),
        ChatMessage("tool", "rain", tool_call_id="toolu_1"),
        ChatMessage("tool", "sun", tool_call_id="toolu_2"),
        ChatMessage("user", "Well?"),
    )
    complete(provider, "anthropic", request(messages=turns, tools=(WEATHER,)))
    assert provider.requests[-1].body["messages"] == [
        {"role": "user", "content": [{"type": "text", "text": "Weather?"}]},
        {
            "role": "assistant",
            "content": [
                {"type": "text", "text": "Let me look."},
                {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Oslo"}},
                {"type": "tool_use", "id": "toolu_2", "name": "weather", "input": {"city": "Oslo"}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "toolu_1", "content": "rain"},
                {"type": "tool_result", "tool_use_id": "toolu_2", "content": "sun"},
                {"type": "text", "text": "Well?"},
            ],
        },
    ]


@pytest.mark.parametrize(
    ("choice", "sent"),
    [
        ("auto", {"type": "auto"}),
        ("none", {"type": "none"}),
        ("weather", {"type": "tool", "name": "weather"}),
    ],
)
def test_tool_choice(provider: StandIn, choice: str, sent: dict[str, str]) -> None:
    complete(provider, "anthropic", request(tools=(WEATHER,), tool_choice=choice))
    assert provider.requests[0].body["tool_choice"] == sent


def test_turns_of_one_role_are_merged_and_empty_ones_left_out(provider: StandIn) -> None:
    turns = (
        ChatMessage("user", "One"),
        ChatMessage("assistant", ""),
        ChatMessage("user", "Two"),
        ChatMessage("assistant", "A"),
        ChatMessage("assistant", "B"),
        ChatMessage("user", "Three"),
    )
    complete(provider, "anthropic", request(messages=turns))
    assert provider.requests[0].body["messages"] == [
        {"role": "user", "content": [{"type": "text", "text": "One"}, {"type": "text", "text": "Two"}]},
        {"role": "assistant", "content": [{"type": "text", "text": "A"}, {"type": "text", "text": "B"}]},
        {"role": "user", "content": [{"type": "text", "text": "Three"}]},
    ]


def test_images_travel_as_bytes(provider: StandIn) -> None:
    image = Image("image/webp", b"RIFF-bytes", 2, 2)
    complete(provider, "anthropic", request(messages=(ChatMessage("user", "What?", images=(image,)),)))
    data = base64.b64encode(b"RIFF-bytes").decode()
    assert provider.requests[0].body["messages"][0]["content"] == [
        {"type": "image", "source": {"type": "base64", "media_type": "image/webp", "data": data}},
        {"type": "text", "text": "What?"},
    ]


def test_structured_output(provider: StandIn) -> None:
    schema = {"type": "object", "properties": {}, "additionalProperties": False}
    complete(provider, "anthropic", request(response_schema=schema))
    assert provider.requests[0].body["output_config"] == {"format": {"type": "json_schema", "schema": schema}}


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("refusal", "content_filter"),
        ("pause_turn", "other"),
    ],
)
def test_finish_reasons(provider: StandIn, sent: str, expected: str) -> None:
    provider.answer(finish_reason=sent)
    assert complete(provider, "anthropic").finish_reason == expected
    assert stream(provider, "anthropic").result.finish_reason == expected


@pytest.mark.parametrize(
    ("status", "code", "message", "expected"),
    [
        (400, "invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum", ContextLengthExceeded),
        (400, "invalid_request_error", "Your credit balance is too low", ProviderQuotaExhausted),
        (400, "invalid_request_error", "messages: field required", ProviderRequestRefused),
        (402, "billing_error", "Pay first", ProviderQuotaExhausted),
        (404, "not_found_error", "model: nope", ProviderModelNotFound),
        (413, "request_too_large", "Too many bytes", ProviderRequestRefused),
        (429, "rate_limit_error", "Slow down", ProviderRateLimited),
        (500, "api_error", "Oops", ProviderUnavailable),
        (529, "overloaded_error", "Overloaded", ProviderUnavailable),
    ],
)
def test_refusals(provider: StandIn, status: int, code: str, message: str, expected: type[ProviderError]) -> None:
    provider.always(refusal(status, vendor="anthropic", code=code, message=message))
    with pytest.raises(expected) as caught:
        complete(provider, "anthropic")
    assert type(caught.value) is expected
    assert caught.value.status_code == status
    assert caught.value.provider_request_id == "req-1"
    assert type(stream(provider, "anthropic").error) is expected


def test_overload_before_the_first_token_can_be_tried_again(provider: StandIn) -> None:
    """It arrives as an event of a stream whose HTTP status is 200."""
    event = error_body("anthropic", 529, code="overloaded_error", message="Overloaded")
    provider.script(fault("error_event", after=1, error=event))
    error = stream(provider, "anthropic").error
    assert type(error) is ProviderUnavailable
    assert (error.status_code, error.is_retryable) == (529, True)
