"""/conversations/{id}/messages: asking, and reading what was said."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from conversations.models import Conversation, Message
from llm.models import LLM
from tests import tenancy_guard
from tests.api.asking import (
    Api,
    assert_invalid,
    balance,
    change,
    charges,
    error_of,
    make_agent,
    make_answer,
    make_conversation,
    messages_of,
    the_log,
)
from tests.catalogue import make_llm
from tests.people import Cast, Person
from tests.providers.standins import StandIn


def stamp(moment: Any) -> str:
    return str(moment.isoformat().replace("+00:00", "Z"))


def test_a_message_is_answered_metered_and_charged(
    api: Api, alice: Person, chat: Conversation, llm: LLM, paid: StandIn
) -> None:
    paid.answer("Four.", usage={"input": 12, "cached_input": 3, "output": 4, "reasoning": 1})
    response = api.ask(alice, chat, "Two and two?", llm="openai/openai-test", temperature=0.5, max_tokens=100)
    assert response.status_code == 201, response.text
    question, answer = Message.objects.filter(workspace=alice.workspace).order_by("id")
    log = the_log(alice.workspace)
    assert response.json() == {
        "message": {
            "id": str(answer.pk),
            "conversation": str(chat.pk),
            "user": str(alice.user.pk),
            "role": "assistant",
            "content": "Four.",
            "attachments": [],
            "tool_calls": [],
            "tool_call_id": "",
            "reply_to": str(question.pk),
            "llm": str(llm.pk),
            "model_used": "openai/openai-test",
            "tokens_used": 20,
            "processing_time_ms": answer.processing_time_ms,
            "temperature": 0.5,
            "max_tokens": 100,
            "status": "sent",
            "finish_reason": "stop",
            "error_code": "",
            "error_message": "",
            "metadata": {},
            "created_at": stamp(answer.created_at),
            "updated_at": stamp(answer.updated_at),
            "tags": [],
        },
        "usage": {
            "id": str(log.pk),
            "model": "openai/openai-test",
            "input_tokens": 12,
            "cached_input_tokens": 3,
            "cache_write_5m_tokens": 0,
            "cache_write_1h_tokens": 0,
            "output_tokens": 4,
            "reasoning_tokens": 1,
            "total_tokens": 20,
            "cost_usd": "0.000025",
            "charged_usd": "0.000025",
            "status": "success",
            "is_estimate": False,
            "key_source": "global",
            "user_api_key_used": False,
            "latency_ms": log.latency_ms,
            "time_to_first_token_ms": log.time_to_first_token_ms,
            "api_status_code": 200,
            "attempt": 1,
        },
        "cost": "0.000025",
    }
    assert balance(alice.workspace) == Decimal("0.999975")
    assert charges(alice.workspace) == [Decimal("-0.000025")]
    [sent] = paid.requests
    assert sent.body == {
        "model": "openai-test",
        "max_completion_tokens": 100,
        "temperature": 0.5,
        "messages": [{"role": "user", "content": "Two and two?"}],
    }
    assert sent.key == "sk-house-openai-0123456789abcdef"


@pytest.mark.parametrize("vendor", ["anthropic", "google", "grok", "deepseek", "llama"])
def test_every_provider_answers(api: Api, alice: Person, chat: Conversation, paid: StandIn, vendor: str) -> None:
    llm = make_llm(vendor)
    response = api.ask(alice, chat, llm=str(llm))
    assert response.status_code == 201, response.text
    assert response.json()["message"]["content"] == "Hello from the stand-in."
    assert response.json()["cost"] == "0.00002"
    assert balance(alice.workspace) == Decimal("0.99998")
    assert paid.requests[0].key == f"sk-house-{vendor}-0123456789abcdef"


def test_the_conversation_counts(api: Api, alice: Person, chat: Conversation, llm: LLM, paid: StandIn) -> None:
    for _ in range(2):
        assert api.ask(alice, chat, llm=str(llm)).status_code == 201
    shown = api.get(alice, f"conversations/{chat.pk}").json()
    assert (shown["message_count"], shown["total_tokens"], shown["total_cost"]) == (4, 30, "0.00004")
    assert shown["last_message_at"] is not None
    statistics = chat.conversation_llms.get()
    assert (statistics.message_count, statistics.input_tokens, statistics.output_tokens) == (2, 20, 10)
    assert statistics.total_cost == Decimal("0.00004")


def test_the_model_is_told_what_was_said_before(
    api: Api, alice: Person, chat: Conversation, llm: LLM, paid: StandIn
) -> None:
    paid.answer("Four.")
    api.ask(alice, chat, "Two and two?", llm=str(llm))
    api.ask(alice, chat, "And three?", llm=str(llm))
    assert paid.requests[1].body["messages"] == [
        {"role": "user", "content": "Two and two?"},
        {"role": "assistant", "content": "Four."},
        {"role": "user", "content": "And three?"},
    ]


def test_white_space_and_all_letters_go_through_unchanged(
    api: Api, alice: Person, chat: Conversation, llm: LLM, paid: StandIn
) -> None:
    content = "  a\n\tb 😀 “c” \u202e "
    paid.answer(" <b>é\n")
    response = api.ask(alice, chat, content, llm=str(llm))
    assert paid.requests[0].body["messages"][0]["content"] == content
    assert response.json()["message"]["content"] == " <b>é\n"
    assert api.get(alice, messages_of(chat)).json()["results"][1]["content"] == content


# --- Who may --------------------------------------------------------------------------------------------------------


def test_a_colleague_writes_into_a_shared_conversation(api: Api, cast: Cast, llm: LLM, paid: StandIn) -> None:
    shared = make_conversation(cast.alice, is_shared=True)
    response = api.ask(cast.bob, shared, llm=str(llm))
    assert response.status_code == 201, response.text
    assert response.json()["message"]["user"] == str(cast.bob.user.pk)
    assert [event["user"] for event in api.get(cast.bob, "billing-events").json()["results"]] == [str(cast.bob.user.pk)]
    assert api.get(cast.alice, messages_of(shared)).json()["results"][0]["content"] == "Hello from the stand-in."


@pytest.mark.parametrize("role", ["bob", "dora", "charlie"])
def test_whoever_does_not_see_a_conversation_finds_none(
    request: pytest.FixtureRequest, api: Api, chat: Conversation, llm: LLM, paid: StandIn, role: str
) -> None:
    person: Person = request.getfixturevalue(role)
    error_of(api.ask(person, chat, llm=str(llm)), 404, "not_found")
    error_of(api.post(person, messages_of(chat), {"nonsense": 1}), 404, "not_found")
    error_of(api.get(person, messages_of(chat)), 404, "not_found")
    assert paid.requests == []


def test_a_viewer_reads_and_does_not_ask(api: Api, alice: Person, victor: Person, llm: LLM, paid: StandIn) -> None:
    shared = make_conversation(alice, is_shared=True)
    error_of(api.ask(victor, shared, llm=str(llm)), 403, "permission_denied")
    assert api.get(victor, messages_of(shared)).json()["results"] == []
    assert paid.requests == []


def test_an_archived_conversation_takes_no_message(api: Api, alice: Person, llm: LLM, paid: StandIn) -> None:
    archived = make_conversation(alice, status="archived")
    error_of(api.ask(alice, archived, llm=str(llm)), 409, "conversation_archived")
    assert api.get(alice, messages_of(archived)).json()["results"] == []
    assert paid.requests == []


# --- Reading --------------------------------------------------------------------------------------------------------


def test_the_list_is_newest_first_with_usage_and_cost(
    api: Api, alice: Person, chat: Conversation, llm: LLM, paid: StandIn
) -> None:
    created = api.ask(alice, chat, llm=str(llm)).json()
    answer, question = api.get(alice, messages_of(chat)).json()["results"]
    assert answer == {**created["message"], "usage": created["usage"], "cost": "0.00002"}
    assert (question["role"], question["content"], question["status"]) == ("user", "Hello", "sent")
    assert (question["usage"], question["cost"], question["llm"]) == (None, None, None)
    assert api.get(alice, f"{messages_of(chat)}/{answer['id']}").json() == {**answer, "attempts": [answer["usage"]]}
    assert api.get(alice, f"{messages_of(chat)}/{question['id']}").json() == {**question, "attempts": []}


def test_pages_stay_stable_while_messages_are_added(api: Api, alice: Person, chat: Conversation) -> None:
    for n in range(5):
        make_answer(chat, str(n))
    page = api.get(alice, messages_of(chat), limit=2).json()
    seen = [row["content"] for row in page["results"]]
    make_answer(chat, "new")
    while page["next"]:
        page = api.get(alice, messages_of(chat) + "?" + page["next"].partition("?")[2]).json()
        seen += [row["content"] for row in page["results"]]
    assert seen == ["4", "3", "2", "1", "0"]


def test_filters(api: Api, alice: Person, chat: Conversation) -> None:
    make_answer(chat, "question", role="user")
    make_answer(chat, "failed", status="error")

    def contents(**query: str) -> list[str]:
        return [row["content"] for row in api.get(alice, messages_of(chat), **query).json()["results"]]

    assert contents(role="user") == ["question"]
    assert contents(status="error") == ["failed"]
    assert_invalid(api.get(alice, messages_of(chat), role="king"), "role")


def test_messages_are_neither_changed_nor_deleted(api: Api, alice: Person, chat: Conversation) -> None:
    answer = make_answer(chat)
    path = f"{messages_of(chat)}/{answer.pk}"
    for method in (alice.put, alice.patch):
        error_of(method(path, {"content": "x"}), 405, "method_not_allowed")
    error_of(alice.delete(path), 405, "method_not_allowed")
    error_of(api.post(alice, path, {}), 405, "method_not_allowed")


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The SQL of every thread, as it comes."""
    seen: list[str] = []
    original = tenancy_guard.missing

    def watch(sql: str) -> list[str]:
        if sql.startswith(("SELECT", "INSERT", "UPDATE", "DELETE", "WITH")):
            seen.append(sql)
        return original(sql)

    monkeypatch.setattr(tenancy_guard, "missing", watch)
    return seen


def test_the_list_takes_six_queries_however_long(
    api: Api, alice: Person, chat: Conversation, llm: LLM, paid: StandIn, statements: list[str]
) -> None:
    api.get(alice, messages_of(chat))
    for count in (1, 5):
        for _ in range(count):
            api.ask(alice, chat, llm=str(llm))
        statements.clear()
        assert len(api.get(alice, messages_of(chat)).json()["results"]) in {2, 12}
        assert len(statements) == 6, statements  # token, membership, conversation, messages, usage, tags


def test_asking_takes_as_many_queries_however_long_the_conversation(
    api: Api, alice: Person, chat: Conversation, llm: LLM, paid: StandIn, statements: list[str]
) -> None:
    change(chat, agent=make_agent(alice, llm))
    api.ask(alice, chat)  # the first of a conversation makes its statistics
    counts = []
    for _ in range(4):
        statements.clear()
        api.ask(alice, chat)
        counts.append(len(statements))
    assert len(set(counts)) == 1, counts
