"""/llm/generate and /llm/chat: one call that brings its whole prompt, on the road of every message."""

from __future__ import annotations

import base64
from decimal import Decimal
from typing import Any

import httpx2
import pytest

from conversations.models import Conversation, Message
from llm.models import LLM
from tests.api.asking import (
    Api,
    assert_invalid,
    balance,
    charges,
    error_of,
    events_in,
    make_agent,
    messages_of,
    picture,
    set_wallet,
    the_log,
)
from tests.catalogue import make_llm
from tests.conftest import wait_for
from tests.people import Cast, Person, fund
from tests.providers.standins import StandIn, answer, fault, refusal
from workspaces.models import AccessToken, Workspace

GENERATE, CHAT = "llm/generate", "llm/chat"
PARAMETERS = {"type": "object", "properties": {"a": {"type": "number"}}}
ADD = {"name": "add", "description": "Adds.", "parameters": PARAMETERS}
CALL = {"id": "call_1", "name": "add", "arguments": '{"a": 1}'}
SCHEMA = {"type": "object", "properties": {"sum": {"type": "number"}}}
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
TURNS: list[dict[str, Any]] = [
    {"role": "system", "content": "In Latin."},
    {"role": "user", "content": "What is it?", "attachments": [{"type": "image", "data": picture()}]},
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "call_1", "content": "2"},
]
HELLO = {"prompt": "Hello"}


def change_workspace(person: Person, **fields: Any) -> None:
    Workspace.objects.filter(pk=person.workspace.pk).update(**fields)


def generated(api: Api, person: Person, path: str = GENERATE, **body: Any) -> dict[str, Any]:
    """The answer to “Hello”, or to what ``body`` says."""
    response = api.post(person, path, {**({} if "messages" in body else HELLO), **body})
    assert response.status_code == 201, response.text
    found: dict[str, Any] = response.json()
    return found


def told(response: httpx2.Response) -> list[Any]:
    assert response.status_code == 200, response.text
    assert response.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    return events_in(response.text)


# --- What comes back, and what is kept ------------------------------------------------------------------------------


def test_a_prompt_is_answered_metered_and_charged(api: Api, alice: Person, llm: LLM, paid: StandIn) -> None:
    paid.answer("Four.", usage={"input": 12, "cached_input": 3, "output": 4, "reasoning": 1})
    body = generated(api, alice, prompt="Two and two?", llm="openai/openai-test", max_tokens=100)
    question, answer_ = Message.objects.filter(workspace=alice.workspace).order_by("id")
    chat = Conversation.objects.get(workspace=alice.workspace)
    log = the_log(alice.workspace)
    stored = api.get(alice, f"{messages_of(chat)}/{answer_.pk}").json()
    assert body == {
        "message": {name: stored[name] for name in body["message"]},
        "usage": stored["usage"],
        "cost": "0.000025",
    }
    assert set(stored) - set(body["message"]) == {"usage", "cost", "attempts"}
    assert (body["message"]["content"], body["message"]["role"]) == ("Four.", "assistant")
    assert (body["message"]["model_used"], body["message"]["max_tokens"]) == ("openai/openai-test", 100)
    assert (body["usage"]["id"], body["usage"]["total_tokens"]) == (str(log.pk), 20)
    assert (question.content, question.role, answer_.reply_to_id) == ("Two and two?", "user", question.pk)
    assert (chat.kind, chat.user_id, chat.message_count) == ("api", alice.user.pk, 2)
    assert charges(alice.workspace) == [Decimal("-0.000025")]
    assert balance(alice.workspace) == Decimal("0.999975")
    assert paid.requests[0].body == {
        "model": "openai-test",
        "max_completion_tokens": 100,
        "messages": [{"role": "user", "content": "Two and two?"}],
    }


def test_every_call_stands_alone(api: Api, alice: Person, llm: LLM, paid: StandIn) -> None:
    """Nothing of an earlier call, of an agent or of its settings comes with it."""
    make_agent(alice, llm, is_default=True, system_prompt="You count.", temperature=0.1, settings={"stop": ["A"]})
    first, second = generated(api, alice), generated(api, alice, prompt="And?")
    assert first["message"]["conversation"] == second["message"]["conversation"]
    assert paid.requests[1].body == {
        "model": "openai-test",
        "max_completion_tokens": 4096,
        "messages": [{"role": "user", "content": "And?"}],
    }


