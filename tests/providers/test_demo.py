"""The demo provider: the contract, kept without a network."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm.providers.demo import DemoProvider, demo_answer, example
from llm.types import (
    CallRequest,
    CallResult,
    ChatMessage,
    Credentials,
    Image,
    StreamEvent,
    TextDelta,
    TextPart,
    Thinking,
    ToolCall,
    ToolCallDelta,
    Usage,
)
from tests.providers.calling import request

NOBODY = Credentials("demo", "")
WEATHER = {
    "name": "weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


def streamed(call: CallRequest) -> list[StreamEvent]:
    async def run() -> list[StreamEvent]:
        return [event async for event in DemoProvider(delay=0).stream(call, NOBODY)]

    return asyncio.run(run())


def test_it_says_what_it_is() -> None:
    result = asyncio.run(DemoProvider().complete(request("What is the capital of Peru?"), NOBODY))
    text = "This is the demo provider: no model was called. You wrote: What is the capital of Peru?"
    assert result == CallResult(text, "stop", Usage(input=7, output=22), (), "demo", 200)


def test_it_streams_word_by_word() -> None:
    events = streamed(request("Hi"))
    assert [event.text for event in events if isinstance(event, TextDelta)] == [
        "This",
        " is",
        " the",
        " demo",
        " provider:",
        " no",
        " model",
        " was",
        " called.",
        " You",
        " wrote:",
        " Hi",
    ]
    assert events[-1] == demo_answer(request("Hi"))


def test_it_keeps_to_max_tokens() -> None:
    result = demo_answer(request("Hi", max_tokens=3))
    assert (result.text, result.finish_reason) == ("This is the ", "length")
    assert result.usage == Usage(input=1, output=3)


def test_every_part_of_the_prompt_counts() -> None:
    image = Image("image/png", b"x", 1, 1)
    calls = (ToolCall("1", "abcd", "{}"),)
    turns = (
        ChatMessage("user", "12345678", images=(image,)),
        ChatMessage("assistant", "", tool_calls=calls),
        ChatMessage("tool", "1234", tool_call_id="1"),
    )
    result = demo_answer(request(messages=turns, system="1234"))
    assert result.usage is not None
    assert result.usage.total_input == 1 + 2 + 256 + 2 + 1
    assert "The tool returned: 1234" in result.text


def test_it_calls_a_tool_when_it_must() -> None:
    result = demo_answer(request(tools=(WEATHER,), tool_choice="required"))
    assert result.finish_reason == "tool_calls"
    assert result.tool_calls == (ToolCall("call_demo_1", "weather", '{"city": "demo"}'),)
    assert demo_answer(request(tools=(WEATHER,))).tool_calls == ()
    answered = (*request().messages, ChatMessage("tool", "rain", tool_call_id="call_demo_1"))
    assert demo_answer(request(messages=answered, tools=(WEATHER,), tool_choice="required")).tool_calls == ()


def test_a_call_is_streamed_in_pieces() -> None:
    call = request(tools=(WEATHER,), tool_choice="required")
    assert streamed(call) == [
        ToolCallDelta(0, id="call_demo_1", name="weather"),
        ToolCallDelta(0, '{"city":'),
        ToolCallDelta(0, ' "demo"}'),
        demo_answer(call),
    ]


def test_it_tells_a_failed_tool_from_one_that_answered() -> None:
    turns = (*request().messages, ChatMessage("tool", "no such city", tool_call_id="1", is_error=True))
    assert demo_answer(request(messages=turns)).text.endswith("The tool failed: no such city")


def test_it_answers_with_a_json_object() -> None:
    text = demo_answer(request("Łódź", json_object=True)).text
    assert text == '{"answer": "This is the demo provider: no model was called. You wrote: Łódź"}'


def test_it_stops_where_it_is_told_to() -> None:
    result = demo_answer(request("Hi", stop=("model", "provider", "nowhere", "")))
    assert (result.text, result.finish_reason, result.stop_sequence) == ("This is the demo ", "stop", "provider")
    result = demo_answer(request("Hi", stop=("provider",), max_tokens=2))
    assert (result.text, result.finish_reason, result.stop_sequence) == ("This is ", "length", "")
    assert demo_answer(request("Hi", stop=("nowhere",))) == demo_answer(request("Hi"))


def test_what_it_takes_no_notice_of_changes_nothing() -> None:
    """It reads a conversation as it is, in whichever form, and does not think."""
    parts = ChatMessage.of_parts("user", [TextPart("Hi", cache="5m")], cache="1h")
    plain = request("Hi", system="Be brief.")
    fancy = request(
        messages=(parts,),
        system="Be brief.",
        system_parts=(TextPart("Be brief.", cache="1h"),),
        top_p=0.5,
        top_k=3,
        seed=1,
        frequency_penalty=1.0,
        presence_penalty=1.0,
        is_reasoning=True,
        reasoning_effort="high",
        thinking="enabled",
        thinking_budget=2000,
        shows_thinking=True,
        verbosity="low",
        parallel_tool_calls=False,
    )
    assert streamed(fancy) == streamed(plain)
    turns = (*plain.messages, ChatMessage("assistant", "Hi.", thinking=(Thinking("Hm, long thoughts", "c2ln"),)))
    without = (*plain.messages, ChatMessage("assistant", "Hi."))
    assert demo_answer(request(messages=turns)) == demo_answer(request(messages=without))


def test_it_counts_and_lists() -> None:
    call = request("12345678", system="1234", tools=(WEATHER,))
    usage = demo_answer(call).usage
    assert usage is not None
    assert asyncio.run(DemoProvider().count_tokens(call, NOBODY)) == usage.total_input
    assert asyncio.run(DemoProvider().list_models(NOBODY)) == ["demo-1"]


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "integer"}}, "required": ["a", "b"]},
        {"type": "array", "items": {"type": "number"}, "minItems": 2},
        {"enum": ["x", "y"]},
        {"anyOf": [{"type": "null"}, {"type": "string"}]},
        {"type": ["boolean", "null"]},
        {"const": 5},
    ],
)
def test_structured_output_satisfies_the_schema(schema: dict[str, Any]) -> None:
    jsonschema.validate(example(schema), schema)


@given(content=st.text(max_size=300), max_tokens=st.integers(1, 80), stop=st.lists(st.text(max_size=3), max_size=2))
def test_the_stream_adds_up_to_the_plain_answer(content: str, max_tokens: int, stop: list[str]) -> None:
    call = request(content, max_tokens=max_tokens, stop=tuple(stop))
    plain = demo_answer(call)
    events = streamed(call)
    assert "".join(event.text for event in events if isinstance(event, TextDelta)) == plain.text
    assert events[-1] == plain
    assert plain.usage is not None
    assert plain.usage.output <= max_tokens
    assert len(plain.text.encode()) <= 4 * max_tokens


def test_a_list_made_up_for_a_schema_stays_short() -> None:
    assert example({"type": "array", "items": {"type": "string"}, "minItems": 20_000_000}) == ["demo"] * 100
    assert example({"type": "array", "minItems": "many"}) == []
    nested: dict[str, object] = {"type": "string"}
    for _ in range(8):
        nested = {"type": "array", "items": nested, "minItems": 20}
    assert len(json.dumps(example(nested))) < 10_000
