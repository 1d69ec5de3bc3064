"""Tools, images and structured output in OpenAI's protocol, on models of every family."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

from conversations.models import Message
from llm.models import LLM
from tests.api.asking import balance, picture
from tests.catalogue import make_llm
from tests.compat.clients import HELLO, OSLO, ROME, WEATHER, Clients
from tests.people import Person
from tests.providers.standins import StandIn, answer

TOOL: dict[str, Any] = {
    "type": "function",
    "function": {"name": "weather", "description": "How it is there.", "parameters": WEATHER, "strict": True},
}


def test_a_tool_call_round_trip(clients: Clients, alice: Person, model: str, paid: StandIn) -> None:
    """Two calls at once, and the answer to their results."""
    paid.script(answer("", tool_calls=[OSLO, ROME], finish_reason="tool_calls"), answer("Rain, and sun."))
    client = clients.openai(alice)
    messages: list[Any] = [{"role": "system", "content": "Be brief."}, *HELLO]
    first = client.chat.completions.create(model=model, messages=messages, tools=[TOOL], tool_choice="required")
    choice = first.choices[0]
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content is None
    calls = choice.message.tool_calls or []
    assert [(call.id, call.type, call.function.name, json.loads(call.function.arguments)) for call in calls] == [
        ("call_1", "function", "weather", {"city": "Oslo"}),
        ("call_2", "function", "weather", {"city": "Rome"}),
    ]
    messages.append(choice.message)  # as the SDK's own examples have it
    messages += [{"role": "tool", "tool_call_id": call.id, "content": f"in {call.id}"} for call in calls]
    second = client.chat.completions.create(model=model, messages=messages, tools=[TOOL], parallel_tool_calls=False)
    assert second.choices[0].message.content == "Rain, and sun."
    assert "in call_1" in json.dumps(paid.requests[1].body)
    assert "in call_2" in json.dumps(paid.requests[1].body)
    assert balance(alice.workspace) == Decimal("0.99996")


def test_tools_in_a_stream(clients: Clients, alice: Person, model: str, vendor: str, paid: StandIn) -> None:
    """Each call begins with its id and name; its arguments follow in pieces, as the vendor sends them."""
    paid.answer("I look.", tool_calls=[OSLO, ROME], finish_reason="tool_calls")
    stream = clients.openai(alice).chat.completions.create(model=model, messages=HELLO, tools=[TOOL], stream=True)
    deltas = [chunk.choices[0] for chunk in stream]
    assert "".join(choice.delta.content or "" for choice in deltas) == "I look."
    fragments = [fragment for choice in deltas for fragment in choice.delta.tool_calls or ()]
    started = [fragment for fragment in fragments if fragment.id]
    assert [(f.index, f.id, f.type, f.function.name) for f in started] == [
        (0, "call_1", "function", "weather"),
        (1, "call_2", "function", "weather"),
    ]
    for index, call in enumerate((OSLO, ROME)):
        arguments = "".join(f.function.arguments for f in fragments if f.index == index)
        assert json.loads(arguments) == json.loads(call["arguments"])
    assert len(fragments) == {"openai": 4, "anthropic": 6, "google": 2}[vendor]
    assert deltas[-1].finish_reason == "tool_calls"


def test_one_tool_may_be_insisted_on(clients: Clients, alice: Person, models: dict[str, LLM], paid: StandIn) -> None:
    choice: Any = {"type": "function", "function": {"name": "weather"}}
    completion = clients.openai(alice).chat.completions.create(
        model=str(models["demo"]), messages=HELLO, tools=[TOOL], tool_choice=choice
    )
    call = completion.choices[0].message.tool_calls[0]
    assert (call.function.name, json.loads(call.function.arguments)) == ("weather", {"city": "demo"})


def test_geminis_signature_comes_back_to_it(
    clients: Clients, alice: Person, paid: StandIn, models: dict[str, LLM]
) -> None:
    """Plain and streamed: Gemini refuses its own tool call without what it signed it with."""
    llm = make_llm("google", "gemini-4-test")
    call = {**OSLO, "signature": "c2lnbmVk"}
    client = clients.openai(alice)
    for streams in (False, True):
        paid.script(answer("", tool_calls=[call], finish_reason="tool_calls"), answer("Rain."))
        if streams:
            with client.chat.completions.stream(model=str(llm), messages=HELLO, tools=[TOOL]) as stream:
                message = stream.get_final_completion().choices[0].message
        else:
            message = client.chat.completions.create(model=str(llm), messages=HELLO, tools=[TOOL]).choices[0].message
        result = {"role": "tool", "tool_call_id": "call_1", "content": "rain"}
        client.chat.completions.create(model=str(llm), messages=[*HELLO, message, result], tools=[TOOL])
        part = paid.requests[-1].body["contents"][1]["parts"][0]
        assert part["thoughtSignature"] == "c2lnbmVk"


def test_an_image(clients: Clients, alice: Person, model: str, vendor: str, paid: StandIn) -> None:
    data = picture()
    content = [
        {"type": "text", "text": "What is it?"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}", "detail": "low"}},
    ]
    clients.openai(alice).chat.completions.create(model=model, messages=[{"role": "user", "content": content}])
    body = paid.requests[0].body
    sent = body["contents"][0]["parts"] if vendor == "google" else body["messages"][-1]["content"]
    expected = {
        "openai": {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}},
        "anthropic": {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}},
        "google": {"inlineData": {"mime_type": "image/png", "data": data}},
    }[vendor]
    assert sent[1] == expected
    assert "What is it?" in json.dumps(sent[0])
    question = Message.objects.get(workspace=alice.workspace, role="user")
    assert [item["media_type"] for item in question.attachments] == ["image/png"]


def test_structured_output(clients: Clients, alice: Person, model: str, vendor: str, paid: StandIn) -> None:
    from pydantic import BaseModel

    class Person(BaseModel):
        name: str
        age: int

    paid.answer('{"name": "Ada", "age": 36}')
    completion = clients.openai(alice).chat.completions.parse(model=model, messages=HELLO, response_format=Person)
    assert completion.choices[0].message.parsed == Person(name="Ada", age=36)
    body = paid.requests[0].body
    schema = {
        "openai": lambda: body["response_format"]["json_schema"]["schema"],
        "anthropic": lambda: body["output_config"]["format"]["schema"],
        "google": lambda: body["generationConfig"]["responseJsonSchema"],
    }[vendor]()
    assert set(schema["properties"]) == {"name", "age"}
    if vendor == "openai":
        assert body["response_format"]["json_schema"]["name"] == "Person"
        assert body["response_format"]["json_schema"]["strict"] is True


def test_structured_output_of_the_demo(clients: Clients, alice: Person, models: dict[str, LLM], paid: StandIn) -> None:
    from pydantic import BaseModel

    class City(BaseModel):
        city: str

    client = clients.openai(alice)
    parsed = client.chat.completions.parse(model=str(models["demo"]), messages=HELLO, response_format=City)
    assert parsed.choices[0].message.parsed == City(city="demo")
    with client.chat.completions.stream(model=str(models["demo"]), messages=HELLO, response_format=City) as stream:
        assert stream.get_final_completion().choices[0].message.parsed == City(city="demo")


def test_some_json_object(clients: Clients, alice: Person, models: dict[str, LLM], paid: StandIn) -> None:
    completion = clients.openai(alice).chat.completions.create(
        model=str(models["openai"]), messages=HELLO, response_format={"type": "json_object"}
    )
    assert completion.choices[0].message.content
    assert paid.requests[0].body["response_format"] == {"type": "json_object"}
