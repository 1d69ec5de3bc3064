"""Thinking and tool calls as they come, piece by piece, and what they add up to."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llm.errors import StreamInterrupted
from llm.providers.answer import Answer
from llm.types import (
    CallResult,
    TextDelta,
    Thinking,
    ThinkingDelta,
    ToolCall,
    ToolCallDelta,
    Usage,
    UsageSeen,
)
from tests.providers.calling import FAMILIES, complete, request, stream
from tests.providers.standins import StandIn, answer, fault

WEATHER = {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}
CALLS = [
    {"id": "c1", "name": "weather", "arguments": '{"city": "Oslo"}', "pieces": ['{"ci', 'ty": ', '"Oslo"}']},
    {"id": "c2", "name": "weather", "arguments": '{"city": "Rome"}', "pieces": ['{"city": "Rome"}']},
]
CALLED = (ToolCall("c1", "weather", '{"city": "Oslo"}'), ToolCall("c2", "weather", '{"city": "Rome"}'))
REQUEST = request(tools=(WEATHER,), is_reasoning=True, shows_thinking=True)
USAGE = {"input": 20, "cached_input": 100, "output": 8, "reasoning": 4}
USED = Usage(input=20, cached_input=100, output=8, reasoning=4)


def whole_answer(**fields: Any) -> dict[str, Any]:
    return {
        "reasoning_chunks": ["Let ", "me see."],
        "chunks": ["I ", "look."],
        "tool_calls": CALLS,
        "finish_reason": "tool_calls",
        "usage": USAGE,
        **fields,
    }


# golden streams ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["deepseek", "grok", "llama", "openai"])
@pytest.mark.parametrize("where", ["reasoning_content", "reasoning"])
def test_openai(provider: StandIn, name: str, where: str) -> None:
    provider.answer(**whole_answer(reasoning_field=where))
    expected = CallResult("I look.", "tool_calls", USED, CALLED, "req-1", thinking=(Thinking("Let me see."),))
    assert stream(provider, name, REQUEST).events == [
        ThinkingDelta("Let "),
        ThinkingDelta("me see."),
        TextDelta("I "),
        TextDelta("look."),
        ToolCallDelta(0, '{"ci', "c1", "weather"),
        ToolCallDelta(0, 'ty": '),
        ToolCallDelta(0, '"Oslo"}'),
        ToolCallDelta(1, '{"city": "Rome"}', "c2", "weather"),
        expected,
    ]
    assert complete(provider, name, REQUEST) == expected


def test_anthropic(provider: StandIn) -> None:
    provider.answer(**whole_answer(redacted="cipher"))
    thinking = (Thinking("Let me see.", "c2ln"), Thinking("", redacted="cipher"))
    expected = CallResult("I look.", "tool_calls", USED, CALLED, "req-1", thinking=thinking)
    assert stream(provider, "anthropic", REQUEST).events == [
        UsageSeen(Usage(input=20, cached_input=100, output=1)),
        ThinkingDelta("Let "),
        ThinkingDelta("me see."),
        ThinkingDelta("", signature="c2ln"),
        ThinkingDelta("", redacted="cipher"),
        TextDelta("I "),
        TextDelta("look."),
        ToolCallDelta(0, "", "c1", "weather"),
        ToolCallDelta(0, '{"ci'),
        ToolCallDelta(0, 'ty": '),
        ToolCallDelta(0, '"Oslo"}'),
        ToolCallDelta(1, "", "c2", "weather"),
        ToolCallDelta(1, '{"city": "Rome"}'),
        expected,
    ]
    assert complete(provider, "anthropic", REQUEST) == expected


def test_google(provider: StandIn) -> None:
    provider.answer(**whole_answer())
    expected = CallResult("I look.", "tool_calls", USED, CALLED, "resp-1", thinking=(Thinking("Let me see."),))
    assert stream(provider, "google", REQUEST).events == [
        ThinkingDelta("Let "),
        ThinkingDelta("me see."),
        TextDelta("I "),
        TextDelta("look."),
        ToolCallDelta(0, '{"city": "Oslo"}', "c1", "weather"),
        ToolCallDelta(1, '{"city": "Rome"}', "c2", "weather"),
        expected,
    ]
    assert complete(provider, "google", REQUEST) == expected


def test_thinking_that_is_kept_back_is_a_signature_at_anthropic(provider: StandIn) -> None:
    provider.answer("42", reasoning_chunks=[], redacted="")
    assert stream(provider, "anthropic", REQUEST).thoughts == []
    provider.answer("42", reasoning_chunks=[""], signature="c2VjcmV0")
    streamed = stream(provider, "anthropic", REQUEST)
    assert streamed.thoughts == [ThinkingDelta("", "c2VjcmV0")]
    assert streamed.result.thinking == (Thinking("", "c2VjcmV0"),)
    assert complete(provider, "anthropic", REQUEST).thinking == (Thinking("", "c2VjcmV0"),)


def test_a_call_without_arguments_takes_none_at_anthropic(provider: StandIn) -> None:
    provider.answer("", tool_calls=[{"id": "c1", "name": "now", "arguments": "{}", "pieces": [""]}])
    streamed = stream(provider, "anthropic", REQUEST)
    assert streamed.calls == [ToolCallDelta(0, "", "c1", "now"), ToolCallDelta(0, "{}")]
    assert streamed.result.tool_calls == (ToolCall("c1", "now", "{}"),)


def test_the_stop_sequence_that_ended_an_answer(provider: StandIn) -> None:
    """Only Anthropic says which it was."""
    provider.answer("One", finish_reason="stop_sequence", stop_sequence="END")
    call = request(stop=("END",))
    for result in (complete(provider, "anthropic", call), stream(provider, "anthropic", call).result):
        assert (result.text, result.finish_reason, result.stop_sequence) == ("One", "stop", "END")
    provider.answer("One")
    assert complete(provider, "anthropic", call).stop_sequence == ""
    assert complete(provider, "openai", call).stop_sequence == ""


# bounds --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("kind", ["thinking", "arguments"])
def test_thinking_and_calls_without_limit_are_cut_off(provider: StandIn, name: str, kind: str) -> None:
    long = "x" * 8192
    if kind == "thinking":
        behaviour = answer("", reasoning_chunks=[long] * 20)
    else:
        pieces = ['{"a": "', *[long] * 20, '"}']
        behaviour = answer("", tool_calls=[{"id": "c", "name": "f", "arguments": "".join(pieces), "pieces": pieces}])
    provider.always(behaviour)
    streamed = stream(provider, name, request(max_tokens=10, tools=(WEATHER,)))
    assert type(streamed.error) is StreamInterrupted
    passed_on = [event.text for event in streamed.thoughts] + [event.arguments for event in streamed.calls]
    assert sum(map(len, passed_on)) <= 64 * 1024


@pytest.mark.parametrize("name", FAMILIES)
def test_a_stream_that_breaks_off_while_it_thinks_has_begun(provider: StandIn, name: str) -> None:
    """What was thought is billed, so the call is not made again."""
    after = {"openai": 2, "anthropic": 4, "google": 1}[name]
    provider.always(fault("cut", after=after, reasoning_chunks=["Hm", ", well"], chunks=["Yes."]))
    streamed = stream(provider, name, REQUEST)
    assert streamed.thoughts == [ThinkingDelta("Hm")]
    assert type(streamed.error) is StreamInterrupted
    assert not streamed.error.is_retryable


# sums ----------------------------------------------------------------------------------------------------------------


@st.composite
def split(draw: st.DrawFn, whole: str) -> list[str]:
    cuts = sorted(draw(st.lists(st.integers(0, len(whole)), max_size=5)))
    return [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]


@st.composite
def answers(draw: st.DrawFn) -> dict[str, Any]:
    arguments = st.dictionaries(st.text(max_size=5), st.text(max_size=10) | st.integers() | st.none(), max_size=3)
    calls = []
    for index in range(draw(st.integers(0, 3))):
        written = json.dumps(draw(arguments))
        call = {"id": f"c{index}", "name": draw(st.sampled_from(["f", "g"])), "arguments": written}
        calls.append({**call, "pieces": draw(split(written))})
    return {
        "chunks": draw(split(draw(st.text(max_size=40)))),
        "reasoning_chunks": draw(split(draw(st.text(max_size=40)))),
        "redacted": draw(st.sampled_from(["", "cipher"])),
        "tool_calls": calls,
        "finish_reason": "tool_calls" if calls else "stop",
    }


@pytest.mark.parametrize("name", FAMILIES)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(behaviour=answers())
def test_the_pieces_add_up_to_the_result(provider: StandIn, name: str, behaviour: dict[str, Any]) -> None:
    provider.answer(**behaviour)
    streamed = stream(provider, name, REQUEST)
    result = streamed.result
    assert result == complete(provider, name, REQUEST)
    assert "".join(streamed.texts) == result.text == "".join(behaviour["chunks"])
    thought = "".join(event.text for event in streamed.thoughts)
    assert thought == "".join(block.text for block in result.thinking) == "".join(behaviour["reasoning_chunks"])
    for field in ("signature", "redacted"):
        said = [getattr(event, field) for event in streamed.thoughts if getattr(event, field)]
        assert said == [getattr(block, field) for block in result.thinking if getattr(block, field)]
    put_together: list[ToolCall] = []
    for piece in streamed.calls:
        if piece.index == len(put_together):
            assert (piece.id, piece.name) != ("", "")
            put_together.append(ToolCall(piece.id, piece.name, piece.arguments))
            continue
        assert (piece.id, piece.name) == ("", "")
        call = put_together[piece.index]
        put_together[piece.index] = ToolCall(call.id, call.name, call.arguments + piece.arguments)
    assert tuple(put_together) == result.tool_calls
    assert [call.arguments for call in result.tool_calls] == [call["arguments"] for call in behaviour["tool_calls"]]


# what hosts that only resemble a vendor do ----------------------------------------------------------------------------


def test_ids_and_names_that_come_again_count_once() -> None:
    answer = Answer("llama", 100)
    events = [
        *answer.call(5, id="c1", name="f", arguments='{"a"'),
        *answer.call(5, id="c1", name="f", arguments=": 1}"),
        *answer.call(3, id="c2", name="g"),
    ]
    assert events == [
        ToolCallDelta(0, '{"a"', "c1", "f"),
        ToolCallDelta(0, ": 1}"),
        ToolCallDelta(1, "", "c2", "g"),
    ]
    answer.finish_reason = "stop"
    assert answer.result().tool_calls == (ToolCall("c1", "f", '{"a": 1}'), ToolCall("c2", "g", ""))


def test_a_call_is_passed_on_from_when_its_name_is_known() -> None:
    answer = Answer("llama", 100)
    assert [*answer.call(0, id="c1"), *answer.call(0, arguments="{")] == []
    assert [*answer.call(0, name="f", arguments="}")] == [ToolCallDelta(0, "{}", "c1", "f")]


def test_thinking_between_other_output_is_a_block_of_its_own() -> None:
    answer = Answer("anthropic", 100)
    for events in (
        answer.think("One"),
        answer.think(", two"),
        answer.text("So."),
        answer.think("Three", signature="s"),
        answer.think("Four"),
        answer.call(0, id="c", name="f"),
        answer.think("Five"),
        answer.think("", redacted="r"),
        answer.think("Six"),
    ):
        list(events)
    answer.end_thinking()
    list(answer.think("Seven"))
    answer.finish_reason = "stop"
    assert answer.result().thinking == (
        Thinking("One, two"),
        Thinking("Three", "s"),
        Thinking("Four"),
        Thinking("Five"),
        Thinking("", redacted="r"),
        Thinking("Six"),
        Thinking("Seven"),
    )
