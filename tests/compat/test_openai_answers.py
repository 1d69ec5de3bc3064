"""``POST /v1/chat/completions`` through OpenAI's own SDK, on models of every family: plain, streamed, and its usage."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

from conversations.models import Message
from llm.models import LLM
from tests.api.asking import balance, the_log
from tests.compat.clients import HELLO, Clients, lines_of
from tests.people import Person
from tests.providers.standins import StandIn


def test_a_plain_answer(clients: Clients, alice: Person, model: str, vendor: str, paid: StandIn) -> None:
    paid.answer("Four.")
    raw = clients.openai(alice).chat.completions.with_raw_response.create(model=model, messages=HELLO, max_tokens=100)
    completion = raw.parse()
    message = Message.objects.get(workspace=alice.workspace, role="assistant")
    assert completion.model_dump(exclude_unset=True) == {
        "id": f"chatcmpl-{message.pk.hex}",
        "object": "chat.completion",
        "created": int(message.created_at.timestamp()),
        "model": model,
        "choices": [
            {
                "index": 0,
                "finish_reason": "stop",
                "logprobs": None,
                "message": {"role": "assistant", "content": "Four.", "refusal": None},
            }
        ],
        "usage": {
            "prompt_tokens": 10,
            "completion_tokens": 5,
            "total_tokens": 15,
            "prompt_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0, "audio_tokens": 0},
            "completion_tokens_details": {
                "reasoning_tokens": 0,
                "audio_tokens": 0,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
            "cost": "0.00002",
            "is_byok": False,
            "cost_details": {"upstream_inference_cost": "0.00002"},
            "is_estimate": False,
        },
    }
    assert {name: value for name, value in raw.headers.items() if name.startswith("x-synapscale-")} == {
        "x-synapscale-message-id": str(message.pk),
        "x-synapscale-conversation-id": str(message.conversation_id),
        "x-synapscale-model": model,
        "x-synapscale-attempts": "1",
        "x-synapscale-response-cost": "0.00002",
    }
    assert raw.headers["x-request-id"] == completion._request_id
    assert balance(alice.workspace) == Decimal("0.99998")
    assert paid.requests[0].key == f"sk-house-{vendor}-0123456789abcdef"
    assert (message.content, message.reply_to.content) == ("Four.", "Hello")


def test_the_demo(clients: Clients, alice: Person, models: dict[str, LLM], paid: StandIn) -> None:
    completion = clients.openai(alice).chat.completions.create(model=str(models["demo"]), messages=HELLO)
    assert completion.choices[0].message.content == "This is the demo provider: no model was called. You wrote: Hello"
    assert (completion.usage.prompt_tokens, completion.usage.completion_tokens) == (2, 16)
    assert completion.usage.cost == "0.000034"
    assert paid.requests == []


def test_a_model_may_be_named_without_its_provider(
    clients: Clients, alice: Person, models: dict[str, LLM], paid: StandIn
) -> None:
    completion = clients.openai(alice).chat.completions.create(model="anthropic-test", messages=HELLO)
    assert completion.model == "anthropic/anthropic-test"


def test_a_stream(clients: Clients, alice: Person, model: str, paid: StandIn) -> None:
    paid.answer("One two 😀.")
    stream = clients.openai(alice).chat.completions.create(
        model=model, messages=HELLO, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk.model_dump(exclude_unset=True) for chunk in stream]
    message = Message.objects.get(workspace=alice.workspace, role="assistant")
    head = {
        "id": f"chatcmpl-{message.pk.hex}",
        "object": "chat.completion.chunk",
        "created": int(message.created_at.timestamp()),
        "model": model,
    }

    def chunk(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return {**head, "choices": [choice], "usage": None}

    assert chunks[:-1] == [
        chunk({"role": "assistant", "content": ""}),
        *(chunk({"content": text}) for text in ("One", " two", " 😀.")),
        chunk({}, "stop"),
    ]
    usage = chunks[-1].pop("usage")
    assert chunks[-1] == {**head, "choices": []}
    assert (usage["prompt_tokens"], usage["completion_tokens"], usage["total_tokens"]) == (10, 5, 15)
    assert (usage["cost"], usage["is_byok"], usage["is_estimate"]) == ("0.00002", False, False)
    assert balance(alice.workspace) == Decimal("0.99998")
    assert message.content == "One two 😀."


def test_a_stream_on_the_wire(clients: Clients, alice: Person, model: str, paid: StandIn) -> None:
    response = clients.post(alice, "chat/completions", {"model": model, "messages": HELLO, "stream": True})
    assert response.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    assert response.headers["x-synapscale-model"] == model
    assert response.headers["x-synapscale-attempts"] == "1"
    lines = lines_of(response)
    assert lines[-1] == "data: [DONE]"
    chunks = [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]
    # Without “include_usage” no chunk speaks of it.
    assert all("usage" not in chunk for chunk in chunks)
    assert "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks) == "Hello from the stand-in."
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"


def test_a_stream_of_the_demo(clients: Clients, alice: Person, models: dict[str, LLM], paid: StandIn) -> None:
    with clients.openai(alice).chat.completions.stream(model=str(models["demo"]), messages=HELLO) as stream:
        text = "".join(event.delta for event in stream if event.type == "content.delta")
        final = stream.get_final_completion()
    assert text == final.choices[0].message.content
    assert text.endswith("You wrote: Hello")


def test_cached_tokens_are_part_of_the_prompt(
    clients: Clients, alice: Person, models: dict[str, LLM], paid: StandIn
) -> None:
    used = {"input": 10, "cached_input": 100, "cache_write_5m": 40, "cache_write_1h": 2, "output": 5, "reasoning": 7}
    paid.answer(usage=used)
    usage = clients.openai(alice).chat.completions.create(model=str(models["anthropic"]), messages=HELLO).usage
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (152, 12, 164)
    assert usage.prompt_tokens_details.cached_tokens == 100
    assert usage.prompt_tokens_details.cache_write_tokens == 42
    assert usage.completion_tokens_details.reasoning_tokens == 7
    log = the_log(alice.workspace)
    assert (log.input_tokens, log.cached_input_tokens) == (10, 100)
    assert (log.cache_write_5m_tokens, log.cache_write_1h_tokens) == (40, 2)
    assert (log.output_tokens, log.reasoning_tokens) == (5, 7)
    assert Decimal(usage.cost) == log.charged_usd == Decimal("0.000176")  # 152 at $1, 12 at $2 per million


def test_usage_that_the_provider_did_not_report_is_an_estimate(
    clients: Clients, alice: Person, model: str, paid: StandIn
) -> None:
    paid.answer("Hello", usage_times=0)
    usage = clients.openai(alice).chat.completions.create(model=model, messages=HELLO).usage
    assert usage.is_estimate is True
    assert Decimal(usage.cost) == the_log(alice.workspace).charged_usd > 0
