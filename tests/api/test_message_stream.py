"""Answers as server-sent events."""

from __future__ import annotations

from decimal import Decimal

from conversations.models import Conversation, Message
from llm.models import LLM
from tests.api.asking import Api, Event, balance, error_of, messages_of, the_log
from tests.people import Person
from tests.providers.standins import StandIn, answer, fault, refusal


def names(events: list[Event]) -> list[str]:
    """The names of events, deltas in a row once: how a text is cut into pieces is not promised."""
    return [event.name for i, event in enumerate(events) if i == 0 or event.name != events[i - 1].name]


def text(events: list[Event]) -> str:
    return "".join(event.data["text"] for event in events if event.name == "delta")


def test_a_stream(api: Api, alice: Person, chat: Conversation, llm: LLM, paid: StandIn) -> None:
    paid.answer("One\n\ntwo 😀 three.", delay=0.02)
    events = api.listen(alice, chat, llm=str(llm), max_tokens=100)
    assert names(events) == ["message.started", "delta", "message.completed"]
    question, answer_ = Message.objects.filter(workspace=alice.workspace).order_by("id")
    started = events[0].data
    assert set(started) == {"message", "question"}
    assert started["question"]["id"] == str(question.pk)
    assert (started["message"]["id"], started["message"]["status"]) == (str(answer_.pk), "pending")
    assert text(events) == "One\n\ntwo 😀 three."
    assert {event.data["message_id"] for event in events if event.name == "delta"} == {str(answer_.pk)}
    completed = events[-1].data
    assert set(completed) == {"message", "usage", "cost"}
    assert (completed["message"]["content"], completed["message"]["status"]) == ("One\n\ntwo 😀 three.", "sent")
    assert (completed["usage"]["total_tokens"], completed["cost"]) == (15, "0.00002")
    assert completed["usage"]["time_to_first_token_ms"] <= completed["usage"]["latency_ms"]
    stored = api.get(alice, f"{messages_of(chat)}/{answer_.pk}").json()
    assert stored == {
        **completed["message"],
        "usage": completed["usage"],
        "cost": completed["cost"],
        "attempts": [completed["usage"]],
    }
    assert balance(alice.workspace) == Decimal("0.99998")
    assert paid.requests[0].body["stream"] is True


def test_the_headers(api: Api, alice: Person, chat: Conversation, llm: LLM, paid: StandIn) -> None:
    response = api.ask(alice, chat, llm=str(llm), stream=True)
    assert response.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    assert response.headers["Cache-Control"] == "no-cache"
    assert response.headers["X-Accel-Buffering"] == "no"
    assert len(response.headers["X-Request-ID"]) == 32


def test_clients_that_ask_for_an_event_stream_get_one(
    api: Api, alice: Person, chat: Conversation, llm: LLM, paid: StandIn
) -> None:
    body = {"content": "Hello", "llm": str(llm), "stream": True}
    response = api.post(alice, messages_of(chat), body, Accept="text/event-stream")
    assert response.status_code == 200, response.text


def test_a_refusal_is_a_status_and_no_stream(api: Api, alice: Person, chat: Conversation, paid: StandIn) -> None:
    response = api.ask(alice, chat, stream=True)
    error_of(response, 422, "no_model")
    assert response.headers["Content-Type"] == "application/json"


def test_an_error_before_the_first_word(api: Api, alice: Person, chat: Conversation, llm: LLM, paid: StandIn) -> None:
    paid.script(refusal(500, message="boom {key}"))
    events = api.listen(alice, chat, llm=str(llm))
    assert names(events) == ["message.started", "error"]
    error = events[1].data
    assert set(error) == {"error", "message", "usage", "cost"}
    assert error["error"]["code"] == "provider_unavailable"
    assert error["error"]["request_id"]
    assert (error["message"]["status"], error["usage"]["status"], error["cost"]) == ("error", "error", "0.00")
    assert "boom" not in str(events)
    assert "sk-house" not in str(events)
    assert balance(alice.workspace) == 1


def test_an_answer_that_breaks_off_is_kept_and_charged_as_an_estimate(
    api: Api, alice: Person, chat: Conversation, llm: LLM, paid: StandIn
) -> None:
    paid.script(fault("cut", after=3, chunks=["Hello", " world", " and", " more"]))
    events = api.listen(alice, chat, llm=str(llm))
    assert names(events) == ["message.started", "delta", "error"]
    assert text(events) == "Hello world"
    error = events[-1].data
    assert error["error"]["code"] == "provider_stream_interrupted"
    assert error["error"]["details"] == {
        "message_id": error["message"]["id"],
        "reply_to": error["message"]["reply_to"],
    }
    assert (error["message"]["status"], error["message"]["content"]) == ("interrupted", "Hello world")
    # 10 tokens of prompt and 3 for eleven bytes
    assert (error["usage"]["is_estimate"], error["usage"]["total_tokens"], error["cost"]) == (True, 13, "0.000016")
    assert balance(alice.workspace) == Decimal("0.999984")
    assert the_log(alice.workspace).status == "interrupted"


def test_a_tool_call_in_a_stream(api: Api, alice: Person, chat: Conversation, llm: LLM, paid: StandIn) -> None:
    call = {"id": "call_1", "name": "add", "arguments": '{"a": 1}'}
    paid.script(answer("", tool_calls=[call], finish_reason="tool_calls"))
    events = api.listen(alice, chat, llm=str(llm), tools=[{"name": "add"}])
    assert names(events) == ["message.started", "message.completed"]
    assert events[1].data["message"]["tool_calls"] == [{**call, "signature": ""}]


def test_a_stream_may_be_given_an_idempotency_key(
    api: Api, alice: Person, chat: Conversation, llm: LLM, paid: StandIn
) -> None:
    streamed = api.listen(alice, chat, llm=str(llm), key="k")
    plain = api.ask(alice, chat, llm=str(llm), key="k")
    assert plain.headers["Idempotent-Replayed"] == "true"
    assert plain.json() == streamed[-1].data
    assert len(paid.requests) == 1
