"""``usage_of``: what the provider reported counts; what it did not is estimated by exact rules, and marked."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conversations.metering import usage_of
from conversations.outcomes import CallTerms, Outcome
from llm.types import ToolCall, Usage

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
    assert usage_of(Outcome(status=status, seen_usage=Usage(input=99)), TERMS) == (Usage(), False)


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


@given(st.builds(Usage, input=counts, output=counts, reasoning=counts) | st.none(), st.text(max_size=50))
def test_an_outcome_survives_the_way_through_json(usage: Usage | None, text: str) -> None:
    import json

    outcome = Outcome(
        status="sent",
        content=text,
        tool_calls=(ToolCall(id="1", name="f", arguments=text, signature="s"),),
        usage=usage,
        seen_usage=usage,
        is_swept=True,
        retry_after=3,
    )
    assert Outcome.from_json(json.loads(json.dumps(outcome.as_json()))) == outcome
