"""``POST /v1/chat/completions`` through OpenAI's own SDK, on models of every family."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from conversations.models import Message
from llm.models import LLM
from tests.api.asking import balance, picture, the_log
from tests.catalogue import make_llm
from tests.compat.clients import HELLO, OSLO, ROME, WEATHER, Clients, lines_of
from tests.people import Person
from tests.providers.standins import StandIn, answer

TOOL: dict[str, Any] = {
    "type": "function",
    "function": {"name": "weather", "description": "How it is there.", "parameters": WEATHER, "strict": True},
}


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


# streams -------------------------------------------------------------------------------------------------------------


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


# tools ---------------------------------------------------------------------------------------------------------------


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


# images and structure ------------------------------------------------------------------------------------------------


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


# settings ------------------------------------------------------------------------------------------------------------


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


# thinking ------------------------------------------------------------------------------------------------------------


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


# tokens --------------------------------------------------------------------------------------------------------------


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
