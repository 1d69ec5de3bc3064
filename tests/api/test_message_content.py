"""What a message carries: text, images, tools, a schema; and what a model can't do."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from conversations.models import Conversation, Message
from llm.models import LLM
from tests.api.asking import Api, assert_invalid, change, error_of, messages_of, picture
from tests.catalogue import make_llm
from tests.people import Person
from tests.providers.standins import StandIn, answer

ADD = {"name": "add", "description": "Adds.", "parameters": {"type": "object", "properties": {"a": {"type": "number"}}}}
CALL = {"id": "call_1", "name": "add", "arguments": '{"a": 1}'}
SCHEMA = {
    "type": "object",
    "properties": {"sum": {"type": "number"}},
    "required": ["sum"],
    "additionalProperties": False,
}


def image(**fields: Any) -> dict[str, Any]:
    return {"type": "image", "data": picture(), **fields}


# --- Images ---------------------------------------------------------------------------------------------------------


def test_an_image_reaches_the_provider(api: Api, alice: Person, chat: Conversation, llm: LLM, paid: StandIn) -> None:
    data = picture()
    sent = {"type": "image", "media_type": "image/png", "data": data}
    response = api.ask(alice, chat, "What is it?", llm=str(llm), attachments=[sent])
    assert response.status_code == 201, response.text
    assert paid.requests[0].body["messages"] == [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What is it?"},
                {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}},
            ],
        }
    ]
    question = api.get(alice, messages_of(chat)).json()["results"][1]
    assert question["attachments"] == [{"type": "image", "media_type": "image/png", "width": 3, "height": 2}]
    detail = api.get(alice, f"{messages_of(chat)}/{question['id']}").json()
    assert detail["attachments"] == [{**question["attachments"][0], "data": data}]


@pytest.mark.parametrize(("kind", "media_type"), [("JPEG", "image/jpeg"), ("GIF", "image/gif"), ("WEBP", "image/webp")])
def test_other_kinds_of_image(
    api: Api, alice: Person, chat: Conversation, paid: StandIn, kind: str, media_type: str
) -> None:
    llm, data = make_llm("anthropic"), picture(kind=kind)
    assert api.ask(alice, chat, llm=str(llm), attachments=[{"type": "image", "data": data}]).status_code == 201
    parts = paid.requests[0].body["messages"][0]["content"]
    assert [part["source"] for part in parts if part["type"] == "image"] == [
        {"type": "base64", "media_type": media_type, "data": data}
    ]


def test_an_image_needs_no_text(api: Api, alice: Person, chat: Conversation, llm: LLM, paid: StandIn) -> None:
    assert api.ask(alice, chat, "", llm=str(llm), attachments=[image()]).status_code == 201


@pytest.mark.parametrize(
    "item",
    [
        {},
        "x",
        None,
        {"type": "file", "data": "x"},
        {"type": "image"},
        {"type": "image", "data": 1},
        {"type": "image", "data": "not base64!"},
        {"type": "image", "data": ""},
        {"type": "image", "data": base64.b64encode(b"plain text").decode()},
        {"type": "image", "data": base64.b64encode(b"<svg xmlns='http://www.w3.org/2000/svg'/>").decode()},
        {"type": "image", "data": base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"\0" * 20).decode()},
        {"type": "image", "data": base64.b64encode(b"\0" * (5 * 1024 * 1024 + 1)).decode()},
        {"type": "image", "data": picture(), "media_type": "image/jpeg"},
        {"type": "image", "url": "http://169.254.169.254/"},
        {"type": "image", "data": picture(), "url": "http://169.254.169.254/"},
        {"type": "image", "data": picture(), "width": 1},
    ],
    ids=lambda item: str(item)[:50],
)
def test_what_is_no_image_is_refused(
    api: Api, alice: Person, chat: Conversation, llm: LLM, paid: StandIn, item: Any
) -> None:
    assert_invalid(api.ask(alice, chat, llm=str(llm), attachments=[item]), "attachments")
    assert paid.requests == []


def test_ten_images_at_most(api: Api, alice: Person, chat: Conversation, llm: LLM, paid: StandIn) -> None:
    assert_invalid(api.ask(alice, chat, llm=str(llm), attachments=[image()] * 11), "attachments")
    assert api.ask(alice, chat, llm=str(llm), attachments=[image()] * 10).status_code == 201


# --- What a model can't do ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("capability", "field", "body"),
    [
        ("supports_vision", "attachments", {"attachments": [image()]}),
        ("supports_function_calling", "tools", {"tools": [ADD]}),
        ("supports_function_calling", "tools", {"role": "tool", "tool_call_id": "call_1"}),
        ("supports_structured_output", "response_schema", {"response_schema": SCHEMA}),
        ("supports_streaming", "stream", {"stream": True}),
    ],
)
def test_what_a_model_does_not_support_is_named(
    api: Api, alice: Person, chat: Conversation, paid: StandIn, capability: str, field: str, body: dict[str, Any]
) -> None:
    llm = make_llm(**{capability: False})
    error = error_of(api.ask(alice, chat, llm=str(llm), **body), 422, "not_supported_by_model")
    assert set(error["details"]) == {field}
    assert paid.requests == []
    assert Message.objects.filter(workspace=alice.workspace).count() == 0


def test_earlier_images_are_left_out_for_a_model_that_sees_none(
    api: Api, alice: Person, chat: Conversation, llm: LLM, paid: StandIn
) -> None:
    api.ask(alice, chat, "Look.", llm=str(llm), attachments=[image()])
    blind = make_llm("openai", "blind", supports_vision=False)
    assert api.ask(alice, chat, "And?", llm=str(blind)).status_code == 201
    assert [turn["content"] for turn in paid.requests[1].body["messages"]] == [
        "Look.",
        "Hello from the stand-in.",
        "And?",
    ]


# --- Tools ----------------------------------------------------------------------------------------------------------


def test_a_tool_call_there_and_back(api: Api, alice: Person, chat: Conversation, llm: LLM, paid: StandIn) -> None:
    paid.script(answer("", tool_calls=[CALL], finish_reason="tool_calls"), answer("It is 2."))
    first = api.ask(alice, chat, "One and one?", llm=str(llm), tools=[ADD], tool_choice="required")
    assert first.status_code == 201, first.text
    assert first.json()["message"]["content"] == ""
    assert first.json()["message"]["finish_reason"] == "tool_calls"
    assert first.json()["message"]["tool_calls"] == [{**CALL, "signature": ""}]
    second = api.ask(alice, chat, "2", llm=str(llm), role="tool", tool_call_id="call_1", tools=[ADD])
    assert second.status_code == 201, second.text
    assert second.json()["message"]["content"] == "It is 2."
    wrapped = [{"type": "function", "function": ADD}]
    assert (paid.requests[0].body["tools"], paid.requests[0].body["tool_choice"]) == (wrapped, "required")
    assert paid.requests[1].body["tools"] == wrapped
    assert paid.requests[1].body["messages"] == [
        {"role": "user", "content": "One and one?"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": "2"},
    ]


@pytest.mark.parametrize("vendor", ["anthropic", "google"])
def test_a_tool_call_there_and_back_elsewhere(
    api: Api, alice: Person, chat: Conversation, paid: StandIn, vendor: str
) -> None:
    llm = make_llm(vendor)
    paid.script(answer("", tool_calls=[CALL], finish_reason="tool_calls"), answer("It is 2."))
    first = api.ask(alice, chat, "One and one?", llm=str(llm), tools=[ADD]).json()["message"]
    assert [(call["name"], call["arguments"]) for call in first["tool_calls"]] == [("add", '{"a": 1}')]
    call_id = first["tool_calls"][0]["id"]
    second = api.ask(alice, chat, "2", llm=str(llm), role="tool", tool_call_id=call_id, tools=[ADD])
    assert (second.status_code, second.json()["message"]["content"]) == (201, "It is 2.")


def test_the_result_of_a_call_that_nobody_made(
    api: Api, alice: Person, chat: Conversation, llm: LLM, paid: StandIn
) -> None:
    response = api.ask(alice, chat, "2", llm=str(llm), role="tool", tool_call_id="call_1")
    assert set(error_of(response, 422, "unknown_tool_call")["details"]) == {"tool_call_id"}
    assert paid.requests == []


def test_the_tools_of_a_conversation(api: Api, alice: Person, chat: Conversation, llm: LLM, paid: StandIn) -> None:
    change(chat, settings={"tools": [ADD]})
    assert api.ask(alice, chat, llm=str(llm), tool_choice="add").status_code == 201
    chosen = {"type": "function", "function": {"name": "add"}}
    assert paid.requests[0].body["tool_choice"] == chosen
    assert api.ask(alice, chat, llm=str(llm), tools=[]).status_code == 201
    assert "tools" not in paid.requests[1].body


@pytest.mark.parametrize("choice", ["subtract", "required"])
def test_a_choice_among_no_tools_is_refused(
    api: Api, alice: Person, chat: Conversation, llm: LLM, paid: StandIn, choice: str
) -> None:
    error = error_of(api.ask(alice, chat, llm=str(llm), tool_choice=choice), 422, "unknown_tool")
    assert set(error["details"]) == {"tool_choice"}
    assert paid.requests == []


def test_a_choice_of_a_tool_the_conversation_does_not_have(
    api: Api, alice: Person, chat: Conversation, llm: LLM, paid: StandIn
) -> None:
    change(chat, settings={"tools": [ADD]})
    error_of(api.ask(alice, chat, llm=str(llm), tool_choice="subtract"), 422, "unknown_tool")
    assert paid.requests == []


# --- Structured output ----------------------------------------------------------------------------------------------


def test_a_schema_reaches_the_provider(api: Api, alice: Person, chat: Conversation, llm: LLM, paid: StandIn) -> None:
    paid.answer('{"sum": 4}')
    response = api.ask(alice, chat, llm=str(llm), response_schema=SCHEMA)
    assert response.json()["message"]["content"] == '{"sum": 4}'
    assert paid.requests[0].body["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "answer", "schema": SCHEMA, "strict": True},
    }


# --- What a message must be -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "content"),
        ({"content": ""}, "content"),
        ({"content": " \n"}, "content"),
        ({"content": None}, "content"),
        ({"content": ["x"]}, "content"),
        ({"content": 5}, "content"),
        ({"content": "x", "llm": 5}, "llm"),
        ({"content": "x", "stream": "yes"}, "stream"),
        ({"content": "x", "stream": 1}, "stream"),
        ({"content": "x", "role": "tool", "tool_call_id": 5}, "tool_call_id"),
        ({"content": "x" * 2_000_001}, "content"),
        ({"content": "x", "role": "system"}, "role"),
        ({"content": "x", "role": "assistant"}, "role"),
        ({"content": "x", "role": "tool"}, "tool_call_id"),
        ({"content": "x", "tool_call_id": "call_1"}, "tool_call_id"),
        ({"content": "x", "stream": "maybe"}, "stream"),
        ({"content": "x", "stream": None}, "stream"),
        ({"content": "x", "max_tokens": 0}, "max_tokens"),
        ({"content": "x", "max_tokens": -5}, "max_tokens"),
        ({"content": "x", "max_tokens": 10_000_001}, "max_tokens"),
        ({"content": "x", "max_tokens": 100.0}, "max_tokens"),
        ({"content": "x", "max_tokens": True}, "max_tokens"),
        ({"content": "x", "max_tokens": "100"}, "max_tokens"),
        ({"content": "x", "temperature": -0.1}, "temperature"),
        ({"content": "x", "temperature": 2.1}, "temperature"),
        ({"content": "x", "temperature": True}, "temperature"),
        ({"content": "x", "temperature": "1"}, "temperature"),
        ({"content": "x", "attachments": None}, "attachments"),
        ({"content": "x", "tools": [ADD, ADD]}, "tools"),
        ({"content": "x", "tools": [ADD], "tool_choice": "subtract"}, "tool_choice"),
        ({"content": "x", "response_schema": []}, "response_schema"),
        ({"content": "x", "stop": [""]}, "stop"),
        ({"content": "x", "nothing": 1}, "nothing"),
        ({"content": "x", "cost": "0"}, "cost"),
        ({"content": "x", "status": "sent"}, "status"),
        ({"content": "x", "user": "x"}, "user"),
        ({"content": "x", "hold": None}, "hold"),
        ({"content": "x", "price": "x"}, "price"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_wrong_message_is_refused_by_field(
    api: Api, alice: Person, chat: Conversation, llm: LLM, paid: StandIn, body: dict[str, Any], field: str
) -> None:
    assert_invalid(api.post(alice, messages_of(chat), {"llm": str(llm), **body}), field)
    assert paid.requests == []
    assert Message.objects.filter(workspace=alice.workspace).count() == 0


@pytest.mark.parametrize("temperature", [0, 2, 0.07, 1.0])
def test_temperatures_at_the_edge(
    api: Api, alice: Person, chat: Conversation, llm: LLM, paid: StandIn, temperature: float
) -> None:
    response = api.ask(alice, chat, llm=str(llm), temperature=temperature)
    assert response.json()["message"]["temperature"] == temperature
    assert paid.requests[0].body["temperature"] == temperature
