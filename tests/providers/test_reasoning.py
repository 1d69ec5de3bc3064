"""How hard a model is to think: one wish, in every vendor's words, and never more than ``max_tokens``."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm.providers import reasoning
from llm.types import CallRequest
from tests.providers.calling import body_of, request
from tests.providers.standins import StandIn

TOOL = {"name": "weather", "parameters": {"type": "object", "properties": {}}}
WISHES: list[dict[str, Any]] = [
    {},
    {"reasoning_effort": "none"},
    {"reasoning_effort": "minimal"},
    {"reasoning_effort": "high"},
    {"reasoning_effort": "max"},
    {"thinking": "disabled"},
    {"thinking": "adaptive"},
    {"thinking": "enabled", "thinking_budget": 9000},
]


def thinker(model: str = "model-1", **fields: Any) -> CallRequest:
    return request(model=model, is_reasoning=True, **{"max_tokens": 64_000, **fields})


@pytest.mark.parametrize("name", ["openai", "grok", "deepseek", "llama", "anthropic", "google"])
@pytest.mark.parametrize("wish", [*WISHES, {"shows_thinking": True}, {"verbosity": "low"}])
def test_models_that_do_not_think_are_told_nothing(provider: StandIn, name: str, wish: dict[str, Any]) -> None:
    assert body_of(provider, name, **wish) == body_of(provider, name)


# OpenAI, and those who speak its protocol ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wish", "sent"),
    [
        ({}, {}),
        ({"reasoning_effort": "minimal"}, {"reasoning_effort": "minimal"}),
        ({"reasoning_effort": "max"}, {"reasoning_effort": "max"}),
        ({"thinking": "disabled"}, {"reasoning_effort": "none"}),
        ({"thinking": "disabled", "reasoning_effort": "high"}, {"reasoning_effort": "none"}),
        ({"thinking": "adaptive"}, {}),
        ({"thinking": "adaptive", "reasoning_effort": "high"}, {"reasoning_effort": "high"}),
        ({"thinking": "enabled", "thinking_budget": 100}, {"reasoning_effort": "low"}),
        ({"thinking": "enabled", "thinking_budget": 8191}, {"reasoning_effort": "low"}),
        ({"thinking": "enabled", "thinking_budget": 8192}, {"reasoning_effort": "medium"}),
        ({"thinking": "enabled", "thinking_budget": 24576}, {"reasoning_effort": "high"}),
        ({"shows_thinking": True}, {}),
        ({"verbosity": "low"}, {"verbosity": "low"}),
    ],
)
def test_openai(provider: StandIn, wish: dict[str, Any], sent: dict[str, Any]) -> None:
    assert body_of(provider, "openai", thinker(**wish)) == {**body_of(provider, "openai", thinker()), **sent}


@pytest.mark.parametrize(
    ("model", "asked", "sent"),
    [
        ("o3-mini", "none", "low"),
        ("o4-mini", "max", "high"),
        ("gpt-5-mini", "none", "minimal"),
        ("gpt-5-mini", "xhigh", "high"),
        ("gpt-5.1", "minimal", "low"),
        ("gpt-5.1", "max", "high"),
        ("gpt-5.6-luna", "max", "xhigh"),
        ("gpt-5.6-luna", "none", "none"),
        ("gpt-6-astra", "none", "low"),
        ("gpt-6.1-sol", "minimal", "low"),
        ("gpt-6.1-terra", "none", "none"),
        ("gpt-6-luna", "max", "max"),
    ],
)
def test_what_a_model_of_openais_does_not_know_becomes_the_nearest_that_it_does(
    provider: StandIn, model: str, asked: str, sent: str
) -> None:
    assert body_of(provider, "openai", thinker(model, reasoning_effort=asked))["reasoning_effort"] == sent


@pytest.mark.parametrize(
    ("model", "asked", "sent"),
    [
        ("gpt-6-luna", "", "none"),
        ("gpt-6-luna", "high", "none"),
        ("gpt-5.6-terra", "", "none"),
        ("gpt-6-astra", "high", "high"),
        ("gpt-6-astra", "", None),
        ("gpt-5.1", "high", "high"),
        ("gpt-5.1", "", None),
        ("o3", "low", "low"),
    ],
)
def test_models_of_openais_that_have_no_tools_while_they_think(
    provider: StandIn, model: str, asked: str, sent: str | None
) -> None:
    """Chat completions would refuse the request, for the default effort too."""
    body = body_of(provider, "openai", thinker(model, reasoning_effort=asked, tools=(TOOL,)))
    assert body.get("reasoning_effort") == sent


@pytest.mark.parametrize(
    ("model", "asked", "sent"),
    [
        ("grok-4.7", "none", "low"),
        ("grok-4.7", "medium", "medium"),
        ("grok-4.7", "max", "high"),
        ("grok-4.7", "", None),
        ("grok-4", "high", None),
        ("grok-4-0709", "high", None),
        ("grok-4.20-reasoning", "high", None),
    ],
)
def test_grok(provider: StandIn, model: str, asked: str, sent: str | None) -> None:
    body = body_of(provider, "grok", thinker(model, reasoning_effort=asked, verbosity="low"))
    assert (body.get("reasoning_effort"), body.get("verbosity")) == (sent, None)


@pytest.mark.parametrize(
    ("wish", "sent"),
    [
        ({"reasoning_effort": "minimal"}, {"reasoning_effort": "minimal"}),
        ({"reasoning_effort": "none"}, {"thinking": {"type": "disabled"}}),
        ({"thinking": "disabled"}, {"thinking": {"type": "disabled"}}),
        ({"thinking": "adaptive"}, {"thinking": {"type": "enabled"}}),
        (
            {"thinking": "enabled", "thinking_budget": 9000},
            {"thinking": {"type": "enabled"}, "reasoning_effort": "medium"},
        ),
        ({"verbosity": "low"}, {}),
    ],
)
def test_deepseek(provider: StandIn, wish: dict[str, Any], sent: dict[str, Any]) -> None:
    assert body_of(provider, "deepseek", thinker(**wish)) == {**body_of(provider, "deepseek", thinker()), **sent}


def test_other_hosts_get_the_effort_as_it_is(provider: StandIn) -> None:
    assert body_of(provider, "llama", thinker(reasoning_effort="minimal"))["reasoning_effort"] == "minimal"
    assert body_of(provider, "llama", thinker(thinking="disabled"))["reasoning_effort"] == "none"
    assert body_of(provider, "llama", thinker(verbosity="low")) == body_of(provider, "llama", thinker())


# Anthropic -----------------------------------------------------------------------------------------------------------

ADAPTIVE = {"type": "adaptive"}
SHOWN = {"type": "adaptive", "display": "summarized"}
DISABLED = {"type": "disabled"}
BETWEEN = {"type": "between_tools"}


def budget(tokens: int) -> dict[str, Any]:
    return {"type": "enabled", "budget_tokens": tokens}


@pytest.mark.parametrize(
    ("model", "wish", "thinking", "effort"),
    [
        # The newest models think as they see fit, and are told how hard.
        ("claude-opus-5-5", {}, None, None),
        ("claude-opus-5-5", {"reasoning_effort": "minimal"}, ADAPTIVE, "low"),
        ("claude-opus-5-5", {"reasoning_effort": "xhigh"}, ADAPTIVE, "xhigh"),
        ("claude-opus-5-5", {"thinking": "adaptive"}, ADAPTIVE, None),
        ("claude-opus-5-5", {"thinking": "adaptive", "reasoning_effort": "max"}, ADAPTIVE, "max"),
        ("claude-opus-5-5", {"thinking": "enabled", "thinking_budget": 9000}, ADAPTIVE, "medium"),
        ("claude-opus-5-5", {"thinking": "enabled"}, ADAPTIVE, None),
        ("claude-opus-5-5", {"shows_thinking": True}, SHOWN, None),
        ("claude-opus-5-5", {"thinking": "adaptive", "shows_thinking": True}, SHOWN, None),
        # Some can't be told not to think.
        ("claude-opus-5-5", {"thinking": "disabled"}, None, "low"),
        ("claude-fable-5-1", {"reasoning_effort": "none"}, None, "low"),
        ("claude-sonnet-5-5", {"thinking": "disabled"}, BETWEEN, None),
        ("claude-sonnet-5-5", {"thinking": "disabled", "reasoning_effort": "max"}, BETWEEN, "high"),
        ("claude-haiku-5-5", {"reasoning_effort": "none"}, DISABLED, None),
        ("claude-haiku-5-5", {"thinking": "disabled", "reasoning_effort": "xhigh"}, DISABLED, "high"),
        # Some think only when told to, which showing is not.
        ("claude-opus-4-8", {"shows_thinking": True}, None, None),
        ("claude-opus-4-8", {"reasoning_effort": "low", "shows_thinking": True}, SHOWN, "low"),
        # Some take a budget as well, and know no xhigh.
        ("claude-sonnet-4-6", {"thinking": "enabled", "thinking_budget": 9000}, budget(9000), None),
        (
            "claude-sonnet-4-6",
            {"thinking": "enabled", "thinking_budget": 9000, "reasoning_effort": "xhigh"},
            budget(9000),
            "high",
        ),
        ("claude-sonnet-4-6", {"thinking": "enabled", "thinking_budget": 1000}, None, None),
        ("claude-opus-4-6", {"reasoning_effort": "xhigh"}, ADAPTIVE, "high"),
        ("claude-opus-4-6", {"reasoning_effort": "max"}, ADAPTIVE, "max"),
        # The older ones know nothing but a budget.
        ("claude-haiku-4-5", {}, None, None),
        ("claude-haiku-4-5", {"shows_thinking": True}, None, None),
        ("claude-haiku-4-5", {"reasoning_effort": "low"}, budget(1024), None),
        ("claude-haiku-4-5", {"reasoning_effort": "high", "shows_thinking": True}, budget(24576), None),
        ("claude-haiku-4-5", {"reasoning_effort": "max"}, budget(32000), None),
        ("claude-haiku-4-5", {"thinking": "adaptive"}, budget(8192), None),
        ("claude-haiku-4-5", {"thinking": "enabled", "thinking_budget": 1024}, budget(1024), None),
        ("claude-haiku-4-5", {"thinking": "enabled", "thinking_budget": 1023}, None, None),
        ("claude-haiku-4-5", {"thinking": "enabled", "thinking_budget": 64_000}, budget(63_999), None),
        ("claude-haiku-4-5", {"thinking": "disabled"}, DISABLED, None),
        ("claude-opus-4-20250514", {"reasoning_effort": "medium"}, budget(8192), None),
        # An effort leaves half of max_tokens to the answer, and none is left to think with where that is too little.
        ("claude-haiku-4-5", {"reasoning_effort": "high", "max_tokens": 4000}, budget(2000), None),
        ("claude-haiku-4-5", {"reasoning_effort": "high", "max_tokens": 2000}, None, None),
        ("claude-haiku-4-5", {"thinking": "enabled", "thinking_budget": 5000, "max_tokens": 1025}, budget(1024), None),
        ("claude-haiku-4-5", {"thinking": "enabled", "thinking_budget": 5000, "max_tokens": 1024}, None, None),
        # Nobody thinks before a call that is forced.
        ("claude-opus-5", {"reasoning_effort": "low", "tools": (TOOL,), "tool_choice": "required"}, None, "low"),
        ("claude-haiku-4-5", {"reasoning_effort": "low", "tools": (TOOL,), "tool_choice": "weather"}, None, None),
        (
            "claude-sonnet-4-6",
            {"thinking": "enabled", "thinking_budget": 2000, "tools": (TOOL,), "tool_choice": "required"},
            None,
            None,
        ),
        ("claude-opus-5", {"reasoning_effort": "low", "tools": (TOOL,), "tool_choice": "auto"}, ADAPTIVE, "low"),
    ],
)
def test_anthropic(
    provider: StandIn, model: str, wish: dict[str, Any], thinking: dict[str, Any] | None, effort: str | None
) -> None:
    body = body_of(provider, "anthropic", thinker(model, **wish))
    assert body.get("thinking") == thinking
    assert body.get("output_config") == ({"effort": effort} if effort else None)


def test_an_effort_stands_beside_a_schema(provider: StandIn) -> None:
    schema = {"type": "object", "properties": {}, "additionalProperties": False}
    body = body_of(provider, "anthropic", thinker("claude-opus-5-5", reasoning_effort="low", response_schema=schema))
    assert body["output_config"] == {"effort": "low", "format": {"type": "json_schema", "schema": schema}}


# Google --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "wish", "config"),
    [
        ("gemini-4-argon", {}, None),
        ("gemini-4-argon", {"shows_thinking": True}, {"include_thoughts": True}),
        ("gemini-4-argon", {"reasoning_effort": "none"}, {"thinking_level": "LOW"}),
        ("gemini-4-argon", {"reasoning_effort": "minimal"}, {"thinking_level": "LOW"}),
        ("gemini-3.8-flash", {"reasoning_effort": "medium"}, {"thinking_level": "MEDIUM"}),
        ("gemini-3.8-flash", {"reasoning_effort": "max"}, {"thinking_level": "HIGH"}),
        ("gemini-3.8-flash", {"thinking": "disabled"}, {"thinking_level": "LOW"}),
        ("gemini-3.8-flash", {"thinking": "adaptive"}, None),
        (
            "gemini-3.8-flash",
            {"thinking": "enabled", "thinking_budget": 9000, "shows_thinking": True},
            {"thinking_level": "MEDIUM", "include_thoughts": True},
        ),
        ("gemini-2.5-flash", {}, None),
        ("gemini-2.5-flash", {"reasoning_effort": "none"}, {"thinking_budget": 0}),
        ("gemini-2.5-flash", {"reasoning_effort": "high"}, {"thinking_budget": 24576}),
        ("gemini-2.5-flash", {"reasoning_effort": "high", "max_tokens": 1000}, {"thinking_budget": 500}),
        ("gemini-2.5-flash", {"thinking": "adaptive"}, {"thinking_budget": -1}),
        ("gemini-2.5-flash", {"thinking": "enabled", "thinking_budget": 60_000}, {"thinking_budget": 24576}),
        (
            "gemini-2.5-flash",
            {"thinking": "enabled", "thinking_budget": 900, "max_tokens": 900},
            {"thinking_budget": 899},
        ),
        ("gemini-2.5-flash-lite", {"thinking": "enabled", "thinking_budget": 100}, None),
        ("gemini-2.5-flash-lite", {"thinking": "disabled"}, {"thinking_budget": 0}),
        ("gemini-2.5-pro", {"thinking": "disabled"}, {"thinking_budget": 128}),
        ("gemini-2.5-pro", {"thinking": "disabled", "max_tokens": 100}, None),
        ("gemini-2.5-pro", {"reasoning_effort": "max", "max_tokens": 70_000}, {"thinking_budget": 32768}),
    ],
)
def test_google(provider: StandIn, model: str, wish: dict[str, Any], config: dict[str, Any] | None) -> None:
    sent = body_of(provider, "google", thinker(model, **wish))["generationConfig"].get("thinkingConfig")
    assert sent == config


# always --------------------------------------------------------------------------------------------------------------

MODELS = st.sampled_from(
    [
        "claude-opus-5-5",
        "claude-sonnet-5-5",
        "claude-opus-4-8",
        "claude-sonnet-4-6",
        "claude-haiku-4-5",
        "gemini-4-argon",
        "gemini-2.5-pro",
        "gemini-2.5-flash",
        "gemini-2.5-flash-lite",
        "gpt-6-luna",
        "model-1",
    ]
)


@given(
    model=MODELS,
    max_tokens=st.integers(1, 200_000),
    effort=st.sampled_from(["", *reasoning.SCALE]),
    kind=st.sampled_from(["", "enabled", "adaptive", "disabled"]),
    tokens=st.none() | st.integers(0, 300_000),
)
def test_a_budget_stays_below_max_tokens(
    model: str, max_tokens: int, effort: str, kind: str, tokens: int | None
) -> None:
    call = thinker(model, max_tokens=max_tokens, reasoning_effort=effort, thinking=kind, thinking_budget=tokens)
    thinking, said = reasoning.for_anthropic(call)
    if thinking and "budget_tokens" in thinking:
        assert 1024 <= thinking["budget_tokens"] < max_tokens
    assert said in ("", "low", "medium", "high", "xhigh", "max")
    google = reasoning.for_google(call)
    assert -1 <= google.get("thinking_budget", 0) < max_tokens
    assert not {"thinking_budget", "thinking_level"} <= google.keys()
    for name in ("openai", "grok", "deepseek", "llama"):
        assert reasoning.for_openai(name, call).get("reasoning_effort", "low") in reasoning.SCALE


@given(effort=st.sampled_from(reasoning.SCALE), known=st.sets(st.sampled_from(reasoning.SCALE), min_size=1))
def test_the_nearest_effort(effort: str, known: set[str]) -> None:
    chosen = reasoning.nearest(effort, sorted(known))
    assert chosen in known
    assert (chosen == effort) is (effort in known)