def test_what_is_noted_with_a_call_is_kept_with_the_question(api: Api, alice: Person, llm: LLM, paid: StandIn) -> None:
    notes = {"order": "4711", "conversation_id": "mine"}
    reply_to = generated(api, alice, llm=str(llm), metadata=notes)["message"]["reply_to"]
    assert Message.objects.get(workspace=alice.workspace, pk=reply_to).metadata == notes
    assert "metadata" not in paid.requests[0].body


@pytest.mark.parametrize("path", ["llm/generate/", "llm/openai/generate/"])
def test_with_a_slash_at_the_end(api: Api, alice: Person, llm: LLM, paid: StandIn, path: str) -> None:
    assert generated(api, alice, path, llm=str(llm))["cost"] == "0.00002"


# --- What the providers are sent ------------------------------------------------------------------------------------

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


# --- Streams --------------------------------------------------------------------------------------------------------


def test_a_stream(api: Api, alice: Person, llm: LLM, paid: StandIn) -> None:
    paid.answer("One two.", delay=0.02)
    started, *deltas, completed = told(api.post(alice, GENERATE, {**HELLO, "llm": str(llm), "stream": True}))
    question, answer_ = Message.objects.filter(workspace=alice.workspace).order_by("id")
    assert (started.name, set(started.data)) == ("message.started", {"message", "question"})
    assert (started.data["message"]["id"], started.data["message"]["status"]) == (str(answer_.pk), "pending")
    assert started.data["question"]["id"] == str(question.pk)
    assert {delta.name for delta in deltas} == {"delta"}
    assert "".join(delta.data["text"] for delta in deltas) == "One two."
    assert {delta.data["message_id"] for delta in deltas} == {str(answer_.pk)}
    assert (completed.name, set(completed.data)) == ("message.completed", {"message", "usage", "cost"})
    assert (completed.data["message"]["content"], completed.data["cost"]) == ("One two.", "0.00002")
    assert paid.requests[0].body["stream"] is True
    assert balance(alice.workspace) == Decimal("0.99998")


def test_a_stream_that_breaks_off(api: Api, alice: Person, llm: LLM, paid: StandIn) -> None:
    paid.script(fault("cut", after=3, chunks=["Hello", " world", " and", " more"]))
    events = told(api.post(alice, GENERATE, {**HELLO, "llm": str(llm), "stream": True}))
    assert events[-1].name == "error"
    assert events[-1].data["error"]["code"] == "provider_stream_interrupted"
    assert events[-1].data["message"]["content"] == "Hello world"
    assert (events[-1].data["usage"]["is_estimate"], events[-1].data["cost"]) == (True, "0.000016")
    assert balance(alice.workspace) == Decimal("0.999984")


def test_a_client_that_hangs_up_has_its_answer_finished_and_charged(
    api: Api, alice: Person, llm: LLM, paid: StandIn
) -> None:
    paid.answer("One two three four.", delay=0.1)
    body = {**HELLO, "llm": str(llm), "stream": True}
    with httpx2.stream("POST", f"{api.url}/api/v1/{GENERATE}", json=body, headers=alice.headers) as response:
        assert response.status_code == 200
        next(response.iter_raw())
    wait_for(lambda: Message.objects.filter(workspace=alice.workspace, status="sent").count() == 2, "the answer")
    assert paid.requests[0].is_finished
    answer_ = Message.objects.get(workspace=alice.workspace, role="assistant")
    assert (answer_.content, the_log(alice.workspace).is_estimate) == ("One two three four.", False)
    assert balance(alice.workspace) == Decimal("0.99998")


# --- A workspace that keeps no content ------------------------------------------------------------------------------


@pytest.fixture
def forgetful(alice: Person) -> Person:
    change_workspace(alice, keeps_api_content=False)
    return alice


