"""What a client may set, as each vendor gets it; what a vendor does not know is left out."""

from __future__ import annotations

from typing import Any

import pytest

from llm.types import ChatMessage, TextPart
from tests.providers.calling import body_of
from tests.providers.standins import StandIn

COMPATIBLE = ("openai", "grok", "deepseek", "llama")
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOL = {"name": "weather", "description": "The weather", "parameters": PARAMETERS, "strict": True}
SAMPLING = {
    "temperature": 0.3,
    "top_p": 0.9,
    "top_k": 40,
    "seed": 7,
    "frequency_penalty": 0.5,
    "presence_penalty": -0.5,
}


def only(body: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: body[name] for name in names if name in body}


# sampling ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", COMPATIBLE)
def test_sampling_at_openai(provider: StandIn, name: str) -> None:
    expected = {name: value for name, value in SAMPLING.items() if name != "top_k"}
    assert only(body_of(provider, name, **SAMPLING), *SAMPLING) == expected


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("openai", ["seed"]),
        ("grok", ["temperature", "top_p", "seed"]),
        ("deepseek", ["temperature", "top_p", "seed", "frequency_penalty", "presence_penalty"]),
    ],
)
def test_sampling_of_reasoning_models(provider: StandIn, name: str, kept: list[str]) -> None:
    """The rest would be refused."""
    body = body_of(provider, name, **SAMPLING, is_reasoning=True)
    assert only(body, *SAMPLING) == {name: SAMPLING[name] for name in kept}


def test_sampling_at_anthropic(provider: StandIn) -> None:
    """Several models refuse temperature and top_p together."""
    assert only(body_of(provider, "anthropic", **SAMPLING), *SAMPLING) == {"temperature": 0.3, "top_k": 40}
    assert body_of(provider, "anthropic", temperature=1.7)["temperature"] == 1  # the highest it takes
    without = {**SAMPLING, "temperature": None}
    assert only(body_of(provider, "anthropic", **without), *SAMPLING) == {"top_p": 0.9, "top_k": 40}
    assert only(body_of(provider, "anthropic", **SAMPLING, is_reasoning=True), *SAMPLING) == {}


@pytest.mark.parametrize("is_reasoning", [False, True])
def test_sampling_at_google(provider: StandIn, is_reasoning: bool) -> None:
    assert body_of(provider, "google", **SAMPLING, is_reasoning=is_reasoning)["generationConfig"] == {
        "maxOutputTokens": 100,
        "temperature": 0.3,
        "topP": 0.9,
        "topK": 40.0,
        "seed": 7,
        "frequencyPenalty": 0.5,
        "presencePenalty": -0.5,
    }


@pytest.mark.parametrize("name", ["openai", "anthropic", "google"])
def test_zero_is_a_value_like_any_other(provider: StandIn, name: str) -> None:
    body = body_of(provider, name, temperature=0.0, seed=0)
    settings = body["generationConfig"] if name == "google" else body
    assert settings["temperature"] == 0.0
    assert settings.get("seed") == (None if name == "anthropic" else 0)


# JSON ----------------------------------------------------------------------------------------------------------------

SCHEMA = {"type": "object", "properties": {}, "additionalProperties": False}


@pytest.mark.parametrize("name", COMPATIBLE)
def test_a_json_object_at_openai(provider: StandIn, name: str) -> None:
    """It is refused where the prompt does not speak of JSON."""
    body = body_of(provider, name, system="Be brief.", json_object=True)
    assert body["response_format"] == {"type": "json_object"}
    assert body["messages"][0] == {"role": "system", "content": "Be brief.\n\nAnswer with a JSON object."}
    body = body_of(provider, name, messages=(ChatMessage("user", "Say hi in JSON."),), json_object=True)
    assert body["messages"] == [{"role": "user", "content": "Say hi in JSON."}]


def test_a_json_object_at_anthropic(provider: StandIn) -> None:
    """It knows no JSON without a schema, so the prompt asks for it, after whatever is cached."""
    asked = "Answer with a JSON object and nothing else."
    assert body_of(provider, "anthropic", json_object=True)["system"] == asked
    assert body_of(provider, "anthropic", system="Be brief.", json_object=True)["system"] == f"Be brief.\n\n{asked}"
    parts = (TextPart("Be brief.", cache="5m"),)
    body = body_of(provider, "anthropic", system="Be brief.", system_parts=parts, json_object=True)
    assert body["system"] == [
        {"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral", "ttl": "5m"}},
        {"type": "text", "text": asked},
    ]
    assert "output_config" not in body


