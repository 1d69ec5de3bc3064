"""``usage_of``: what the provider reported counts; what it did not is estimated by exact rules, and marked."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conversations.metering import usage_of
from conversations.outcomes import CallTerms, Outcome
from llm.types import Thinking, ToolCall, Usage

TERMS = CallTerms(key_source="global", is_charged=True, markup_bps=0, prompt_tokens=33)
REPORTED = Usage(input=1, cached_input=2, cache_write_5m=3, cache_write_1h=4, output=5, reasoning=6)
counts = st.integers(min_value=0, max_value=10**6)


@pytest.mark.parametrize("status", ["sent", "error", "interrupted"])
def test_what_the_provider_reported_counts_whatever_else_is_known(status: str) -> None:
    outcome = Outcome(status=status, content="x" * 400, usage=REPORTED, seen_usage=Usage(input=99))
    assert usage_of(outcome, TERMS) == (REPORTED, False)


@pytest.mark.parametrize("status", ["error", "interrupted"])
def test_a_call_that_produced_nothing_used_nothing(status: str) -> None:
    assert usage_of(Outcome(status=status), TERMS) == (Usage(), False)


@pytest.mark.parametrize("status", ["error", "interrupted"])
def test_what_the_provider_had_reported_was_used_though_nothing_was_produced(status: str) -> None:
    seen = Usage(input=50_000, cached_input=7, output=1)
    assert usage_of(Outcome(status=status, seen_usage=seen), TERMS) == (seen, True)


@pytest.mark.parametrize(
    ("text", "tokens"),
    [("a", 1), ("abcd", 1), ("abcde", 2), ("é" * 2, 1), ("é" * 3, 2), ("😀", 1), ("\ud800", 1), ("x" * 400, 100)],
)
def test_four_bytes_are_a_token(text: str, tokens: int) -> None:
    outcome = Outcome(status="interrupted", content=text)
    assert usage_of(outcome, TERMS) == (Usage(input=33, output=tokens), True)


def test_a_finished_answer_without_usage_is_estimated_even_when_it_is_empty() -> None:
    assert usage_of(Outcome(status="sent"), TERMS) == (Usage(input=33), True)
    assert usage_of(Outcome(status="sent", content="Hello"), TERMS) == (Usage(input=33, output=2), True)


def test_the_arguments_of_tool_calls_are_text_too() -> None:
    calls = (ToolCall(id="1", name="ignored", arguments='{"a": 1}'), ToolCall(id="2", name="", arguments="{}"))
    outcome = Outcome(status="sent", content="Hi", tool_calls=calls)
    assert usage_of(outcome, TERMS) == (Usage(input=33, output=3), True)
    broken_off = Outcome(status="interrupted", tool_calls=calls[:1])
    assert usage_of(broken_off, TERMS) == (Usage(input=33, output=2), True)


def test_thinking_that_was_shown_is_estimated_apart_from_the_answer() -> None:
    thinking = (Thinking(text="Hm, hm."), Thinking(text="Hm.", signature="long" * 100), Thinking("", redacted="x" * 99))
    outcome = Outcome(status="sent", content="Hi", thinking=thinking)
    assert usage_of(outcome, TERMS) == (Usage(input=33, output=1, reasoning=3), True)
    broken_off = Outcome(status="interrupted", written_bytes=0, thought_bytes=10)
    assert usage_of(broken_off, TERMS) == (Usage(input=33, reasoning=3), True)


def test_thinking_is_not_counted_twice_where_the_provider_has_counted_it() -> None:
    outcome = Outcome(status="interrupted", written_bytes=8, thought_bytes=400, seen_usage=Usage(input=7, reasoning=90))
    assert usage_of(outcome, TERMS) == (Usage(input=7, output=2, reasoning=100), True)
    outcome = Outcome(status="interrupted", written_bytes=8, thought_bytes=40, seen_usage=Usage(input=7, reasoning=90))
    assert usage_of(outcome, TERMS) == (Usage(input=7, output=2, reasoning=90), True)


def test_what_was_seen_of_the_usage_replaces_the_estimate_of_the_prompt() -> None:
    seen = Usage(input=7, cached_input=2, cache_write_5m=3, cache_write_1h=4, output=1, reasoning=9)
    outcome = Outcome(status="interrupted", content="x" * 40, seen_usage=seen)
    expected = Usage(input=7, cached_input=2, cache_write_5m=3, cache_write_1h=4, output=10, reasoning=9)
    assert usage_of(outcome, TERMS) == (expected, True)


def test_the_larger_of_what_was_seen_and_what_arrived_counts_as_output() -> None:
    outcome = Outcome(status="interrupted", content="x" * 40, seen_usage=Usage(input=7, output=50))
    assert usage_of(outcome, TERMS) == (Usage(input=7, output=50), True)


@given(text=st.text(min_size=1, max_size=200), seen=counts, output=counts)
def test_more_text_never_makes_it_cheaper(text: str, seen: int, output: int) -> None:
    def tokens(content: str) -> int:
        return usage_of(
            Outcome(status="interrupted", content=content, seen_usage=Usage(input=seen, output=output)), TERMS
        )[0].total

    assert tokens(text) <= tokens(text + "x") <= tokens(text) + 1


texts = st.text(st.characters(exclude_categories=()), max_size=50)
calls = st.builds(ToolCall, id=texts, name=texts, arguments=texts)
outcomes = st.builds(
    Outcome,
    status=st.sampled_from(["sent", "error", "interrupted"]),
    content=texts,
    tool_calls=st.lists(calls, max_size=2).map(tuple),
    thinking=st.lists(st.builds(Thinking, text=texts, signature=texts), max_size=2).map(tuple),
    stop_sequence=texts,
    usage=st.none() | st.just(REPORTED),
    seen_usage=st.none() | st.builds(Usage, input=counts, output=counts, reasoning=counts),
    is_stopped=st.booleans(),
)


@given(outcomes)
def test_without_its_content_an_outcome_costs_the_same(outcome: Outcome) -> None:
    stored = outcome.storable()
    bare = stored.without_content()
    assert usage_of(bare, TERMS) == usage_of(stored, TERMS)
    assert (bare.content, bare.tool_calls, bare.thinking, bare.stop_sequence) == ("", (), (), "")
    assert bare.without_content() == bare
    assert usage_of(Outcome.from_json(bare.as_json()), TERMS) == usage_of(bare, TERMS)


@given(st.builds(Usage, input=counts, output=counts, reasoning=counts) | st.none(), st.text(max_size=50))
def test_an_outcome_survives_the_way_through_json(usage: Usage | None, text: str) -> None:
    import json

    outcome = Outcome(
        status="sent",
        content=text,
        tool_calls=(ToolCall(id="1", name="f", arguments=text, signature="s"),),
        usage=usage,
        seen_usage=usage,
        thinking=(Thinking(text=text, signature="s"),),
        stop_sequence=text,
        written_bytes=3,
        thought_bytes=4,
        is_swept=True,
        retry_after=3,
    )
    assert Outcome.from_json(json.loads(json.dumps(outcome.as_json()))) == outcome
