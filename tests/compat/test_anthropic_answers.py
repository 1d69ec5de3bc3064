"""``POST /v1/messages`` through Anthropic's own SDK, on models of every family: plain, streamed, and its usage."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

from conversations.models import Message
from llm.models import LLM
from tests.api.asking import balance, the_log
from tests.compat.clients import HELLO, WEATHER, Clients, lines_of
from tests.people import Person
from tests.providers.standins import StandIn

TOOL: dict[str, Any] = {"name": "weather", "description": "How it is there.", "input_schema": WEATHER}


def test_a_plain_answer(clients: Clients, alice: Person, model: str, vendor: str, paid: StandIn) -> None:
    paid.answer("Four.")
    raw = clients.anthropic(alice).messages.with_raw_response.create(model=model, messages=HELLO, max_tokens=100)
    message = raw.parse()
    stored = Message.objects.get(workspace=alice.workspace, role="assistant")
    assert message.model_dump(exclude_unset=True) == {
        "id": f"msg_{stored.pk.hex}",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [{"type": "text", "text": "Four."}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {
            "input_tokens": 10,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
            "output_tokens": 5,
            "output_tokens_details": {"thinking_tokens": 0},
            "cost": "0.00002",
            "is_byok": False,
            "cost_details": {"upstream_inference_cost": "0.00002"},
            "is_estimate": False,
        },
    }
    assert raw.headers["request-id"] == message._request_id
    assert raw.headers["x-synapscale-response-cost"] == "0.00002"
    assert raw.headers["x-synapscale-model"] == model
    assert raw.headers["x-synapscale-attempts"] == "1"
    assert balance(alice.workspace) == Decimal("0.99998")
    assert paid.requests[0].key == f"sk-house-{vendor}-0123456789abcdef"


def test_the_demo(clients: Clients, alice: Person, models: dict[str, LLM], paid: StandIn) -> None:
    message = clients.anthropic(alice).messages.create(model=str(models["demo"]), messages=HELLO, max_tokens=100)
    assert message.content[0].text == "This is the demo provider: no model was called. You wrote: Hello"
    assert (message.usage.input_tokens, message.usage.output_tokens, message.usage.cost) == (2, 16, "0.000034")


def test_a_stream(clients: Clients, alice: Person, model: str, paid: StandIn) -> None:
    paid.answer("One two 😀.")
    stream = clients.anthropic(alice).messages.create(model=model, messages=HELLO, max_tokens=100, stream=True)
    events = [event.model_dump(exclude_unset=True) for event in stream]
    stored = Message.objects.get(workspace=alice.workspace, role="assistant")

    def delta(text: str) -> dict[str, Any]:
        return {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}

    assert events == [
        {
            "type": "message_start",
            "message": {
                "id": f"msg_{stored.pk.hex}",
                "type": "message",
                "role": "assistant",
                "model": model,
                "content": [],
                "stop_reason": None,
                "stop_sequence": None,
                "usage": {
                    "input_tokens": stored.call["terms"]["prompt_tokens"],
                    "cache_creation_input_tokens": 0,
                    "cache_read_input_tokens": 0,
                    "output_tokens": 1,
                },
            },
        },
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        *map(delta, ("One", " two", " 😀.")),
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn", "stop_sequence": None},
            "usage": {
                "input_tokens": 10,
                "cache_creation_input_tokens": 0,
                "cache_read_input_tokens": 0,
                "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
                "output_tokens": 5,
                "output_tokens_details": {"thinking_tokens": 0},
                "cost": "0.00002",
                "is_byok": False,
                "cost_details": {"upstream_inference_cost": "0.00002"},
                "is_estimate": False,
            },
        },
        {"type": "message_stop"},
    ]
    assert balance(alice.workspace) == Decimal("0.99998")


def test_a_stream_on_the_wire(clients: Clients, alice: Person, model: str, paid: StandIn) -> None:
    """Each event is named as its data says, and a ping follows the start."""
    response = clients.post(alice, "messages", {"model": model, "messages": HELLO, "max_tokens": 9, "stream": True})
    assert response.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    assert response.headers["x-synapscale-attempts"] == "1"
    lines = lines_of(response)
    names = [line.removeprefix("event: ") for line in lines[::2]]
    assert names == [json.loads(line.removeprefix("data: "))["type"] for line in lines[1::2]]
    assert names[:3] == ["message_start", "ping", "content_block_start"]
    assert names[3:-3] == ["content_block_delta"] * 4
    assert names[-3:] == ["content_block_stop", "message_delta", "message_stop"]


def test_what_the_sdk_gathers_from_a_stream(clients: Clients, alice: Person, model: str, paid: StandIn) -> None:
    paid.answer("Sunny there.", usage={"input": 10, "cached_input": 7, "output": 5})
    with clients.anthropic(alice).messages.stream(model=model, messages=HELLO, max_tokens=100) as stream:
        text = "".join(stream.text_stream)
        message = stream.get_final_message()
    assert text == message.content[0].text == "Sunny there."
    assert message.stop_reason == "end_turn"
    usage = message.usage
    assert (usage.input_tokens, usage.cache_read_input_tokens, usage.output_tokens) == (10, 7, 5)


def test_cached_tokens_are_no_part_of_the_input(
    clients: Clients, alice: Person, models: dict[str, LLM], paid: StandIn
) -> None:
    used = {"input": 10, "cached_input": 100, "cache_write_5m": 40, "cache_write_1h": 2, "output": 5, "reasoning": 7}
    paid.answer(usage=used)
    client = clients.anthropic(alice)
    asked: dict[str, Any] = {"model": str(models["anthropic"]), "max_tokens": 100, "messages": HELLO}
    usage = client.messages.create(**asked).usage
    assert (usage.input_tokens, usage.output_tokens) == (10, 12)
    assert (usage.cache_read_input_tokens, usage.cache_creation_input_tokens) == (100, 42)
    assert usage.cache_creation.ephemeral_5m_input_tokens == 40
    assert usage.cache_creation.ephemeral_1h_input_tokens == 2
    assert usage.output_tokens_details.thinking_tokens == 7
    assert Decimal(usage.cost) == the_log(alice.workspace).charged_usd == Decimal("0.000176")
    (last,) = (event for event in client.messages.create(**asked, stream=True) if event.type == "message_delta")
    assert last.usage.to_dict() == usage.to_dict()


def test_counting_tokens(clients: Clients, alice: Person, model: str, vendor: str, paid: StandIn) -> None:
    """By the vendor's own count where it has one for free; nothing is charged, and nothing kept."""
    paid.answer(prompt_tokens=42)
    counted = clients.anthropic(alice).messages.count_tokens(
        model=model, messages=HELLO, system="Be brief.", tools=[TOOL], thinking={"type": "disabled"}
    )
    if vendor == "openai":
        assert counted.is_estimate is True
        assert counted.input_tokens > 30
        assert paid.requests == []
    else:
        assert (counted.input_tokens, counted.is_estimate) == (42, False)
        assert "Be brief." in json.dumps(paid.requests[0].body)
        assert "weather" in json.dumps(paid.requests[0].body)
    assert balance(alice.workspace) == 1
    assert not Message.objects.filter(workspace=alice.workspace).exists()


def test_counting_where_the_vendor_does_not_answer(
    clients: Clients, alice: Person, models: dict[str, LLM], paid: StandIn
) -> None:
    from tests.providers.standins import refusal

    paid.always(refusal(500, vendor="anthropic"))
    counted = clients.anthropic(alice).messages.count_tokens(model=str(models["anthropic"]), messages=HELLO)
    assert counted.is_estimate is True


def test_the_beta_endpoints_of_the_sdk(clients: Clients, alice: Person, models: dict[str, LLM], paid: StandIn) -> None:
    client = clients.anthropic(alice)
    message = client.beta.messages.create(
        model=str(models["anthropic"]),
        max_tokens=100,
        messages=HELLO,
        betas=["context-management-2025-06-27"],
        context_management={"edits": [{"type": "clear_tool_uses_20250919"}]},
    )
    assert message.content[0].text == "Hello from the stand-in."
    assert client.beta.messages.count_tokens(model=str(models["anthropic"]), messages=HELLO).input_tokens == 42
