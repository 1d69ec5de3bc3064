"""A conversation as each vendor gets it: order, images, failed tools, thinking and cache marks."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

import pytest

from llm.types import CallRequest, ChatMessage, Image, TextPart, Thinking, ToolCall
from tests.providers.calling import FAMILIES, body_of, request
from tests.providers.standins import StandIn

COMPATIBLE = ("openai", "grok", "deepseek", "llama")
CAT = Image("image/png", b"cat", 1, 1)
DOG = Image("image/webp", b"dog", 1, 1)
LOOK = ToolCall("call_1", "look", '{"at": "cat"}')
ASK = ToolCall("call_2", "ask", "{}")
MARK_5M = {"cache_control": {"type": "ephemeral", "ttl": "5m"}}
MARK_1H = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}


def openai_image(image: Image) -> dict[str, Any]:
    data = base64.b64encode(image.data).decode()
    return {"type": "image_url", "image_url": {"url": f"data:{image.media_type};base64,{data}"}}


def anthropic_image(image: Image) -> dict[str, Any]:
    data = base64.b64encode(image.data).decode()
    return {"type": "image", "source": {"type": "base64", "media_type": image.media_type, "data": data}}


def google_image(image: Image) -> dict[str, Any]:
    return {"inlineData": {"data": base64.b64encode(image.data).decode(), "mime_type": image.media_type}}


def text(text: str, **fields: Any) -> dict[str, Any]:
    return {"type": "text", "text": text, **fields}


def turns(*messages: ChatMessage, **fields: Any) -> CallRequest:
    return request(messages=messages, **fields)


# order ---------------------------------------------------------------------------------------------------------------

MIXED = ChatMessage.of_parts("user", [TextPart("First"), CAT, TextPart(""), TextPart("then"), DOG, TextPart("?")])


@pytest.mark.parametrize("name", COMPATIBLE)
def test_text_and_images_keep_their_order_at_openai(provider: StandIn, name: str) -> None:
    assert body_of(provider, name, turns(MIXED))["messages"] == [
        {
            "role": "user",
            "content": [text("First"), openai_image(CAT), text("then"), openai_image(DOG), text("?")],
        }
    ]


@pytest.mark.parametrize("name", COMPATIBLE)
def test_parts_without_images_are_one_text_at_openai(provider: StandIn, name: str) -> None:
    """Hosts that resemble it do not all take lists."""
    message = ChatMessage.of_parts("user", [TextPart("First"), TextPart("then")])
    assert body_of(provider, name, turns(message))["messages"] == [{"role": "user", "content": "First\n\nthen"}]


def test_text_and_images_keep_their_order_at_anthropic(provider: StandIn) -> None:
    assert body_of(provider, "anthropic", turns(MIXED))["messages"] == [
        {
            "role": "user",
            "content": [text("First"), anthropic_image(CAT), text("then"), anthropic_image(DOG), text("?")],
        }
    ]


def test_text_and_images_keep_their_order_at_google(provider: StandIn) -> None:
    assert body_of(provider, "google", turns(MIXED))["contents"] == [
        {
            "role": "user",
            "parts": [{"text": "First"}, google_image(CAT), {"text": "then"}, google_image(DOG), {"text": "?"}],
        }
    ]


# tools ---------------------------------------------------------------------------------------------------------------

SHOWN = (
    ChatMessage("user", "Look."),
    ChatMessage("assistant", "", tool_calls=(LOOK, ASK)),
    ChatMessage.of_parts("tool", [TextPart("A cat:"), CAT], tool_call_id="call_1"),
    ChatMessage("tool", "no such thing", tool_call_id="call_2", is_error=True),
    ChatMessage("user", "Well?"),
)


@pytest.mark.parametrize("name", ["openai", "grok", "llama"])
def test_tool_turns_at_openai(provider: StandIn, name: str) -> None:
    """Its tool messages take no images and know no failure, and nothing may stand between them."""
    assert body_of(provider, name, turns(*SHOWN))["messages"] == [
        {"role": "user", "content": "Look."},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": '{"at": "cat"}'}},
                {"id": "call_2", "type": "function", "function": {"name": "ask", "arguments": "{}"}},
            ],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": "A cat:"},
        {"role": "tool", "tool_call_id": "call_2", "content": "Error: no such thing"},
        {"role": "user", "content": [openai_image(CAT)]},
        {"role": "user", "content": "Well?"},
    ]


def test_images_of_the_last_tool_turn_at_openai(provider: StandIn) -> None:
    messages = body_of(provider, "openai", turns(*SHOWN[:3]))["messages"]
    assert [message["role"] for message in messages] == ["user", "assistant", "tool", "user"]
    assert messages[-1]["content"] == [openai_image(CAT)]


def test_tool_turns_at_anthropic(provider: StandIn) -> None:
    assert body_of(provider, "anthropic", turns(*SHOWN))["messages"][2] == {
        "role": "user",
        "content": [
            {"type": "tool_result", "tool_use_id": "call_1", "content": [text("A cat:"), anthropic_image(CAT)]},
            {"type": "tool_result", "tool_use_id": "call_2", "content": "no such thing", "is_error": True},
            text("Well?"),
        ],
    }


def test_tool_turns_at_google(provider: StandIn) -> None:
    """The results of all calls come first, and the images after them."""
    assert body_of(provider, "google", turns(*SHOWN))["contents"][2] == {
        "role": "user",
        "parts": [
            {"functionResponse": {"id": "call_1", "name": "look", "response": {"result": "A cat:"}}},
            {"functionResponse": {"id": "call_2", "name": "ask", "response": {"error": "no such thing"}}},
            google_image(CAT),
            {"text": "Well?"},
        ],
    }


# thinking ------------------------------------------------------------------------------------------------------------

THOUGHT = (
    ChatMessage("user", "Look."),
    ChatMessage(
        "assistant",
        "I look.",
        thinking=(Thinking("Hm, a cat?", "c2ln"), Thinking("", redacted="cipher"), Thinking("another vendor's")),
        tool_calls=(LOOK,),
    ),
    ChatMessage("tool", "a cat", tool_call_id="call_1"),
)


def test_anthropic_gets_its_thinking_back_unchanged_and_first(provider: StandIn) -> None:
    """Unsigned thinking is another vendor's, and would be refused."""
    assert body_of(provider, "anthropic", turns(*THOUGHT))["messages"][1] == {
        "role": "assistant",
        "content": [
            {"type": "thinking", "thinking": "Hm, a cat?", "signature": "c2ln"},
            {"type": "redacted_thinking", "data": "cipher"},
            text("I look."),
            {"type": "tool_use", "id": "call_1", "name": "look", "input": {"at": "cat"}},
        ],
    }