def test_a_json_object_at_google(provider: StandIn) -> None:
    config = body_of(provider, "google", json_object=True)["generationConfig"]
    assert config == {"maxOutputTokens": 100, "responseMimeType": "application/json"}


@pytest.mark.parametrize("name", ["openai", "anthropic", "google"])
def test_a_schema_says_more_than_any_object(provider: StandIn, name: str) -> None:
    both = body_of(provider, name, json_object=True, response_schema=SCHEMA)
    assert both == body_of(provider, name, response_schema=SCHEMA)


@pytest.mark.parametrize(
    ("given", "sent"),
    [("", "answer"), ("weather_v2", "weather_v2"), ("My schema.", "My_schema_"), ("x" * 70, "x" * 64)],
)
def test_the_name_of_a_schema(provider: StandIn, given: str, sent: str) -> None:
    body = body_of(provider, "openai", response_schema=SCHEMA, schema_name=given)
    assert body["response_format"]["json_schema"]["name"] == sent


# tools ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", COMPATIBLE)
def test_parallel_tool_calls_at_openai(provider: StandIn, name: str) -> None:
    assert body_of(provider, name, tools=(TOOL,), parallel_tool_calls=False)["parallel_tool_calls"] is False
    assert body_of(provider, name, tools=(TOOL,), parallel_tool_calls=True)["parallel_tool_calls"] is True
    assert "parallel_tool_calls" not in body_of(provider, name, tools=(TOOL,))
    assert "parallel_tool_calls" not in body_of(provider, name, parallel_tool_calls=False)


@pytest.mark.parametrize(
    ("choice", "sent"),
    [
        ("", {"type": "auto", "disable_parallel_tool_use": True}),
        ("auto", {"type": "auto", "disable_parallel_tool_use": True}),
        ("required", {"type": "any", "disable_parallel_tool_use": True}),
        ("weather", {"type": "tool", "name": "weather", "disable_parallel_tool_use": True}),
        ("none", {"type": "none"}),
    ],
)
def test_one_tool_call_at_a_time_at_anthropic(provider: StandIn, choice: str, sent: dict[str, Any]) -> None:
    fields = {"tools": (TOOL,), "tool_choice": choice, "parallel_tool_calls": False}
    assert body_of(provider, "anthropic", **fields)["tool_choice"] == sent


def test_parallel_tool_calls_are_the_default_at_anthropic(provider: StandIn) -> None:
    assert "tool_choice" not in body_of(provider, "anthropic", tools=(TOOL,), parallel_tool_calls=True)
    body = body_of(provider, "anthropic", tools=(TOOL,), tool_choice="required", parallel_tool_calls=True)
    assert body["tool_choice"] == {"type": "any"}


@pytest.mark.parametrize("choice", ["required", "weather"])
@pytest.mark.parametrize(
    ("model", "is_auto"),
    [
        ("claude-opus-5-5", True),
        ("claude-sonnet-5-5", True),
        ("claude-fable-5-1", True),
        ("claude-haiku-5-5", False),
        ("claude-opus-5", False),
    ],
)
def test_models_that_no_call_can_be_forced_from(provider: StandIn, model: str, is_auto: bool, choice: str) -> None:
    """They would refuse the request."""
    body = body_of(provider, "anthropic", model=model, tools=(TOOL,), tool_choice=choice)
    assert (body["tool_choice"] == {"type": "auto"}) is is_auto


def test_parallel_tool_calls_are_nothing_to_google(provider: StandIn) -> None:
    body = body_of(provider, "google", tools=(TOOL,), parallel_tool_calls=False)
    assert body == body_of(provider, "google", tools=(TOOL,))


@pytest.mark.parametrize("name", COMPATIBLE)
def test_strict_tools_at_openai_alone(provider: StandIn, name: str) -> None:
    function = body_of(provider, name, tools=(TOOL,))["tools"][0]["function"]
    assert function.pop("strict", None) is (True if name == "openai" else None)
    assert function == {"name": "weather", "description": "The weather", "parameters": PARAMETERS}


def test_strict_tools_at_anthropic_and_google(provider: StandIn) -> None:
    loose = {**TOOL, "strict": False}
    tool = {"name": "weather", "description": "The weather", "input_schema": PARAMETERS}
    assert body_of(provider, "anthropic", tools=(TOOL, loose))["tools"] == [{**tool, "strict": True}, tool]
    declared = {"name": "weather", "description": "The weather", "parameters_json_schema": PARAMETERS}
    assert body_of(provider, "google", tools=(TOOL,))["tools"] == [{"functionDeclarations": [declared]}]
