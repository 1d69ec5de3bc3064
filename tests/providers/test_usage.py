"""Usage is what gets billed: one golden report per way that a vendor counts, and the arithmetic for all others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm.providers import anthropic, google, openai
from llm.types import Usage

GOLDEN = json.loads((Path(__file__).parent / "golden_usage.json").read_text())
counts = st.integers(0, 10**7)
nonsense = st.sampled_from([-1, -(10**12), 10**9 + 1, 10**12, 1.5, 7.0, "7", True, [], {}, float("nan")])


def read(provider: str, report: Any) -> Usage | None:
    if provider == "anthropic":
        return anthropic.read_usage(report)
    if provider == "google":
        return google.read_usage(report)
    return openai.read_usage(report, provider)


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda golden: golden["name"])
def test_golden_report(golden: dict[str, Any]) -> None:
    usage = read(golden["provider"], golden["report"])
    assert usage is not None
    assert usage.as_dict() == golden["usage"]


@given(fresh=counts, cached=counts, written=counts, output=counts, reasoning=counts, is_extra=st.booleans())
def test_openai_buckets_add_up_to_the_total(
    fresh: int, cached: int, written: int, output: int, reasoning: int, is_extra: bool
) -> None:
    prompt = fresh + cached + written
    total = prompt + output + reasoning
    report = {
        "prompt_tokens": prompt,
        "completion_tokens": output if is_extra else output + reasoning,
        "total_tokens": total,
        "prompt_tokens_details": {"cached_tokens": cached, "cache_write_tokens": written},
        "completion_tokens_details": {"reasoning_tokens": reasoning},
    }
    usage = openai.read_usage(report)
    assert usage == Usage(input=fresh, cached_input=cached, cache_write_5m=written, output=output, reasoning=reasoning)
    assert usage.total == total


@given(fresh=counts, cached=counts, five=counts, hour=counts, output=counts, thinking=counts)
def test_anthropic_buckets_add_up_to_the_reported_figures(
    fresh: int, cached: int, five: int, hour: int, output: int, thinking: int
) -> None:
    report = {
        "input_tokens": fresh,
        "cache_read_input_tokens": cached,
        "cache_creation_input_tokens": five + hour,
        "cache_creation": {"ephemeral_5m_input_tokens": five, "ephemeral_1h_input_tokens": hour},
        "output_tokens": output + thinking,
        "output_tokens_details": {"thinking_tokens": thinking},
    }
    usage = anthropic.read_usage(report)
    assert usage == Usage(fresh, cached, five, hour, output, thinking)
    assert usage.total_input == fresh + cached + five + hour
    assert usage.total_output == output + thinking


@given(fresh=counts, cached=counts, tool_use=counts, output=counts, thoughts=counts)
def test_google_buckets_add_up_to_the_total(fresh: int, cached: int, tool_use: int, output: int, thoughts: int) -> None:
    total = fresh + cached + tool_use + output + thoughts
    report = {
        "prompt_token_count": fresh + cached,
        "cached_content_token_count": cached,
        "tool_use_prompt_token_count": tool_use,
        "candidates_token_count": output,
        "thoughts_token_count": thoughts,
        "total_token_count": total,
    }
    usage = google.read_usage(report)
    assert usage == Usage(input=fresh + tool_use, cached_input=cached, output=output, reasoning=thoughts)
    assert usage.total == total


def places(report: dict[str, Any], path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """The paths of all figures in a report that are read."""
    found = []
    for name, value in report.items():
        if isinstance(value, dict):
            found += places(value, (*path, name))
        elif name not in UNREAD:
            found.append((*path, name))
    return found


UNREAD = {
    "audio_tokens",
    "image_tokens",
    "text_tokens",
    "accepted_prediction_tokens",
    "rejected_prediction_tokens",
    "prompt_cache_miss_tokens",
    "service_tier",
    "total_token_count",
}


@given(golden=st.sampled_from(GOLDEN), value=nonsense, choice=st.randoms(use_true_random=False))
def test_nonsense_in_any_figure_counts_as_not_reported(golden: dict[str, Any], value: Any, choice: Any) -> None:
    report = json.loads(json.dumps(golden["report"]))
    *parents, name = choice.choice(places(report))
    target = report
    for parent in parents:
        target = target[parent]
    target[name] = value
    assert read(golden["provider"], report) is None


@pytest.mark.parametrize("provider", ["openai", "grok", "deepseek", "llama", "anthropic", "google"])
def test_no_report_is_no_usage_rather_than_zero(provider: str) -> None:
    assert read(provider, None) is None
    assert read(provider, {}) is None


@pytest.mark.parametrize(
    ("provider", "report"),
    [
        ("openai", {"prompt_tokens": 5, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 6}}),
        (
            "openai",
            {
                "prompt_tokens": 5,
                "completion_tokens": 1,
                "total_tokens": 6,
                "completion_tokens_details": {"reasoning_tokens": 2},
            },
        ),
        (
            "anthropic",
            {"input_tokens": 5, "output_tokens": 1, "output_tokens_details": {"thinking_tokens": 2}},
        ),
        ("google", {"prompt_token_count": 5, "cached_content_token_count": 6, "candidates_token_count": 1}),
    ],
)
def test_parts_larger_than_the_whole_count_as_not_reported(provider: str, report: dict[str, Any]) -> None:
    assert read(provider, report) is None


def test_grok_reasoning_comes_on_top_where_no_total_tells() -> None:
    report = {"prompt_tokens": 9, "completion_tokens": 2, "completion_tokens_details": {"reasoning_tokens": 317}}
    assert openai.read_usage(report, "grok") == Usage(input=9, output=2, reasoning=317)