@pytest.mark.parametrize("name", ["openai", "grok", "llama", "google"])
def test_other_vendors_get_no_thinking_back(provider: StandIn, name: str) -> None:
    sent = str(body_of(provider, name, turns(*THOUGHT, is_reasoning=True)))
    assert "I look." in sent
    assert "Hm" not in sent
    assert "cipher" not in sent


def test_deepseek_gets_the_thinking_before_a_call_back(provider: StandIn) -> None:
    """It refuses the call otherwise. A call whose thinking is not known counts as one without any."""
    unknown = (ChatMessage("assistant", "", tool_calls=(ASK,)), ChatMessage("tool", "no", tool_call_id="call_2"))
    answer = ChatMessage("assistant", "A cat.", thinking=(Thinking("Sure."),))
    call = turns(*THOUGHT, *unknown, answer, ChatMessage("user", "Sure?"), is_reasoning=True)
    messages = body_of(provider, "deepseek", call)["messages"]
    assert [message.get("reasoning_content") for message in messages if message["role"] == "assistant"] == [
        "Hm, a cat?another vendor's",
        "",
        None,
    ]
    plain = body_of(provider, "deepseek", turns(*THOUGHT))["messages"]
    assert "reasoning_content" not in plain[1]


# cache marks ---------------------------------------------------------------------------------------------------------

TOOL = {"name": "look", "parameters": {"type": "object", "properties": {}}}
RULES = (TextPart("Be brief."), TextPart("", cache="5m"), TextPart("Be kind.", cache="1h"))


def cached(*messages: ChatMessage, **fields: Any) -> CallRequest:
    return turns(*messages, system="Be brief.\n\nBe kind.", system_parts=RULES, tools=(TOOL, TOOL), **fields)


def test_cache_marks_at_anthropic(provider: StandIn) -> None:
    parts = ChatMessage.of_parts("user", [TextPart("Long", cache="5m"), TextPart("short")])
    body = body_of(provider, "anthropic", cached(parts, tools_cache="1h"))
    assert [tool.get("cache_control") for tool in body["tools"]] == [None, {"type": "ephemeral", "ttl": "1h"}]
    assert body["system"] == [text("Be brief."), text("Be kind.", **MARK_1H)]
    assert body["messages"] == [{"role": "user", "content": [text("Long", **MARK_5M), text("short")]}]


