"""Idempotency-Key: the same request again gives the stored answer and no second charge."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import pytest

from conversations.models import Conversation, Message
from llm.models import LLM
from tests.api.asking import Api, balance, charges, error_of, events_in, make_conversation, messages_of
from tests.conftest import wait_for
from tests.people import Cast, Person, fund
from tests.providers.standins import StandIn, refusal
from workspaces.models import Workspace


def test_a_replay(api: Api, alice: Person, chat: Conversation, llm: LLM, paid: StandIn) -> None:
    first = api.ask(alice, chat, llm=str(llm), key="k")
    second = api.ask(alice, chat, llm=str(llm), key="k")
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json() == second.json()
    assert "Idempotent-Replayed" not in first.headers
    assert second.headers["Idempotent-Replayed"] == "true"
    assert len(paid.requests) == 1
    assert charges(alice.workspace) == [Decimal("-0.00002")]
    assert Message.objects.filter(workspace=alice.workspace).count() == 2


def test_without_a_key_every_request_is_a_new_one(
    api: Api, alice: Person, chat: Conversation, llm: LLM, paid: StandIn
) -> None:
    assert api.ask(alice, chat, llm=str(llm)).json() != api.ask(alice, chat, llm=str(llm)).json()
    assert len(paid.requests) == 2
    assert balance(alice.workspace) == Decimal("0.99996")


@pytest.mark.parametrize("change", [{"content": "Other"}, {"max_tokens": 10}, {"temperature": 1}, {"stop": ["x"]}])
def test_another_body_with_the_same_key(
    api: Api, alice: Person, chat: Conversation, llm: LLM, paid: StandIn, change: dict[str, Any]
) -> None:
    api.ask(alice, chat, llm=str(llm), key="k")
    body = {"content": "Hello", "llm": str(llm), **change}
    response = api.post(alice, messages_of(chat), body, **{"Idempotency-Key": "k"})
    error_of(response, 422, "idempotency_key_reused")
    assert len(paid.requests) == 1


def test_another_conversation_with_the_same_key(
    api: Api, alice: Person, chat: Conversation, llm: LLM, paid: StandIn
) -> None:
    api.ask(alice, chat, llm=str(llm), key="k")
    error_of(api.ask(alice, make_conversation(alice), llm=str(llm), key="k"), 422, "idempotency_key_reused")
    assert len(paid.requests) == 1


def test_the_same_key_while_the_first_is_running(
    api: Api, alice: Person, chat: Conversation, llm: LLM, paid: StandIn
) -> None:
    paid.answer(wait=1.0)
    with ThreadPoolExecutor() as pool:
        first = pool.submit(api.ask, alice, chat, llm=str(llm), key="k")
        wait_for(lambda: len(paid.requests) == 1, "the first call")
        second = api.ask(alice, chat, llm=str(llm), key="k")
        answer = first.result()
    error = error_of(second, 409, "request_in_progress")
    assert second.headers["Retry-After"] == "2"
    assert error["details"] == {"message_id": answer.json()["message"]["id"]}
    assert api.ask(alice, chat, llm=str(llm), key="k").json() == answer.json()
    assert len(paid.requests) == 1


def test_a_key_belongs_to_its_user(api: Api, cast: Cast, llm: LLM, paid: StandIn) -> None:
    shared = make_conversation(cast.alice, is_shared=True)
    assert api.ask(cast.alice, shared, llm=str(llm), key="k").status_code == 201
    other = api.ask(cast.bob, shared, llm=str(llm), key="k")
    assert other.status_code == 201
    assert "Idempotent-Replayed" not in other.headers
    assert len(paid.requests) == 2


def test_a_key_belongs_to_its_workspace(api: Api, cast: Cast, llm: LLM, paid: StandIn) -> None:
    fund(cast.charlie.workspace, "1")
    assert api.ask(cast.alice, make_conversation(cast.alice), llm=str(llm), key="k").status_code == 201
    other = api.ask(cast.charlie, make_conversation(cast.charlie), llm=str(llm), key="k")
    assert other.status_code == 201
    assert "Idempotent-Replayed" not in other.headers
    assert balance(cast.charlie.workspace) == Decimal("0.99998")


def test_a_key_can_be_used_again_after_a_refusal(
    api: Api, cast: Cast, llm: LLM, house_keys: StandIn, audited: None
) -> None:
    chat = make_conversation(cast.alice)
    error_of(api.ask(cast.alice, chat, llm=str(llm), key="k"), 402, "insufficient_balance")
    fund(cast.alice.workspace, "1")
    response = api.ask(cast.alice, chat, llm=str(llm), max_tokens=100, key="k")
    assert response.status_code == 201
    assert "Idempotent-Replayed" not in response.headers


def test_a_failed_call_is_replayed_as_the_failure_it_was(
    api: Api, alice: Person, chat: Conversation, llm: LLM, paid: StandIn
) -> None:
    paid.script(refusal(429, headers={"retry-after": "7"}))
    first = api.ask(alice, chat, llm=str(llm), key="k")
    second = api.ask(alice, chat, llm=str(llm), key="k")
    one, two = (error_of(response, 503, "provider_rate_limited") for response in (first, second))
    assert one["details"] == two["details"]
    assert first.headers["Retry-After"] == second.headers["Retry-After"]
    assert len(paid.requests) == 1


def test_a_replay_costs_nothing_even_when_nothing_is_left(
    api: Api, alice: Person, chat: Conversation, llm: LLM, house_keys: StandIn, audited: None
) -> None:
    fund(alice.workspace, "0.000219")
    assert api.ask(alice, chat, llm=str(llm), max_tokens=100, key="k").status_code == 201
    error_of(api.ask(alice, chat, "x" * 1000, llm=str(llm), key="other"), 402, "insufficient_balance")
    assert api.ask(alice, chat, llm=str(llm), max_tokens=100, key="k").status_code == 201


def test_a_replay_into_a_conversation_archived_since(
    api: Api, alice: Person, chat: Conversation, llm: LLM, paid: StandIn
) -> None:
    first = api.ask(alice, chat, llm=str(llm), key="k")
    Conversation.objects.filter(workspace=alice.workspace).update(status="archived")
    assert api.ask(alice, chat, llm=str(llm), key="k").json() == first.json()


def test_the_replay_of_a_stream(api: Api, alice: Person, chat: Conversation, llm: LLM, paid: StandIn) -> None:
    first = api.ask(alice, chat, llm=str(llm), key="k").json()
    response = api.ask(alice, chat, llm=str(llm), key="k", stream=True)
    assert (response.status_code, response.headers["Idempotent-Replayed"]) == (200, "true")
    started, delta, completed = events_in(response.text)
    begun = {name: value for name, value in first["message"].items() if name != "tags"}
    assert (started.name, started.data) == ("message.started", {"message": begun})
    assert (delta.name, delta.data["text"]) == ("delta", "Hello from the stand-in.")
    assert (completed.name, completed.data) == ("message.completed", first)
    assert len(paid.requests) == 1


@pytest.mark.parametrize("key", ["x" * 256, "", "   ", "\t"])
def test_a_key_that_is_none(alice: Person, chat: Conversation, llm: LLM, paid: StandIn, key: str) -> None:
    body = {"content": "Hello", "llm": str(llm)}
    error_of(alice.post(messages_of(chat), body, **{"Idempotency-Key": key}), 400, "invalid_idempotency_key")
    assert paid.requests == []


def test_a_long_key(api: Api, alice: Person, chat: Conversation, llm: LLM, paid: StandIn) -> None:
    assert api.ask(alice, chat, llm=str(llm), key="x" * 255).status_code == 201
    assert api.ask(alice, chat, llm=str(llm), key="x" * 255).headers["Idempotent-Replayed"] == "true"


def test_a_suspended_workspace_replays_nothing(
    api: Api, alice: Person, chat: Conversation, llm: LLM, paid: StandIn
) -> None:
    api.ask(alice, chat, llm=str(llm), key="k")
    Workspace.objects.filter(pk=alice.workspace.pk).update(status=Workspace.Status.SUSPENDED)
    error_of(api.ask(alice, chat, llm=str(llm), key="k"), 403, "workspace_suspended")
