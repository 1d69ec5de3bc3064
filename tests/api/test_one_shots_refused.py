"""One-shot calls: what is refused, and what fails."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from conversations.models import Conversation, Message
from llm.models import LLM
from tests.api.asking import Api, assert_invalid, balance, change_workspace, charges, error_of, messages_of
from tests.api.shooting import ADD, CALL, CHAT, GENERATE, HELLO, SCHEMA, TURNS, told
from tests.catalogue import make_llm
from tests.people import Person, fund
from tests.providers.standins import StandIn, refusal
from workspaces.models import AccessToken


def test_not_enough_money(api: Api, alice: Person, llm: LLM, house_keys: StandIn, audited: None) -> None:
    fund(alice.workspace, "0.0001")
    response = api.post(alice, GENERATE, {**HELLO, "llm": str(llm), "max_tokens": 1000})
    assert error_of(response, 402, "insufficient_balance")["details"] == {
        "needed": "0.002019",
        "available": "0.0001",
        "held": "0.00",
        "affordable_max_tokens": 40,
        "reason": "balance",
    }
    assert house_keys.requests == []
    assert not Message.objects.filter(workspace=alice.workspace).exists()


def test_a_spending_limit_of_the_token(api: Api, alice: Person, llm: LLM, paid: StandIn) -> None:
    AccessToken.objects.filter(user=alice.user).update(spend_limit_usd=Decimal("0.0001"))
    response = api.post(alice, GENERATE, {**HELLO, "llm": str(llm), "max_tokens": 1000})
    error_of(response, 402, "spend_limit_exceeded")
    assert paid.requests == []


def test_a_model_that_the_token_may_not_call(api: Api, alice: Person, llm: LLM, paid: StandIn) -> None:
    AccessToken.objects.filter(user=alice.user).update(allowed_models=["openai/other"])
    error_of(api.post(alice, GENERATE, {**HELLO, "llm": str(llm)}), 403, "model_not_allowed")
    assert paid.requests == []


def test_a_provider_that_fails(api: Api, alice: Person, llm: LLM, paid: StandIn) -> None:
    paid.script(refusal(429, message="slow down {key}", headers={"retry-after": "7"}), refusal(500))
    response = api.post(alice, GENERATE, {**HELLO, "llm": str(llm)})
    error = error_of(response, 503, "provider_rate_limited")
    question, answer_ = Message.objects.filter(workspace=alice.workspace).order_by("id")
    assert error["details"] == {"message_id": str(answer_.pk), "reply_to": str(question.pk)}
    assert response.headers["Retry-After"] == "7"
    assert "sk-house" not in response.text
    started, failed = told(api.post(alice, GENERATE, {**HELLO, "llm": str(llm), "stream": True}))
    assert (started.name, failed.name) == ("message.started", "error")
    assert failed.data["error"]["code"] == "provider_unavailable"
    assert charges(alice.workspace) == []
    assert balance(alice.workspace) == 1


@pytest.mark.parametrize(
    ("capability", "field", "path", "body"),
    [
        ("supports_vision", "attachments", GENERATE, {**HELLO, "attachments": TURNS[1]["attachments"]}),
        ("supports_vision", "attachments", CHAT, {"messages": [TURNS[1]]}),
        ("supports_function_calling", "tools", GENERATE, {**HELLO, "tools": [ADD]}),
        ("supports_function_calling", "tools", CHAT, {"messages": TURNS[2:]}),
        ("supports_structured_output", "response_schema", GENERATE, {**HELLO, "response_schema": SCHEMA}),
        ("supports_streaming", "stream", GENERATE, {**HELLO, "stream": True}),
    ],
)
def test_what_a_model_does_not_support_is_named(
    api: Api, alice: Person, paid: StandIn, capability: str, field: str, path: str, body: dict[str, Any]
) -> None:
    llm = make_llm(**{capability: False})
    error = error_of(api.post(alice, path, {"llm": str(llm), **body}), 422, "not_supported_by_model")
    assert set(error["details"]) == {field}
    assert paid.requests == []


def test_a_vendor_that_no_image_can_be_reserved_for_is_sent_none(api: Api, alice: Person, paid: StandIn) -> None:
    llm = make_llm("deepseek", supports_vision=True)
    body = {**HELLO, "llm": str(llm), "attachments": TURNS[1]["attachments"]}
    error = error_of(api.post(alice, GENERATE, body), 422, "not_supported_by_model")
    assert set(error["details"]) == {"attachments"}
    assert paid.requests == []


def test_a_prompt_that_does_not_fit(api: Api, alice: Person, paid: StandIn) -> None:
    llm = make_llm(context_window=100, max_output_tokens=100)
    body = {"llm": str(llm), "prompt": "x" * 4 * 92}
    error_of(api.post(alice, GENERATE, body), 422, "context_length_exceeded")


@pytest.mark.parametrize("stream", [False, True])
def test_how_the_rate_limits_stand(api: Api, alice: Person, llm: LLM, paid: StandIn, stream: bool) -> None:
    change_workspace(alice, requests_per_minute=2)
    chat = Conversation.objects.create(workspace=alice.workspace, user=alice.user)
    for path, body, left in ((GENERATE, HELLO, "1"), (messages_of(chat), {"content": "Hello"}, "0")):
        response = api.post(alice, path, {**body, "llm": str(llm), "stream": stream})
        assert response.headers["x-ratelimit-limit-requests"] == "2"
        assert response.headers["x-ratelimit-remaining-requests"] == left
    refused = api.post(alice, GENERATE, {**HELLO, "llm": str(llm), "stream": stream})
    error_of(refused, 429, "rate_limited")
    assert int(refused.headers["Retry-After"]) <= 30
    assert refused.headers["x-ratelimit-remaining-requests"] == "0"
    assert len(paid.requests) == 2


@pytest.mark.parametrize("path", [GENERATE, CHAT, "llm/openai/generate", "llm/count-tokens", "llm/estimate"])
def test_a_token_without_the_scope_calls_nothing(api: Api, alice: Person, llm: LLM, paid: StandIn, path: str) -> None:
    AccessToken.objects.filter(user=alice.user).update(scopes=["read", "billing", "keys", "admin"])
    error_of(api.post(alice, path, {**HELLO, "llm": str(llm)}), 403, "scope_missing")
    AccessToken.objects.filter(user=alice.user).update(scopes=["chat"])
    assert api.post(alice, path, {}).status_code == 400
    assert paid.requests == []


def test_the_address_knows_no_parameters(api: Api, alice: Person, llm: LLM, paid: StandIn) -> None:
    for path in (GENERATE, CHAT, "llm/openai/generate", "llm/count-tokens", "llm/estimate"):
        assert_invalid(api.post(alice, f"{path}?stream=true", {**HELLO, "llm": str(llm)}), "stream")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "prompt"),
        ({"prompt": ""}, "prompt"),
        ({"prompt": " \n"}, "prompt"),
        ({"prompt": None}, "prompt"),
        ({"prompt": ["x"]}, "prompt"),
        ({"prompt": 5}, "prompt"),
        ({**HELLO, "stream": "yes"}, "stream"),
        ({"prompt": "x" * 2_000_001}, "prompt"),
        ({**HELLO, "system": None}, "system"),
        ({**HELLO, "messages": [{"role": "user", "content": "x"}]}, "messages"),
        ({**HELLO, "content": "x"}, "content"),
        ({**HELLO, "role": "user"}, "role"),
        ({**HELLO, "cost": "0"}, "cost"),
        ({**HELLO, "key_source": "user"}, "key_source"),
        ({**HELLO, "provider": "openai"}, "provider"),
        ({**HELLO, "n": 2}, "n"),
        ({**HELLO, "llm": "openai/nothing"}, "llm"),
        ({**HELLO, "llm": "openai-test"}, "llm"),
        ({**HELLO, "llm": ""}, "llm"),
        ({**HELLO, "max_tokens": 0}, "max_tokens"),
        ({**HELLO, "temperature": 2.1}, "temperature"),
        ({**HELLO, "top_p": 1.1}, "top_p"),
        ({**HELLO, "top_p": True}, "top_p"),
        ({**HELLO, "top_p": "0.5"}, "top_p"),
        ({**HELLO, "seed": 1.5}, "seed"),
        ({**HELLO, "seed": 2**31}, "seed"),
        ({**HELLO, "reasoning_effort": "enormous"}, "reasoning_effort"),
        ({**HELLO, "tools": [ADD, ADD]}, "tools"),
        ({**HELLO, "tools": [ADD], "tool_choice": "subtract"}, "tool_choice"),
        ({**HELLO, "response_schema": []}, "response_schema"),
        ({**HELLO, "attachments": [{"type": "image", "url": "http://169.254.169.254/"}]}, "attachments"),
        ({**HELLO, "attachments": TURNS[1]["attachments"] * 11}, "attachments"),
        ({**HELLO, "metadata": []}, "metadata"),
        ({**HELLO, "metadata": {"a": 1}}, "metadata"),
        ({**HELLO, "metadata": {"": "b"}}, "metadata"),
        ({**HELLO, "metadata": {"a": "x" * 513}}, "metadata"),
        ({**HELLO, "metadata": {str(n): "" for n in range(17)}}, "metadata"),
    ],
    ids=lambda value: str(value)[:50],
)
def test_a_wrong_prompt_is_refused_by_field(
    api: Api, alice: Person, llm: LLM, paid: StandIn, body: dict[str, Any], field: str
) -> None:
    assert_invalid(api.post(alice, GENERATE, {"llm": str(llm), **body}), field)
    assert paid.requests == []
    assert not Message.objects.filter(workspace=alice.workspace).exists()


def turn(**fields: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "content": "x", **fields}]


@pytest.mark.parametrize(
    ("messages", "message"),
    [
        (None, "messages: This field may not be null."),
        ([], "messages: This list may not be empty."),
        ("x", "messages: "),
        (["x"], "messages"),
        (turn(role="developer"), "messages.0.role: "),
        (turn(role=None), "messages.0.role: "),
        (turn(content=""), "messages.0.content: A message needs a text or an attachment."),
        (turn(content=["x"]), "messages.0.content: "),
        (turn(name="x"), "messages.0.name: Unknown field."),
        (turn(tool_call_id="x"), "messages.0.tool_call_id: Only a turn of role “tool” has this."),
        (turn(tool_calls=[CALL]), "messages.0.tool_calls: Only a turn of role “assistant” has this."),
        ([*turn(), *turn(role="assistant", content="")], "messages.1.content: An answer has a text or calls"),
        (turn(role="assistant", tool_calls=[{"id": "x"}]), "messages.0.tool_calls.0.name: "),
        (turn(role="assistant", tool_calls=[{**CALL, "x": 1}]), "messages.0.tool_calls.0.x: Unknown field."),
        (turn(role="tool"), "messages.0.tool_call_id: Name the tool call"),
        (turn(role="assistant", attachments=TURNS[1]["attachments"]), "messages.0.attachments: Only a turn of role"),
        (turn(role="tool", tool_call_id="call_2"), "messages: No tool call before it has the id “call_2”."),
        (turn(role="system"), "messages: There is no message to answer."),
        (turn(role="assistant"), "messages: There is no message to answer."),
        (turn(attachments=TURNS[1]["attachments"] * 10) * 6, "messages: A request has at most 50 images."),
    ],
    ids=lambda value: str(value)[:50],
)
def test_wrong_turns_are_refused_by_place(
    api: Api, alice: Person, llm: LLM, paid: StandIn, messages: Any, message: str
) -> None:
    response = api.post(alice, CHAT, {"llm": str(llm), "messages": messages})
    assert_invalid(response, "messages")
    assert response.json()["error"]["message"].startswith(message)
    assert paid.requests == []


def test_a_chat_has_turns_and_no_prompt(api: Api, alice: Person, llm: LLM, paid: StandIn) -> None:
    body = {"llm": str(llm), "messages": turn(), "prompt": "x", "attachments": []}
    assert_invalid(api.post(alice, CHAT, body), "prompt", "attachments")
    assert_invalid(api.post(alice, CHAT, {"llm": str(llm)}), "messages")
    assert paid.requests == []