def test_what_is_not_kept_is_given_once(api: Api, forgetful: Person, llm: LLM, paid: StandIn) -> None:
    paid.script(answer("Four. \x00"), answer("", tool_calls=[CALL], finish_reason="tool_calls"))
    image = {"type": "image", "data": picture()}
    first = generated(api, forgetful, prompt="Two and two?", llm=str(llm), attachments=[image], metadata={"a": "b"})
    second = generated(api, forgetful, llm=str(llm), tools=[ADD])
    assert (first["message"]["content"], first["cost"]) == ("Four. ", "0.00002")
    assert second["message"]["tool_calls"] == [{**CALL, "signature": ""}]
    rows = Message.objects.filter(workspace=forgetful.workspace)
    assert set(rows.values_list("content", flat=True)) == {""}
    assert all(row.attachments == [] and row.tool_calls == [] for row in rows)
    assert "Four" not in str([row.call for row in rows])
    shown = api.get(forgetful, f"conversations/{first['message']['conversation']}/messages").text
    assert "Four" not in shown
    assert "Two and two" not in shown
    assert balance(forgetful.workspace) == Decimal("0.99996")


def test_a_stream_of_what_is_not_kept(api: Api, forgetful: Person, llm: LLM, paid: StandIn) -> None:
    paid.script(answer("One two."), fault("cut", after=3, chunks=["Hello", " world", " and"]))
    body = {**HELLO, "llm": str(llm), "stream": True}
    completed = told(api.post(forgetful, GENERATE, body))[-1]
    assert (completed.name, completed.data["message"]["content"]) == ("message.completed", "One two.")
    broken_off = told(api.post(forgetful, GENERATE, body))[-1]
    assert (broken_off.name, broken_off.data["message"]["content"]) == ("error", "Hello world")
    rows = Message.objects.filter(workspace=forgetful.workspace)
    assert set(rows.values_list("content", flat=True)) == {""}


@pytest.mark.parametrize("stream", [False, True])
def test_what_is_not_kept_is_not_given_again(
    api: Api, forgetful: Person, llm: LLM, paid: StandIn, stream: bool
) -> None:
    body = {**HELLO, "llm": str(llm), "stream": stream}
    first = api.post(forgetful, GENERATE, body, **{"Idempotency-Key": "k"})
    message = told(first)[-1].data["message"] if stream else first.json()["message"]
    again = api.post(forgetful, GENERATE, body, **{"Idempotency-Key": "k"})
    assert error_of(again, 409, "answer_not_kept")["details"] == {"message_id": message["id"]}
    assert len(paid.requests) == 1
    assert balance(forgetful.workspace) == Decimal("0.99998")


# --- The same key again ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [GENERATE, CHAT, "llm/openai/generate"])
def test_a_replay(api: Api, alice: Person, llm: LLM, paid: StandIn, path: str) -> None:
    body: dict[str, Any] = HELLO if path != CHAT else {"messages": [{"role": "user", "content": "Hello"}]}
    first = api.post(alice, path, {**body, "llm": str(llm)}, **{"Idempotency-Key": "k"})
    again = api.post(alice, path, {**body, "llm": str(llm.pk)}, **{"Idempotency-Key": "k"})
    assert (first.status_code, again.status_code, again.json()) == (201, 201, first.json())
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"
    started, delta, completed = told(
        api.post(alice, path, {**body, "llm": str(llm), "stream": True}, **{"Idempotency-Key": "k"})
    )
    assert started.data["message"].items() <= first.json()["message"].items()
    assert (delta.data["text"], completed.data) == ("Hello from the stand-in.", first.json())
    assert len(paid.requests) == 1
    assert charges(alice.workspace) == [Decimal("-0.00002")]


@pytest.mark.parametrize(
    "change", [{"prompt": "Other"}, {"system": "Be brief."}, {"seed": 1}, {"top_p": 0.5}, {"metadata": {"a": "b"}}]
)
def test_another_request_under_the_same_key(
    api: Api, alice: Person, llm: LLM, paid: StandIn, change: dict[str, Any]
) -> None:
    generated(api, alice, llm=str(llm))
    key = {"Idempotency-Key": "k"}
    assert api.post(alice, GENERATE, {**HELLO, "llm": str(llm)}, **key).status_code == 201
    error_of(api.post(alice, GENERATE, {**HELLO, "llm": str(llm), **change}, **key), 422, "idempotency_key_reused")
    assert len(paid.requests) == 2


