"""Prompts, settings and thinking in Anthropic's protocol, on models of every family."""

from __future__ import annotations

from typing import Any

import pytest

from llm.models import LLM
from tests.catalogue import make_llm
from tests.compat.clients import HELLO, OSLO, WEATHER, Clients
from tests.people import Person
from tests.providers.standins import StandIn, answer

TOOL: dict[str, Any] = {"name": "weather", "description": "How it is there.", "input_schema": WEATHER}
MARK = {"cache_control": {"type": "ephemeral", "ttl": "5m"}}


def test_what_is_marked_for_the_cache_arrives_marked(
    clients: Clients, alice: Person, models: dict[str, LLM], paid: StandIn
) -> None:
    clients.anthropic(alice).messages.create(
        model=str(models["anthropic"]),
        max_tokens=100,
        system=[
            {"type": "text", "text": "A long rule.", "cache_control": {"type": "ephemeral", "ttl": "1h"}},
            {"type": "text", "text": "A short one."},
        ],
        tools=[{**TOOL, **MARK}],
        messages=[{"role": "user", "content": [{"type": "text", "text": "Hi", **MARK}]}],
    )
    body = paid.requests[0].body
    assert body["system"] == [
        {"type": "text", "text": "A long rule.", "cache_control": {"type": "ephemeral", "ttl": "1h"}},
        {"type": "text", "text": "A short one."},
    ]
    assert body["tools"] == [{**TOOL, **MARK}]
    assert body["messages"] == [{"role": "user", "content": [{"type": "text", "text": "Hi", **MARK}]}]


def test_the_whole_prompt_may_be_cached(clients: Clients, alice: Person, models: dict[str, LLM], paid: StandIn) -> None:
    clients.anthropic(alice).messages.create(
        model=str(models["anthropic"]), max_tokens=100, messages=HELLO, cache_control={"type": "ephemeral"}
    )
    assert paid.requests[0].body["messages"][0]["content"] == [{"type": "text", "text": "Hello", **MARK}]


def test_instructions_in_the_middle(clients: Clients, alice: Person, model: str, vendor: str, paid: StandIn) -> None:
    turns: list[Any] = [*HELLO, {"role": "system", "content": "Be kind."}, {"role": "user", "content": "Well?"}]
    clients.anthropic(alice).messages.create(model=model, max_tokens=9, system="Be brief.", messages=turns)
    body = paid.requests[0].body
    sent = {
        "openai": lambda: body["messages"][0]["content"],
        "anthropic": lambda: "\n\n".join(part["text"] for part in body["system"]),
        "google": lambda: body["systemInstruction"]["parts"][0]["text"],
    }[vendor]()
    assert sent == "Be brief.\n\nBe kind."


def test_settings_reach_the_vendor(clients: Clients, alice: Person, models: dict[str, LLM], paid: StandIn) -> None:
    sampling = {"temperature": 0.25, "top_k": 5}
    clients.anthropic(alice).messages.create(
        model=str(models["anthropic"]),
        max_tokens=77,
        messages=HELLO,
        stop_sequences=["END"],
        extra_body=sampling,
    )
    body = paid.requests[0].body
    assert (body["max_tokens"], body["stop_sequences"], body["temperature"], body["top_k"]) == (77, ["END"], 0.25, 5)
    assert body["model"] == "anthropic-test"


def test_the_stop_sequence_that_was_met(clients: Clients, alice: Person, models: dict[str, LLM], paid: StandIn) -> None:
    paid.answer("One", stop_sequence="END")
    client = clients.anthropic(alice)
    asked: dict[str, Any] = {"model": str(models["anthropic"]), "max_tokens": 9, "stop_sequences": ["END"]}
    message = client.messages.create(**asked, messages=HELLO)
    assert (message.stop_reason, message.stop_sequence) == ("stop_sequence", "END")
    with client.messages.stream(**asked, messages=HELLO) as stream:
        message = stream.get_final_message()
    assert (message.stop_reason, message.stop_sequence) == ("stop_sequence", "END")


@pytest.mark.parametrize(("finish", "reason"), [("length", "max_tokens"), ("content_filter", "refusal")])
def test_why_it_stopped(clients: Clients, alice: Person, model: str, paid: StandIn, finish: str, reason: str) -> None:
    paid.answer("And", finish_reason=finish)
    message = clients.anthropic(alice).messages.create(model=model, max_tokens=9, messages=HELLO)
    assert message.stop_reason == reason


@pytest.fixture
def claude(db: None) -> str:
    return str(make_llm("anthropic", "claude-opus-4-8", supports_reasoning=True))


