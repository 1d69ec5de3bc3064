"""Settings, system prompts and thinking in OpenAI's protocol, on models of every family."""

from __future__ import annotations

from typing import Any

import pytest

from llm.models import LLM
from tests.catalogue import make_llm
from tests.compat.clients import HELLO, OSLO, WEATHER, Clients
from tests.people import Person
from tests.providers.standins import StandIn, answer

TOOL: dict[str, Any] = {
    "type": "function",
    "function": {"name": "weather", "description": "How it is there.", "parameters": WEATHER, "strict": True},
}


def test_settings_reach_openai(clients: Clients, alice: Person, models: dict[str, LLM], paid: StandIn) -> None:
    clients.openai(alice).chat.completions.create(
        model=str(models["openai"]),
        messages=HELLO,
        max_completion_tokens=77,
        temperature=0,
        top_p=0.5,
        seed=42,
        stop=["END", "FIN"],
        frequency_penalty=0.25,
        presence_penalty=-1,
    )
    body = paid.requests[0].body
    expected = {"max_completion_tokens": 77, "temperature": 0.0, "top_p": 0.5, "seed": 42, "stop": ["END", "FIN"]}
    assert {name: body[name] for name in expected} == expected
    assert (body["frequency_penalty"], body["presence_penalty"]) == (0.25, -1)


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ({"max_tokens": 50}, 50),
        ({"max_completion_tokens": 60}, 60),
        ({"max_tokens": 50, "max_completion_tokens": 60}, 60),
        ({}, 4096),
        ({"max_tokens": 1_000_000}, 8192),
    ],
)
def test_the_length_of_an_answer(
    clients: Clients, alice: Person, model: str, vendor: str, paid: StandIn, given: dict[str, int], sent: int
) -> None:
    """By either name, 4096 without one, and never more than the model can."""
    clients.openai(alice).chat.completions.create(model=model, messages=HELLO, **given)
    body = paid.requests[0].body
    asked = {
        "openai": body.get("max_completion_tokens"),
        "anthropic": body.get("max_tokens"),
        "google": body.get("generationConfig", {}).get("maxOutputTokens"),
    }
    assert asked[vendor] == sent


def test_a_stop_sequence(clients: Clients, alice: Person, model: str, vendor: str, paid: StandIn) -> None:
    clients.openai(alice).chat.completions.create(model=model, messages=HELLO, stop="END", seed=7)
    body = paid.requests[0].body
    config = body.get("generationConfig", {})
    sent = {"openai": body.get("stop"), "anthropic": body.get("stop_sequences"), "google": config.get("stopSequences")}
    assert sent[vendor] == ["END"]
    # Anthropic knows no seed: it is left out.
    assert {"openai": body.get("seed"), "anthropic": None, "google": config.get("seed")}[vendor] == (
        None if vendor == "anthropic" else 7
    )
    assert "seed" not in body or vendor == "openai"


def test_an_answer_that_is_cut_off(clients: Clients, alice: Person, model: str, paid: StandIn) -> None:
    paid.answer("And then", finish_reason="length")
    completion = clients.openai(alice).chat.completions.create(model=model, messages=HELLO, max_tokens=2)
    assert completion.choices[0].finish_reason == "length"


def test_an_answer_that_is_withheld(clients: Clients, alice: Person, model: str, paid: StandIn) -> None:
    paid.answer("", finish_reason="content_filter")
    completion = clients.openai(alice).chat.completions.create(model=model, messages=HELLO)
    assert (completion.choices[0].finish_reason, completion.choices[0].message.content) == ("content_filter", "")


def test_system_prompts_and_their_cache_marks(
    clients: Clients, alice: Person, models: dict[str, LLM], paid: StandIn
) -> None:
    """Cache marks in OpenAI's protocol, as many clients write them, arrive at Anthropic as its own."""
    messages: list[Any] = [
        {"role": "system", "content": [{"type": "text", "text": "Long.", "cache_control": {"type": "ephemeral"}}]},
        {"role": "developer", "content": "Be brief."},
        *HELLO,
    ]
    clients.openai(alice).chat.completions.create(model=str(models["anthropic"]), messages=messages)
    assert paid.requests[0].body["system"] == [
        {"type": "text", "text": "Long.", "cache_control": {"type": "ephemeral", "ttl": "5m"}},
        {"type": "text", "text": "Be brief."},
    ]


