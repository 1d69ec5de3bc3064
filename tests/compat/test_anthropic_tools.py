"""Tools, images and structured output in Anthropic's protocol, on models of every family."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from llm.models import LLM
from tests.api.asking import balance, picture
from tests.catalogue import make_llm
from tests.compat.clients import HELLO, OSLO, ROME, WEATHER, Clients
from tests.people import Person
from tests.providers.standins import StandIn, answer

TOOL: dict[str, Any] = {"name": "weather", "description": "How it is there.", "input_schema": WEATHER}


def test_a_tool_call_round_trip(clients: Clients, alice: Person, model: str, paid: StandIn) -> None:
    """Two calls at once, one of which fails, and the answer to their results."""
    paid.script(answer("I look.", tool_calls=[OSLO, ROME], finish_reason="tool_calls"), answer("Rain."))
    client = clients.anthropic(alice)
    asked: dict[str, Any] = {"model": model, "max_tokens": 100, "tools": [TOOL]}
    first = client.messages.create(**asked, messages=HELLO, tool_choice={"type": "any"})
    assert first.stop_reason == "tool_use"
    assert [block.model_dump(exclude_unset=True) for block in first.content] == [
        {"type": "text", "text": "I look."},
        {"type": "tool_use", "id": "call_1", "name": "weather", "input": {"city": "Oslo"}},
        {"type": "tool_use", "id": "call_2", "name": "weather", "input": {"city": "Rome"}},
    ]
    results: list[Any] = [
        {"type": "tool_result", "tool_use_id": "call_1", "content": [{"type": "text", "text": "rain"}]},
        {"type": "tool_result", "tool_use_id": "call_2", "content": "no such city", "is_error": True},
        {"type": "text", "text": "Well?"},
    ]
    turns: list[Any] = [
        *HELLO,
        {"role": "assistant", "content": first.content},
        {"role": "user", "content": results},
    ]
    second = client.messages.create(**asked, messages=turns)
    assert second.content[0].text == "Rain."
    sent = json.dumps(paid.requests[1].body)
    for part in ("call_1", "rain", "no such city", "Well?", "I look."):
        assert part in sent
    assert balance(alice.workspace) == Decimal("0.99996")


def test_tools_in_a_stream(clients: Clients, alice: Person, model: str, paid: StandIn) -> None:
    paid.answer("I look.", tool_calls=[OSLO, ROME], finish_reason="tool_calls")
    stream = clients.anthropic(alice).messages.create(
        model=model, max_tokens=100, messages=HELLO, tools=[TOOL], stream=True
    )
    events = list(stream)
    order = [
        (event.type, event.index) for event in events if event.type in ("content_block_start", "content_block_stop")
    ]
    assert order == [(f"content_block_{what}", index) for index in range(3) for what in ("start", "stop")]
    started = [event.content_block for event in events if event.type == "content_block_start"]
    assert [block.type for block in started] == ["text", "tool_use", "tool_use"]
    assert [(block.id, block.name, block.input) for block in started[1:]] == [
        ("call_1", "weather", {}),
        ("call_2", "weather", {}),
    ]
    for index, call in ((1, OSLO), (2, ROME)):
        pieces = [e.delta for e in events if e.type == "content_block_delta" and e.index == index]
        assert {piece.type for piece in pieces} == {"input_json_delta"}
        assert json.loads("".join(piece.partial_json for piece in pieces)) == json.loads(call["arguments"])
    assert [event.delta.stop_reason for event in events if event.type == "message_delta"] == ["tool_use"]


def test_which_tool_is_to_be_used(clients: Clients, alice: Person, models: dict[str, LLM], paid: StandIn) -> None:
    client = clients.anthropic(alice)
    message = client.messages.create(
        model=str(models["demo"]),
        max_tokens=100,
        messages=HELLO,
        tools=[TOOL],
        tool_choice={"type": "tool", "name": "weather"},
    )
    assert [(block.type, block.name, block.input) for block in message.content] == [
        ("tool_use", "weather", {"city": "demo"})
    ]
    client.messages.create(
        model=str(models["anthropic"]),
        max_tokens=100,
        messages=HELLO,
        tools=[TOOL],
        tool_choice={"type": "auto", "disable_parallel_tool_use": True},
    )
    assert paid.requests[0].body["tool_choice"] == {"type": "auto", "disable_parallel_tool_use": True}


@pytest.mark.parametrize("streams", [False, True])
def test_geminis_signature_comes_back_to_it(clients: Clients, alice: Person, paid: StandIn, streams: bool) -> None:
    model = str(make_llm("google", "gemini-4-test"))
    call = {**OSLO, "signature": "c2lnbmVk"}
    paid.script(answer("", tool_calls=[call], finish_reason="tool_calls"), answer("Rain."))
    client = clients.anthropic(alice)
    asked: dict[str, Any] = {"model": model, "max_tokens": 100, "tools": [TOOL]}
    if streams:
        with client.messages.stream(**asked, messages=HELLO) as stream:
            message = stream.get_final_message()
    else:
        message = client.messages.create(**asked, messages=HELLO)
    result: Any = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "call_1", "content": "rain"}]}
    client.messages.create(**asked, messages=[*HELLO, message.to_param(), result])
    assert paid.requests[-1].body["contents"][1]["parts"][0]["thoughtSignature"] == "c2lnbmVk"


def test_an_image(clients: Clients, alice: Person, model: str, vendor: str, paid: StandIn) -> None:
    data = picture()
    content: list[Any] = [
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}},
        {"type": "text", "text": "What is it?"},
    ]
    clients.anthropic(alice).messages.create(
        model=model, max_tokens=100, messages=[{"role": "user", "content": content}]
    )
    body = paid.requests[0].body
    sent = body["contents"][0]["parts"] if vendor == "google" else body["messages"][-1]["content"]
    expected = {
        "openai": {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}},
        "anthropic": {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}},
        "google": {"inlineData": {"mime_type": "image/png", "data": data}},
    }[vendor]
    assert sent[0] == expected


def test_an_image_in_a_tools_result(clients: Clients, alice: Person, models: dict[str, LLM], paid: StandIn) -> None:
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": picture()}}
    turns: list[Any] = [
        *HELLO,
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "weather", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": [image]}]},
    ]
    clients.anthropic(alice).messages.create(
        model=str(models["anthropic"]), max_tokens=100, messages=turns, tools=[TOOL]
    )
    assert paid.requests[0].body["messages"][2]["content"][0]["content"] == [image]


def test_structured_output(clients: Clients, alice: Person, model: str, vendor: str, paid: StandIn) -> None:
    from pydantic import BaseModel

    class Contact(BaseModel):
        name: str
        age: int

    paid.answer('{"name": "Ada", "age": 36}')
    message = clients.anthropic(alice).messages.parse(
        model=model, max_tokens=100, messages=HELLO, output_format=Contact
    )
    assert message.parsed_output == Contact(name="Ada", age=36)
    body = paid.requests[0].body
    schema = {
        "openai": lambda: body["response_format"]["json_schema"]["schema"],
        "anthropic": lambda: body["output_config"]["format"]["schema"],
        "google": lambda: body["generationConfig"]["responseJsonSchema"],
    }[vendor]()
    assert set(schema["properties"]) == {"name", "age"}