@pytest.mark.parametrize("streams", [False, True])
def test_thinking_goes_back_unchanged(
    clients: Clients, alice: Person, claude: str, paid: StandIn, streams: bool
) -> None:
    thought = {"reasoning_chunks": ["I ", "look."], "signature": "c2VjcmV0", "redacted": "Y2lwaGVy"}
    paid.script(answer("So:", tool_calls=[OSLO], finish_reason="tool_calls", **thought), answer("Rain."))
    client = clients.anthropic(alice)
    asked: dict[str, Any] = {
        "model": claude,
        "max_tokens": 2000,
        "tools": [TOOL],
        "thinking": {"type": "adaptive", "display": "summarized"},
    }
    if streams:
        with client.messages.stream(**asked, messages=HELLO) as stream:
            message = stream.get_final_message()
    else:
        message = client.messages.create(**asked, messages=HELLO)
    blocks = [
        {"type": "thinking", "thinking": "I look.", "signature": "c2VjcmV0"},
        {"type": "redacted_thinking", "data": "Y2lwaGVy"},
        {"type": "text", "text": "So:"},
        {"type": "tool_use", "id": "call_1", "name": "weather", "input": {"city": "Oslo"}},
    ]
    assert [block.model_dump(exclude_unset=True) for block in message.content] == blocks
    result: Any = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "call_1", "content": "rain"}]}
    client.messages.create(**asked, messages=[*HELLO, message.to_param(), result])
    assert paid.requests[1].body["messages"][1]["content"] == blocks
    assert paid.requests[1].body["thinking"] == {"type": "adaptive", "display": "summarized"}


def test_the_events_of_thinking(clients: Clients, alice: Person, claude: str, paid: StandIn) -> None:
    paid.answer("42", reasoning_chunks=["Six ", "by nine."], signature="c2VjcmV0", redacted="Y2lwaGVy")
    stream = clients.anthropic(alice).messages.create(
        model=claude, max_tokens=2000, messages=HELLO, thinking={"type": "adaptive"}, stream=True
    )
    events = [event.model_dump(exclude_unset=True) for event in stream][1:-2]
    assert events == [
        {
            "type": "content_block_start",
            "index": 0,
            "content_block": {"type": "thinking", "thinking": "", "signature": ""},
        },
        {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "Six "}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "by nine."}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": "c2VjcmV0"}},
        {"type": "content_block_stop", "index": 0},
        {
            "type": "content_block_start",
            "index": 1,
            "content_block": {"type": "redacted_thinking", "data": "Y2lwaGVy"},
        },
        {"type": "content_block_stop", "index": 1},
        {"type": "content_block_start", "index": 2, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 2, "delta": {"type": "text_delta", "text": "42"}},
        {"type": "content_block_stop", "index": 2},
    ]


def test_a_signature_is_passed_on_unasked(clients: Clients, alice: Person, claude: str, paid: StandIn) -> None:
    """Newer models think unless told not to, and want the proof of it back."""
    paid.answer("42", reasoning_chunks=[""], signature="c2VjcmV0")
    client = clients.anthropic(alice)
    plain = client.messages.create(model=claude, max_tokens=100, messages=HELLO)
    with client.messages.stream(model=claude, max_tokens=100, messages=HELLO) as stream:
        streamed = stream.get_final_message()
    for message in (plain, streamed):
        assert [block.model_dump(exclude_unset=True) for block in message.content] == [
            {"type": "thinking", "thinking": "", "signature": "c2VjcmV0"},
            {"type": "text", "text": "42"},
        ]


def test_the_thinking_of_others_is_shown_to_who_asks(clients: Clients, alice: Person, paid: StandIn) -> None:
    model = str(make_llm("deepseek", "deepseek-v4", supports_reasoning=True))
    paid.answer("42", reasoning_text="Six by nine.")
    client = clients.anthropic(alice)
    unasked = client.messages.create(model=model, max_tokens=2000, messages=HELLO)
    assert [block.type for block in unasked.content] == ["text"]
    asked = client.messages.create(
        model=model, max_tokens=2000, messages=HELLO, thinking={"type": "enabled", "budget_tokens": 1024}
    )
    assert [block.type for block in asked.content] == ["thinking", "text"]
    assert (asked.content[0].thinking, asked.content[0].signature) == ("Six by nine.", "")
    # It proves nothing to Claude, and is left out there.
    claude = str(make_llm("anthropic", "claude-opus-4-8", supports_reasoning=True))
    turns: list[Any] = [*HELLO, asked.to_param(), {"role": "user", "content": "Sure?"}]
    client.messages.create(model=claude, max_tokens=2000, messages=turns)
    assert paid.requests[-1].body["messages"][1]["content"] == [{"type": "text", "text": "42"}]


@pytest.mark.parametrize(
    ("thinking", "effort", "sent"),
    [
        ({"type": "adaptive"}, "high", ("adaptive", "high")),
        ({"type": "disabled"}, None, ("disabled", None)),
        ({"type": "between_tools"}, None, ("disabled", None)),
        ({"type": "enabled", "budget_tokens": 8192}, None, ("adaptive", "medium")),
    ],
)
def test_how_to_think(
    clients: Clients, alice: Person, claude: str, paid: StandIn, thinking: Any, effort: Any, sent: Any
) -> None:
    config: Any = {"output_config": {"effort": effort}} if effort else {}
    clients.anthropic(alice).messages.create(
        model=claude, max_tokens=10_000, messages=HELLO, thinking=thinking, **config
    )
    body = paid.requests[0].body
    assert (body["thinking"]["type"], body.get("output_config", {}).get("effort")) == sent