@pytest.fixture
def thinking_models(models: dict[str, LLM]) -> dict[str, LLM]:
    names = {"openai": "gpt-6-luna", "anthropic": "claude-opus-5-5", "google": "gemini-4-argon", "deepseek": "v4"}
    return {name: make_llm(name, model, supports_reasoning=True) for name, model in names.items()}


def test_how_hard_to_think(clients: Clients, alice: Person, thinking_models: Any, vendor: str, paid: StandIn) -> None:
    paid.answer("42", reasoning_text="Six by nine.", usage={"input": 10, "output": 5, "reasoning": 20})
    completion = clients.openai(alice).chat.completions.create(
        model=str(thinking_models[vendor]), messages=HELLO, reasoning_effort="high"
    )
    body = paid.requests[0].body
    sent = {
        "openai": lambda: body["reasoning_effort"],
        "anthropic": lambda: body["output_config"]["effort"],
        "google": lambda: body["generationConfig"]["thinkingConfig"]["thinking_level"].lower(),
    }[vendor]()
    assert sent == "high"
    assert completion.usage.completion_tokens == 25
    assert completion.usage.completion_tokens_details.reasoning_tokens == 20
    assert completion.usage.cost == "0.00006"
    assert completion.choices[0].message.reasoning_content == "Six by nine."


@pytest.mark.parametrize("streams", [False, True])
def test_claudes_signed_thinking_goes_back_unchanged(
    clients: Clients, alice: Person, thinking_models: Any, paid: StandIn, streams: bool
) -> None:
    """As OpenRouter's ``reasoning_details``, which the SDK keeps on the message it accumulates."""
    model = str(thinking_models["anthropic"])
    thought = {"reasoning_chunks": ["I ", "look."], "signature": "c2VjcmV0", "redacted": "Y2lwaGVy"}
    paid.script(answer("", tool_calls=[OSLO], finish_reason="tool_calls", **thought), answer("Rain."))
    create = clients.openai(alice).chat.completions
    asked: dict[str, Any] = {"model": model, "messages": HELLO, "tools": [TOOL], "reasoning_effort": "high"}
    if streams:
        with create.stream(**asked) as stream:
            message = stream.get_final_completion().choices[0].message
    else:
        message = create.create(**asked).choices[0].message
    assert message.reasoning_content == "I look."
    assert [(d["type"], d.get("text"), d.get("signature"), d.get("data")) for d in message.reasoning_details] == [
        ("reasoning.text", "I look.", "c2VjcmV0", None),
        ("reasoning.encrypted", None, None, "Y2lwaGVy"),
    ]
    result: Any = {"role": "tool", "tool_call_id": "call_1", "content": "rain"}
    create.create(**{**asked, "messages": [*HELLO, message, result]})
    assert paid.requests[1].body["messages"][1]["content"] == [
        {"type": "thinking", "thinking": "I look.", "signature": "c2VjcmV0"},
        {"type": "redacted_thinking", "data": "Y2lwaGVy"},
        {"type": "tool_use", "id": "call_1", "name": "weather", "input": {"city": "Oslo"}},
    ]


def test_deepseeks_thinking_before_a_call_goes_back(
    clients: Clients, alice: Person, thinking_models: Any, paid: StandIn
) -> None:
    model = str(thinking_models["deepseek"])
    paid.script(answer("", tool_calls=[OSLO], finish_reason="tool_calls", reasoning_text="I look."), answer("Rain."))
    client = clients.openai(alice)
    message = client.chat.completions.create(model=model, messages=HELLO, tools=[TOOL]).choices[0].message
    result: Any = {"role": "tool", "tool_call_id": "call_1", "content": "rain"}
    client.chat.completions.create(model=model, messages=[*HELLO, message, result], tools=[TOOL])
    assert paid.requests[1].body["messages"][1]["reasoning_content"] == "I look."
