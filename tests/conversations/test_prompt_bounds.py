"""What a hold counts of a prompt: every term of ``prompts.worst_case_tokens`` by itself, and what it comes to."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from conversations import prompts
from conversations.models import Conversation
from llm.models import LLM
from llm.token_bound import most_tokens
from llm.types import CallRequest, ChatMessage, Image, Thinking, ToolCall
from tests.catalogue import make_llm
from tests.conversations.calling import ask, hold_of, make_conversation
from tests.people import Person, fund

FIVE_BYTES = "0.731"
TOOL = {"name": "add", "description": "Zählt", "parameters": {"type": "object"}}


def worst(*turns: ChatMessage, provider: str = "openai", **fields: Any) -> int:
    request = CallRequest(model="m", messages=turns, max_tokens=10, **fields)
    return prompts.worst_case_tokens(request, llm=LLM(provider=provider))


def test_a_turn_has_a_margin_and_so_has_the_prompt() -> None:
    assert worst() == 8
    assert worst(ChatMessage("user")) == 16
    assert worst(ChatMessage("user"), ChatMessage("assistant"), ChatMessage("user")) == 32


@pytest.mark.parametrize("role", ["user", "assistant", "tool"])
def test_the_text_of_a_turn(role: str) -> None:
    assert worst(ChatMessage(role, FIVE_BYTES)) == 16 + 5
    assert worst(ChatMessage(role, "Hello")) == 16 + 3


def test_the_system_prompt() -> None:
    assert worst(system=FIVE_BYTES) == 8 + 5


def test_texts_are_counted_apart() -> None:
    """As one word “ontonton” would have 5."""
    call = ToolCall(id="on", name="ton", arguments="ton")
    assert worst(ChatMessage("assistant", tool_calls=(call,))) == 16 + 1 + 2 + 2
    assert most_tokens("ontonton") == 5


@pytest.mark.parametrize("field", ["id", "name", "arguments", "signature"])
def test_each_part_of_a_tool_call(field: str) -> None:
    call = ToolCall(**{"id": "", "name": "", "arguments": "", field: FIVE_BYTES})
    assert worst(ChatMessage("assistant", tool_calls=(call, call))) == 16 + 2 * 5


def test_the_id_that_a_result_names() -> None:
    assert worst(ChatMessage("tool", tool_call_id=FIVE_BYTES)) == 16 + 5


@pytest.mark.parametrize("field", ["text", "signature", "redacted"])
def test_each_part_of_a_thinking_block(field: str) -> None:
    block = Thinking(**{"text": "", field: FIVE_BYTES})
    assert worst(ChatMessage("assistant", thinking=(block, block))) == 16 + 2 * 5


def test_an_image_by_its_vendors_formula() -> None:
    image = Image("image/png", b"", width=1092, height=1092)
    assert worst(ChatMessage("user", images=(image, image)), provider="anthropic") == 16 + 2 * 1590
    assert worst(ChatMessage("user", images=(image,)), provider="google") == 16 + 1120


def test_tools_as_they_are_sent_and_what_the_vendor_adds_to_them() -> None:
    wrapped = json.dumps([{"type": "function", "function": TOOL}, {"type": "function", "function": TOOL}])
    assert r"Z\u00e4hlt" in wrapped
    assert worst(tools=(TOOL, TOOL)) == 8 + 800 + most_tokens(wrapped)


def test_a_schema_as_it_is_sent_and_what_the_vendor_adds_to_it() -> None:
    schema = {"type": "object", "description": "日"}
    wrapped = json.dumps([{"type": "json_schema", "name": "sum", "schema": schema}])
    assert r"\u65e5" in wrapped
    assert worst(response_schema=schema, schema_name="sum") == 8 + 800 + most_tokens(wrapped)
    assert worst(response_schema=schema) == 8 + 800 + most_tokens(wrapped.replace("sum", "answer"))


def test_the_vendors_instructions_are_counted_once() -> None:
    schema = {"type": "object"}
    alone = worst(response_schema=schema) + worst(tools=(TOOL,))
    assert worst(response_schema=schema, tools=(TOOL,)) == alone - 800 - 8


# --- What is held -----------------------------------------------------------------------------------------------------


@pytest.fixture
def conversation(alice: Person) -> Conversation:
    fund(alice.workspace, "100")
    return make_conversation(alice)


@pytest.mark.django_db
def test_digits_are_held_at_a_token_each(alice: Person, conversation: Conversation, llm: LLM) -> None:
    """At Qwen each is one; a hold of half of them would have left the other half to the house."""
    held = hold_of(ask(alice, conversation, "0123456789" * 100, max_tokens=100))
    assert held.amount == (1000 + 16) * Decimal("0.000001") + 100 * Decimal("0.000002")


@pytest.mark.django_db
@pytest.mark.parametrize(("digits", "rate"), [(984, "0.000001"), (985, "0.00001")])
def test_the_tier_is_that_of_the_longest_the_prompt_can_be(
    alice: Person, conversation: Conversation, digits: int, rate: str
) -> None:
    tier = {"above_input_tokens": 1000, "input": "10", "output": "2"}
    make_llm("openai", "tiered", price={"tiers": [tier]})
    held = hold_of(ask(alice, conversation, "0" * digits, llm="openai/tiered", max_tokens=100))
    assert held.amount == (digits + 16) * Decimal(rate) + 100 * Decimal("0.000002")
