"""Answers with several tool calls: their results come back together, and no prompt lacks one of them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from conversations.models import Conversation, Message
from llm.models import LLM
from tests.api.asking import Api, assert_invalid, balance, change, error_of, make_answer, messages_of
from tests.catalogue import make_llm
from tests.people import Person
from tests.providers.standins import StandIn, answer, refusal

ADD = {"name": "add", "description": "Adds.", "parameters": {"type": "object", "properties": {"a": {"type": "number"}}}}
CALLS = [
    {"id": "call_1", "name": "add", "arguments": '{"a": 1}'},
    {"id": "call_2", "name": "add", "arguments": '{"a": 2}'},
]
RESULTS = [
    {"tool_call_id": "call_1", "content": "One."},
    {"tool_call_id": "call_2", "content": "It broke.", "is_error": True},
]
WIRED = {
    "role": "assistant",
    "content": None,
    "tool_calls": [
        {"id": call["id"], "type": "function", "function": {"name": "add", "arguments": call["arguments"]}}
        for call in CALLS
    ],
}
NOT_RUN = "Error: This tool was not run."


@pytest.fixture
def asked(api: Api, alice: Person, chat: Conversation, llm: LLM, paid: StandIn) -> StandIn:
    """Alice has asked, and the model has called two tools."""
    paid.script(answer("", tool_calls=CALLS, finish_reason="tool_calls"))
    response = api.ask(alice, chat, "Both?", llm=str(llm), tools=[ADD])
    assert response.status_code == 201, response.text
    return paid


def give(api: Api, person: Person, chat: Conversation, llm: LLM, results: Any = None, **body: Any) -> Any:
    results = RESULTS if results is None else results
    return api.post(person, messages_of(chat), {"tool_results": results, "llm": str(llm), **body})


def sent(provider: StandIn, which: int = -1) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = provider.requests[which].body["messages"]
    return messages


def stored(chat: Conversation) -> list[Message]:
    return list(Message.objects.filter(workspace=chat.workspace_id, conversation=chat).order_by("created_at", "id"))


def test_all_results_go_back_together(api: Api, alice: Person, chat: Conversation, llm: LLM, asked: StandIn) -> None:
    asked.script(answer("Three."))
    response = give(api, alice, chat, llm)
    assert response.status_code == 201, response.text
    assert response.json()["message"]["content"] == "Three."
    assert sent(asked) == [
        {"role": "user", "content": "Both?"},
        WIRED,
        {"role": "tool", "tool_call_id": "call_1", "content": "One."},
        {"role": "tool", "tool_call_id": "call_2", "content": "Error: It broke."},
    ]
    *_, first, second, last = stored(chat)
    assert [(row.role, row.content, row.tool_call_id) for row in (first, second)] == [
        ("tool", "One.", "call_1"),
        ("tool", "It broke.", "call_2"),
    ]
    assert (first.reply_to_id, second.reply_to_id, last.reply_to_id) == (second.pk, None, second.pk)
    assert response.json()["message"]["reply_to"] == str(second.pk)
    chat.refresh_from_db()
    assert chat.message_count == 5

    # And so they are kept: the next question is asked with all of it.
    api.ask(alice, chat, "And?", llm=str(llm))
    assert [turn["role"] for turn in sent(asked)] == ["user", "assistant", "tool", "tool", "assistant", "user"]


@pytest.mark.parametrize("streams", [False, True])
def test_they_can_be_streamed_and_named_a_tools(
    api: Api, alice: Person, chat: Conversation, llm: LLM, asked: StandIn, streams: bool
) -> None:
    response = give(api, alice, chat, llm, role="tool", stream=streams)
    assert response.status_code == (200 if streams else 201), response.text
    assert "Hello from the stand-in." in response.text
    assert sum(turn["role"] == "tool" for turn in sent(asked)) == 2


@pytest.mark.parametrize("vendor", ["anthropic", "google"])
def test_they_reach_other_vendors(api: Api, alice: Person, chat: Conversation, paid: StandIn, vendor: str) -> None:
    llm = make_llm(vendor)
    paid.script(answer("", tool_calls=CALLS, finish_reason="tool_calls"))
    calls = api.ask(alice, chat, "Both?", llm=str(llm), tools=[ADD]).json()["message"]["tool_calls"]
    results = [{**result, "tool_call_id": call["id"]} for result, call in zip(RESULTS, calls, strict=True)]
    assert give(api, alice, chat, llm, results, tools=[ADD]).status_code == 201
    told = json.dumps(paid.requests[1].body)
    assert "One." in told
    assert "It broke." in told
    if vendor == "anthropic":
        *_, last = sent(paid)
        assert [(block["type"], block.get("is_error", False)) for block in last["content"]] == [
            ("tool_result", False),
            ("tool_result", True),
        ]


def test_that_a_tool_failed_is_told_later_too(api: Api, alice: Person, chat: Conversation, paid: StandIn) -> None:
    llm = make_llm("anthropic")
    paid.script(answer("", tool_calls=CALLS, finish_reason="tool_calls"))
    api.ask(alice, chat, "Both?", llm=str(llm), tools=[ADD])
    give(api, alice, chat, llm, [RESULTS[1], RESULTS[0]], tools=[ADD])
    api.ask(alice, chat, "And?", llm=str(llm), tools=[ADD])
    results = [
        block
        for turn in sent(paid)
        for block in turn["content"]
        if isinstance(block, dict) and block["type"] == "tool_result"
    ]
    assert {block["tool_use_id"]: block.get("is_error", False) for block in results} == {
        "call_1": False,
        "call_2": True,
    }


# --- What is refused --------------------------------------------------------------------------------------------------


def test_a_part_of_the_results_is_refused_and_the_missing_ones_are_named(
    api: Api, alice: Person, chat: Conversation, llm: LLM, asked: StandIn
) -> None:
    parts: list[dict[str, Any]] = [
        {"role": "tool", "tool_call_id": "call_1", "content": "One."},
        {"tool_results": [RESULTS[0]]},
    ]
    for part in parts:
        response = api.post(alice, messages_of(chat), {"llm": str(llm), **part})
        assert error_of(response, 422, "missing_tool_results")["details"] == {"tool_results": ["call_2"]}
    assert len(asked.requests) == 1
    assert len(stored(chat)) == 2
    assert give(api, alice, chat, llm).status_code == 201


@pytest.mark.parametrize("results", [[*RESULTS, {"tool_call_id": "call_3", "content": ""}]])
def test_the_result_of_a_call_that_nobody_made_is_refused(
    api: Api, alice: Person, chat: Conversation, llm: LLM, asked: StandIn, results: list[dict[str, Any]]
) -> None:
    error = error_of(give(api, alice, chat, llm, results), 422, "unknown_tool_call")
    assert error["details"] == {"tool_call_id": ["call_3"]}


def test_results_of_an_answer_before_the_last_come_too_late(
    api: Api, alice: Person, chat: Conversation, llm: LLM, asked: StandIn
) -> None:
    api.ask(alice, chat, "Never mind.", llm=str(llm))
    error_of(give(api, alice, chat, llm), 422, "unknown_tool_call")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"tool_results": []}, "tool_results"),
        ({"tool_results": None}, "tool_results"),
        ({"tool_results": {}}, "tool_results"),
        ({"tool_results": ["x"]}, "tool_results"),
        ({"tool_results": [{"tool_call_id": "call_1"}]}, "tool_results"),
        ({"tool_results": [{"content": "x"}]}, "tool_results"),
        ({"tool_results": [{**RESULTS[0], "is_error": "yes"}]}, "tool_results"),
        ({"tool_results": [{**RESULTS[0], "name": "add"}]}, "tool_results"),
        ({"tool_results": [{**RESULTS[0], "content": 1}]}, "tool_results"),
        ({"tool_results": [RESULTS[0], RESULTS[0]]}, "tool_results"),
        ({"tool_results": [{"tool_call_id": str(n), "content": ""} for n in range(129)]}, "tool_results"),
        ({"tool_results": RESULTS, "content": "x"}, "content"),
        ({"tool_results": RESULTS, "attachments": []}, "attachments"),
        ({"tool_results": RESULTS, "tool_call_id": "call_1"}, "tool_call_id"),
        ({"tool_results": RESULTS, "role": "user"}, "role"),
    ],
    ids=lambda value: str(value)[:50],
)
def test_wrong_results_are_refused_by_field(
    api: Api, alice: Person, chat: Conversation, llm: LLM, asked: StandIn, body: dict[str, Any], field: str
) -> None:
    assert_invalid(api.post(alice, messages_of(chat), {"llm": str(llm), **body}), field)
    assert len(asked.requests) == 1


def test_results_without_room_for_their_calls_are_refused(
    api: Api, alice: Person, chat: Conversation, asked: StandIn
) -> None:
    small = make_llm("openai", "small", context_window=200, max_output_tokens=100)
    results = [{**result, "content": "x" * 250} for result in RESULTS]
    error_of(give(api, alice, chat, small, results), 422, "context_length_exceeded")
    assert len(asked.requests) == 1


def test_only_who_may_write_in_a_conversation_answers_for_its_tools(
    api: Api, alice: Person, bob: Person, charlie: Person, chat: Conversation, llm: LLM, asked: StandIn
) -> None:
    for stranger in (bob, charlie):
        error_of(give(api, stranger, chat, llm), 404, "not_found")
    change(chat, is_shared=True)
    error_of(give(api, charlie, chat, llm), 404, "not_found")
    assert give(api, bob, chat, llm).status_code == 201


# --- No conversation is stuck -----------------------------------------------------------------------------------------


def test_a_user_may_go_on_without_running_the_tools(
    api: Api, alice: Person, chat: Conversation, llm: LLM, asked: StandIn
) -> None:
    assert api.ask(alice, chat, "Never mind.", llm=str(llm)).status_code == 201
    assert sent(asked) == [
        {"role": "user", "content": "Both?"},
        WIRED,
        {"role": "tool", "tool_call_id": "call_1", "content": NOT_RUN},
        {"role": "tool", "tool_call_id": "call_2", "content": NOT_RUN},
        {"role": "user", "content": "Never mind."},
    ]


def test_results_whose_answer_failed_are_sent_again(
    api: Api, alice: Person, chat: Conversation, llm: LLM, asked: StandIn
) -> None:
    asked.script(refusal(500))
    assert give(api, alice, chat, llm).status_code == 503
    assert give(api, alice, chat, llm).status_code == 201
    assert [turn["role"] for turn in sent(asked)] == ["user", "assistant", "tool", "tool"]
    chat.refresh_from_db()
    assert chat.message_count == 8
    assert balance(alice.workspace) < 1


def test_results_whose_answer_failed_are_left_out_when_the_user_goes_on(
    api: Api, alice: Person, chat: Conversation, llm: LLM, asked: StandIn
) -> None:
    asked.script(refusal(500))
    give(api, alice, chat, llm)
    assert api.ask(alice, chat, "Never mind.", llm=str(llm)).status_code == 201
    assert [turn.get("content") for turn in sent(asked)] == ["Both?", None, NOT_RUN, NOT_RUN, "Never mind."]


def test_a_conversation_that_was_stuck_goes_on(
    api: Api, alice: Person, chat: Conversation, llm: LLM, paid: StandIn
) -> None:
    """One of two results was accepted once, and the vendor refused every prompt from then on."""
    question = make_answer(chat, "Both?", role="user")
    calls = make_answer(chat, "", tool_calls=[{**call, "signature": ""} for call in CALLS], reply_to=question)
    half = make_answer(chat, "One.", role="tool", tool_call_id="call_1", reply_to=None)
    make_answer(chat, "", status="error", reply_to=half)
    assert calls.tool_calls
    error_of(
        api.ask(alice, chat, "One.", llm=str(llm), role="tool", tool_call_id="call_1"), 422, "missing_tool_results"
    )
    assert give(api, alice, chat, llm).status_code == 201
    assert [turn["role"] for turn in sent(paid)] == ["user", "assistant", "tool", "tool"]


def test_the_same_results_under_the_same_key_are_answered_once(
    api: Api, alice: Person, chat: Conversation, llm: LLM, asked: StandIn
) -> None:
    body = {"tool_results": RESULTS, "llm": str(llm)}
    first, again = (api.post(alice, messages_of(chat), body, **{"Idempotency-Key": "k"}) for _ in range(2))
    assert (first.json(), again.headers["Idempotent-Replayed"]) == (again.json(), "true")
    other = {"tool_results": [RESULTS[0], {**RESULTS[1], "content": "Two."}], "llm": str(llm)}
    error_of(api.post(alice, messages_of(chat), other, **{"Idempotency-Key": "k"}), 422, "idempotency_key_reused")
    assert len(asked.requests) == 2


def test_by_another_model_they_are_answered_too(
    api: Api, alice: Person, chat: Conversation, llm: LLM, asked: StandIn
) -> None:
    """The prompt of a fallback is put together anew, when the results are stored already."""
    make_llm("openai", "second")
    alice.workspace.fallback_models = ["openai/second"]
    alice.workspace.save()
    asked.script(refusal(500), answer("Three."))
    response = give(api, alice, chat, llm)
    assert (response.status_code, response.json()["message"]["model_used"]) == (201, "openai/second")
    assert [turn["role"] for turn in sent(asked)] == ["user", "assistant", "tool", "tool"]
    chat.refresh_from_db()
    assert chat.message_count == 5
