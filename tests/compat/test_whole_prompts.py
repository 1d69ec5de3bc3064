"""What a prompt must be made of, and what is said about thinking and usage, before any provider is asked."""

from __future__ import annotations

from typing import Any

import pytest

from llm.models import LLM
from tests.compat.clients import HELLO, Clients, code_of
from tests.people import Person
from tests.providers.standins import StandIn, answer


def call(*ids: str) -> dict[str, Any]:
    """An assistant's turn that asks for tools."""
    calls = [{"id": one, "type": "function", "function": {"name": "add", "arguments": "{}"}} for one in ids]
    return {"role": "assistant", "tool_calls": calls}


def result(of: str) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": of, "content": "4"}


@pytest.fixture
def vendor() -> str:
    """Refused before a vendor is chosen; the one whose SDK refuses what is empty by itself."""
    return "google"


@pytest.mark.parametrize("content", ["", [], [{"type": "text", "text": ""}]])
def test_an_empty_message_is_nothing_to_answer(
    clients: Clients, alice: Person, model: str, paid: StandIn, content: Any
) -> None:
    error = clients.refused("BadRequestError", "openai", alice, model, messages=[{"role": "user", "content": content}])
    assert error.param == "messages"
    assert "no message to answer" in error.message
    assert paid.requests == []


@pytest.mark.parametrize(
    ("messages", "said"),
    [
        ([*HELLO, result("a")], "No tool call before it has the id “a”"),
        ([result("a"), *HELLO, call("a")], "No tool call before it has the id “a”"),
        ([*HELLO, call("a", "b"), result("a")], "missing: “b”"),
        ([*HELLO, call("a"), *HELLO], "missing: “a”"),
        ([*HELLO, call("a", "b")], "missing: “a”, “b”"),
    ],
)
def test_results_follow_their_calls(
    clients: Clients, alice: Person, model: str, paid: StandIn, messages: list[Any], said: str
) -> None:
    error = clients.refused("BadRequestError", "openai", alice, model, messages=messages)
    assert (error.param, code_of(error)) == ("messages", "invalid")
    assert said in error.message
    assert paid.requests == []


@pytest.mark.parametrize(
    ("reasoning", "sent"),
    [({"enabled": False}, "none"), ({"enabled": False, "effort": "high"}, "none"), ({"effort": "low"}, "low")],
)
def test_thinking_that_is_switched_off_is_off(
    clients: Clients, alice: Person, paid: StandIn, models: dict[str, LLM], reasoning: dict[str, Any], sent: str
) -> None:
    """It is billed: a switch that nobody looks at would change the bill."""
    LLM.objects.filter(pk=models["openai"].pk).update(supports_reasoning=True)
    clients.openai(alice).chat.completions.create(
        model=str(models["openai"]), messages=HELLO, extra_body={"reasoning": reasoning}
    )
    assert paid.requests[0].body["reasoning_effort"] == sent


@pytest.mark.parametrize("streams", [False, True])
def test_thinking_that_is_not_to_be_shown_is_not(
    clients: Clients, alice: Person, paid: StandIn, models: dict[str, LLM], streams: bool
) -> None:
    paid.answer("42", reasoning_text="Six by nine.")
    body = {"reasoning": {"exclude": True}}
    client, model = clients.openai(alice), str(models["openai"])
    if streams:
        with client.chat.completions.create(model=model, messages=HELLO, extra_body=body, stream=True) as stream:
            shown = "".join(chunk.model_dump_json() for chunk in stream)
    else:
        shown = client.chat.completions.create(model=model, messages=HELLO, extra_body=body).model_dump_json()
    assert "42" in shown
    assert "Six by nine." not in shown


@pytest.mark.parametrize(("included", "chunks"), [(True, 1), (False, 0)])
def test_usage_is_included_where_it_is_asked_for(
    clients: Clients, alice: Person, paid: StandIn, model: str, included: bool, chunks: int
) -> None:
    body = {"usage": {"include": included}}
    with clients.openai(alice).chat.completions.create(
        model=model, messages=HELLO, extra_body=body, stream=True
    ) as stream:
        assert sum(chunk.usage is not None for chunk in stream) == chunks


def test_a_replayed_stream_keeps_the_signatures_of_its_calls(
    clients: Clients, alice: Person, model: str, paid: StandIn
) -> None:
    """A client that goes on from it must send them back."""
    signed = {"id": "c1", "name": "add", "arguments": "{}", "signature": "U0lH"}
    paid.script(answer("", tool_calls=[signed], finish_reason="tool_calls"))
    tool = {"type": "function", "function": {"name": "add", "parameters": {"type": "object", "properties": {}}}}

    def listen() -> str:
        with clients.openai(alice).chat.completions.create(
            model=model, messages=HELLO, tools=[tool], stream=True, extra_headers={"Idempotency-Key": "again"}
        ) as stream:
            return "".join(chunk.model_dump_json() for chunk in stream)

    assert "U0lH" in listen()
    assert "U0lH" in listen()
    assert len(paid.requests) == 1