@pytest.mark.parametrize(
    ("message", "marked"),
    [
        (ChatMessage("user", "Look.", cache="5m"), text("Look.", **MARK_5M)),
        (ChatMessage("user", "", images=(CAT,), cache="1h"), {**anthropic_image(CAT), **MARK_1H}),
        (
            ChatMessage("assistant", "I look.", tool_calls=(LOOK,), cache="5m"),
            {"type": "tool_use", "id": "call_1", "name": "look", "input": {"at": "cat"}, **MARK_5M},
        ),
        (
            ChatMessage("tool", "a cat", tool_call_id="call_1", cache="5m"),
            {"type": "tool_result", "tool_use_id": "call_1", "content": "a cat", **MARK_5M},
        ),
        (
            ChatMessage.of_parts("tool", [TextPart("a cat", cache="1h"), CAT], tool_call_id="call_1"),
            {
                "type": "tool_result",
                "tool_use_id": "call_1",
                "content": [text("a cat"), anthropic_image(CAT)],
                **MARK_1H,
            },
        ),
    ],
)
def test_the_last_block_of_a_turn_is_marked(provider: StandIn, message: ChatMessage, marked: dict[str, Any]) -> None:
    body = body_of(provider, "anthropic", turns(ChatMessage("user", "Go."), ChatMessage("assistant", "Yes."), message))
    assert body["messages"][-1]["content"][-1] == marked
    assert str(body).count("cache_control") == 1


def test_thinking_is_never_marked(provider: StandIn) -> None:
    message = ChatMessage("assistant", "", thinking=(Thinking("Hm", "c2ln"),), cache="5m")
    body = body_of(provider, "anthropic", turns(ChatMessage("user", "Go."), message))
    assert body["messages"][1]["content"] == [{"type": "thinking", "thinking": "Hm", "signature": "c2ln"}]


def test_only_the_last_four_marks_are_kept(provider: StandIn) -> None:
    said = [ChatMessage("user" if i % 2 == 0 else "assistant", f"{i}", cache="5m") for i in range(3)]
    body = body_of(provider, "anthropic", cached(*said, tools_cache="1h"))
    assert "cache_control" not in body["tools"][-1]
    assert body["system"][-1] == text("Be kind.", **MARK_1H)
    assert [turn["content"] for turn in body["messages"]] == [[text(f"{i}", **MARK_5M)] for i in range(3)]
    body = body_of(provider, "anthropic", cached(*said, *said[1:], tools_cache="1h"))
    assert "cache_control" not in str(body["system"])
    assert str(body["messages"]).count("cache_control") == 4
    assert body["messages"][0]["content"] == [text("0")]


@pytest.mark.parametrize("name", [*COMPATIBLE, "google"])
def test_other_vendors_get_the_system_prompt_as_it_is_and_no_marks(provider: StandIn, name: str) -> None:
    message = ChatMessage.of_parts("user", [TextPart("Long", cache="5m")], cache="1h")
    body = body_of(provider, name, cached(message, tools_cache="1h"))
    system = body["systemInstruction"]["parts"][0]["text"] if name == "google" else body["messages"][0]["content"]
    assert system == "Be brief.\n\nBe kind."
    assert "cache" not in str(body)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_turn_with_nothing_in_it(provider: StandIn, name: str) -> None:
    empty = ChatMessage.of_parts("assistant", [TextPart("")], cache="5m")
    body = body_of(provider, name, turns(ChatMessage("user", "Go."), empty, ChatMessage("user", "On.")))
    said = body["contents"] if name == "google" else body["messages"]
    assert len(said) == (3 if name == "openai" else 1)


@pytest.mark.parametrize(
    ("model", "signatures"),
    [
        ("gemini-3.8-flash", [base64.b64encode(b"skip_thought_signature_validator").decode(), None]),
        ("gemini-4-argon", [base64.b64encode(b"skip_thought_signature_validator").decode(), None]),
        ("gemini-2.5-pro", [None, None]),
        ("gemma-4", [None, None]),
    ],
)
def test_calls_that_lost_their_signature_at_google(provider: StandIn, model: str, signatures: list[str | None]) -> None:
    """The first of a turn must have one from Gemini 3 on; the others never have."""
    turns = (ChatMessage("user", "Hi"), ChatMessage("assistant", tool_calls=(LOOK, ASK)))
    body = body_of(provider, "google", model=model, messages=turns)
    assert [part.get("thoughtSignature") for part in body["contents"][1]["parts"]] == signatures


def test_calls_with_their_signature_at_google(provider: StandIn) -> None:
    turns = (ChatMessage("user", "Hi"), ChatMessage("assistant", tool_calls=(replace(LOOK, signature="c2ln"), ASK)))
    body = body_of(provider, "google", model="gemini-4-argon", messages=turns)
    assert [part.get("thoughtSignature") for part in body["contents"][1]["parts"]] == ["c2ln", None]