def test_the_cheapest_model_of_then_is_the_answer_of_now(api: Api, alice: Person, llm: LLM, paid: StandIn) -> None:
    """What the choice falls on is no part of what was asked."""
    key = {"Idempotency-Key": "k"}
    first = api.post(alice, "llm/openai/generate", HELLO, **key)
    make_llm("openai", "cheaper", price={"input_usd_per_mtok": Decimal("0.1")})
    assert api.post(alice, "llm/openai/generate", HELLO, **key).json() == first.json()


# --- Refusals and failures ------------------------------------------------------------------------------------------


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


# --- Which model ----------------------------------------------------------------------------------------------------


def test_without_a_name_the_default_answers(api: Api, alice: Person, paid: StandIn) -> None:
    of_agent, of_workspace = make_llm("openai", "of-agent"), make_llm("openai", "of-workspace")
    error = error_of(api.post(alice, GENERATE, HELLO), 422, "no_model")
    assert set(error["details"]) == {"llm"}
    change_workspace(alice, default_model=str(of_workspace))
    assert generated(api, alice)["message"]["model_used"] == "openai/of-workspace"
    make_agent(alice, of_agent, is_default=True)
    assert generated(api, alice, llm=None)["message"]["model_used"] == "openai/of-agent"
    assert generated(api, alice, llm=str(of_workspace.pk))["message"]["model_used"] == "openai/of-workspace"


def test_a_model_that_can_not_be_called(api: Api, alice: Person, llm: LLM, paid: StandIn) -> None:
    change_workspace(alice, allowed_models=["openai/other"])
    error_of(api.post(alice, GENERATE, {**HELLO, "llm": str(llm)}), 403, "model_not_allowed")
    change_workspace(alice, allowed_models=[])
    LLM.objects.filter(pk=llm.pk).update(is_active=False)
    error_of(api.post(alice, GENERATE, {**HELLO, "llm": str(llm)}), 422, "model_retired")
    LLM.objects.create(provider="openai", name="free", display_name="F", context_window=1000, max_output_tokens=10)
    error_of(api.post(alice, GENERATE, {**HELLO, "llm": "openai/free"}), 422, "no_price")
    assert paid.requests == []


# --- Who ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [GENERATE, CHAT, "llm/openai/generate"])
def test_everybody_calls_in_the_own_workspace(
    api: Api, cast: Cast, victor: Person, llm: LLM, paid: StandIn, path: str
) -> None:
    body = {"llm": str(llm), **(HELLO if path != CHAT else {"messages": [{"role": "user", "content": "Hello"}]})}
    first, second = (api.post(person, path, body).json()["message"] for person in (cast.alice, cast.bob))
    assert (first["user"], second["user"]) == (str(cast.alice.user.pk), str(cast.bob.user.pk))
    assert first["conversation"] != second["conversation"]
    error_of(api.get(cast.alice, f"conversations/{second['conversation']}"), 404, "not_found")
    assert balance(cast.alice.workspace) == Decimal("0.99996")
    error_of(api.post(victor, path, body), 403, "permission_denied")
    error_of(api.post(victor, path, {"nonsense": 1}), 403, "permission_denied")
    error_of(api.post(cast.charlie, path, body), 402, "insufficient_balance")
    assert len(paid.requests) == 2
    set_wallet(cast.charlie.workspace, mode="untracked")
    assert api.post(cast.charlie, path, body).json()["cost"] == "0.00"
    assert balance(cast.alice.workspace) == Decimal("0.99996")


def test_a_suspended_workspace(api: Api, alice: Person, llm: LLM, paid: StandIn) -> None:
    change_workspace(alice, status=Workspace.Status.SUSPENDED)
    error_of(api.post(alice, GENERATE, {**HELLO, "llm": str(llm)}), 403, "workspace_suspended")
    assert paid.requests == []


@pytest.mark.parametrize("path", [GENERATE, CHAT, "llm/openai/generate"])
def test_it_is_posted_or_not_at_all(api: Api, alice: Person, path: str) -> None:
    error_of(api.get(alice, path), 405, "method_not_allowed")
