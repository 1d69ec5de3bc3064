"""One-shot calls: what the providers are sent."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from conversations.models import Message
from llm.models import LLM
from tests.api.asking import Api, picture
from tests.api.shooting import ADD, CALL, CHAT, PARAMETERS, SCHEMA, TURNS, generated
from tests.catalogue import make_llm
from tests.people import Person
from tests.providers.standins import StandIn, answer

FULL: dict[str, Any] = {
    "prompt": "One and one?",
    "system": "Be brief.",
    "temperature": 0.5,
    "max_tokens": 100,
    "stop": ["END"],
    "tools": [ADD],
    "tool_choice": "required",
    "response_schema": SCHEMA,
    "seed": 7,
    "top_p": 0.25,
    "reasoning_effort": "low",
}


# --- What the providers are sent --------------------------------------------------------------------------------------


WRAPPED = {"type": "function", "function": ADD}
FORMAT = {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA, "strict": False}}
OPENAI_FULL = {
    "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "One and one?"}],
    "temperature": 0.5,
    "top_p": 0.25,
    "seed": 7,
    "stop": ["END"],
    "tools": [WRAPPED],
    "tool_choice": "required",
    "response_format": FORMAT,
}
DEEPSEEK_SYSTEM = (
    "Be brief.\n\nAnswer with JSON that satisfies this JSON schema:\n"
    '{"properties": {"sum": {"type": "number"}}, "type": "object"}'
)
ANTHROPIC_FULL = {
    "model": "anthropic-test",
    "max_tokens": 100,
    "system": "Be brief.",
    "messages": [{"role": "user", "content": [{"type": "text", "text": "One and one?"}]}],
    "stop_sequences": ["END"],
    "tools": [{"name": "add", "description": "Adds.", "input_schema": PARAMETERS}],
    "tool_choice": {"type": "any"},
    "output_config": {"format": {"type": "json_schema", "schema": SCHEMA}},
}
GOOGLE_FULL = {
    "contents": [{"role": "user", "parts": [{"text": "One and one?"}]}],
    "systemInstruction": {"role": "user", "parts": [{"text": "Be brief."}]},
    "tools": [
        {"functionDeclarations": [{"name": "add", "description": "Adds.", "parameters_json_schema": PARAMETERS}]}
    ],
    "toolConfig": {"functionCallingConfig": {"mode": "ANY"}},
    "generationConfig": {
        "maxOutputTokens": 100,
        "temperature": 0.5,
        "topP": 0.25,
        "seed": 7,
        "stopSequences": ["END"],
        "responseMimeType": "application/json",
        "responseJsonSchema": SCHEMA,
    },
}


@pytest.mark.parametrize(
    ("vendor", "expected"),
    [
        ("openai", {**OPENAI_FULL, "model": "openai-test", "max_completion_tokens": 100}),
        ("grok", {**OPENAI_FULL, "model": "grok-test", "max_tokens": 100}),
        ("llama", {**OPENAI_FULL, "model": "llama-test", "max_tokens": 100}),
        (
            "deepseek",
            {
                **OPENAI_FULL,
                "model": "deepseek-test",
                "max_tokens": 100,
                "messages": [{"role": "system", "content": DEEPSEEK_SYSTEM}, OPENAI_FULL["messages"][1]],
                "response_format": {"type": "json_object"},
            },
        ),
        ("anthropic", {**ANTHROPIC_FULL, "temperature": 0.5}),
        ("google", GOOGLE_FULL),
    ],
)
def test_everything_that_a_call_may_say_reaches_the_provider(
    api: Api, alice: Person, paid: StandIn, vendor: str, expected: dict[str, Any]
) -> None:
    assert generated(api, alice, llm=str(make_llm(vendor)), **FULL)["cost"] == "0.00002"
    assert paid.requests[0].body == expected
    assert paid.requests[0].key == f"sk-house-{vendor}-0123456789abcdef"


def test_models_that_think_are_told_how_hard(api: Api, alice: Person, paid: StandIn) -> None:
    for vendor in ("openai", "anthropic", "google"):
        generated(api, alice, llm=str(make_llm(vendor, supports_reasoning=True)), reasoning_effort="low", top_p=None)
    openai, anthropic, google = (request.body for request in paid.requests)
    assert openai["reasoning_effort"] == "low"
    assert anthropic["output_config"] == {"effort": "low"}
    assert google["generationConfig"]["thinkingConfig"] == {"thinking_level": "LOW"}


IMAGE_URL = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{picture()}"}}
OPENAI_CHAT = [
    {"role": "system", "content": "Be brief.\n\nIn Latin."},
    {"role": "user", "content": [{"type": "text", "text": "What is it?"}, IMAGE_URL]},
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}],
    },
    {"role": "tool", "tool_call_id": "call_1", "content": "2"},
]


def test_the_turns_of_a_chat_at_openai(api: Api, alice: Person, llm: LLM, paid: StandIn) -> None:
    generated(api, alice, CHAT, llm=str(llm), messages=TURNS, system="Be brief.", tools=[ADD], seed=7)
    assert paid.requests[0].body == {
        "model": "openai-test",
        "max_completion_tokens": 4096,
        "messages": OPENAI_CHAT,
        "tools": [WRAPPED],
        "seed": 7,
    }


def test_the_turns_of_a_chat_at_anthropic(api: Api, alice: Person, paid: StandIn) -> None:
    llm = make_llm("anthropic")
    generated(api, alice, CHAT, llm=str(llm), messages=TURNS, system="Be brief.", tools=[ADD])
    image = {"type": "base64", "media_type": "image/png", "data": picture()}
    assert paid.requests[0].body == {
        "model": "anthropic-test",
        "max_tokens": 4096,
        "system": [{"type": "text", "text": "Be brief."}, {"type": "text", "text": "In Latin."}],
        "tools": [{"name": "add", "description": "Adds.", "input_schema": PARAMETERS}],
        "messages": [
            {"role": "user", "content": [{"type": "image", "source": image}, {"type": "text", "text": "What is it?"}]},
            {
                "role": "assistant",
                "content": [{"type": "tool_use", "id": "call_1", "name": "add", "input": {"a": 1}}],
            },
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "call_1", "content": "2"}]},
        ],
    }


def test_the_turns_of_a_chat_at_google(api: Api, alice: Person, paid: StandIn) -> None:
    llm = make_llm("google")
    signed = [*TURNS[:2], {**TURNS[2], "tool_calls": [{**CALL, "signature": "c2ln"}]}, TURNS[3]]
    generated(api, alice, CHAT, llm=str(llm), messages=signed, system="Be brief.")
    image = {"inlineData": {"mime_type": "image/png", "data": picture().replace("+", "-").replace("/", "_")}}
    assert paid.requests[0].body == {
        "systemInstruction": {"role": "user", "parts": [{"text": "Be brief.\n\nIn Latin."}]},
        "contents": [
            {"role": "user", "parts": [image, {"text": "What is it?"}]},
            {
                "role": "model",
                "parts": [
                    {
                        "functionCall": {"id": "call_1", "name": "add", "args": {"a": 1}},
                        "thoughtSignature": "c2ln",
                    }
                ],
            },
            {
                "role": "user",
                "parts": [{"functionResponse": {"id": "call_1", "name": "add", "response": {"result": "2"}}}],
            },
        ],
        "generationConfig": {"maxOutputTokens": 4096},
    }


def test_the_last_turn_that_is_not_the_models_is_kept_as_the_question(
    api: Api, alice: Person, llm: LLM, paid: StandIn
) -> None:
    reply_to = generated(api, alice, CHAT, llm=str(llm), messages=TURNS)["message"]["reply_to"]
    question = Message.objects.get(workspace=alice.workspace, pk=reply_to)
    assert (question.role, question.content, question.tool_call_id) == ("tool", "2", "call_1")


def test_a_tool_call_there_and_back(api: Api, alice: Person, llm: LLM, paid: StandIn) -> None:
    """What an answer shows of its calls can be given back as it is."""
    paid.script(answer("", tool_calls=[CALL], finish_reason="tool_calls"), answer("It is 2."))
    asked = {"role": "user", "content": "One and one?"}
    first = generated(api, alice, CHAT, llm=str(llm), messages=[asked], tools=[ADD])["message"]
    assert (first["finish_reason"], first["content"]) == ("tool_calls", "")
    called = {name: first[name] for name in ("role", "content", "tool_calls")}
    result = {"role": "tool", "tool_call_id": first["tool_calls"][0]["id"], "content": "2"}
    body = generated(api, alice, CHAT, llm=str(llm), messages=[asked, called, result], tools=[ADD])
    assert body["message"]["content"] == "It is 2."
    assert paid.requests[1].body["messages"] == [asked, *OPENAI_CHAT[2:]]


def test_an_image_with_a_prompt(api: Api, alice: Person, llm: LLM, paid: StandIn) -> None:
    image = {"type": "image", "data": picture()}
    body = generated(api, alice, prompt="What is it?", llm=str(llm), attachments=[image])
    assert paid.requests[0].body["messages"] == [OPENAI_CHAT[1]]
    question = Message.objects.get(workspace=alice.workspace, pk=body["message"]["reply_to"])
    (described,) = question.attachments
    assert (described["media_type"], described["width"], described["height"]) == ("image/png", 3, 2)
    assert bytes(question.images.get().data) == base64.b64decode(image["data"])
    generated(api, alice, prompt="", llm=str(llm), attachments=[image])
    assert len(paid.requests) == 2
