"""/llm/generate and /llm/chat: one call that brings its whole prompt, on the road of every message."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import httpx2
import pytest

from conversations.models import Conversation, Message
from llm.models import LLM
from tests.api.asking import (
    Api,
    balance,
    change_workspace,
    charges,
    error_of,
    make_agent,
    messages_of,
    picture,
    set_wallet,
    the_log,
)
from tests.api.shooting import ADD, CALL, CHAT, GENERATE, HELLO, generated, told
from tests.catalogue import make_llm
from tests.conftest import wait_for
from tests.people import Cast, Person
from tests.providers.standins import StandIn, answer, fault
from workspaces.models import Workspace

# --- What comes back, and what is kept --------------------------------------------------------------------------------


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


# --- Streams ----------------------------------------------------------------------------------------------------------


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


# --- A workspace that keeps no content --------------------------------------------------------------------------------


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


# --- The same key again -----------------------------------------------------------------------------------------------


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


# --- Which model ------------------------------------------------------------------------------------------------------


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


# --- Who --------------------------------------------------------------------------------------------------------------


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
