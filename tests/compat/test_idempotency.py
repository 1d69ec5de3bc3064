"""Idempotency-Key: a request that is made again gives the stored answer, in whichever form, and no second charge."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import pytest

from llm.models import LLM
from tests.api.asking import balance
from tests.compat.clients import HELLO, OSLO, Clients, code_of
from tests.conftest import wait_for
from tests.people import Person
from tests.providers.standins import StandIn, refusal


@pytest.fixture
def vendor() -> str:
    """One is enough: nothing here depends on whose model it is."""
    return "anthropic"


def seen(events: Any) -> list[Any]:
    """A stream's events; how what it says is cut into pieces is not promised."""
    return [event.to_dict() for event in events]


def test_a_plain_answer_again(clients: Clients, alice: Person, model: str, sdk: str, paid: StandIn) -> None:
    first = clients.ask(sdk, alice, model, key="k")
    second = clients.ask(sdk, alice, model, key="k")
    assert first.to_dict() == second.to_dict()
    assert first._request_id != second._request_id
    assert len(paid.requests) == 1
    assert balance(alice.workspace) == Decimal("0.99998")


def test_a_streamed_answer_again(clients: Clients, alice: Person, model: str, sdk: str, paid: StandIn) -> None:
    """Streamed again it says the same and ends the same; plain, too."""
    paid.answer("One two.", tool_calls=[OSLO], finish_reason="tool_calls")
    tool: Any = {"name": "weather", "input_schema": {"type": "object"}}
    if sdk == "openai":
        tool = {"type": "function", "function": {"name": "weather"}}
    streams = [seen(clients.ask(sdk, alice, model, key="k", stream=True, tools=[tool])) for _ in range(2)]
    plain = clients.ask(sdk, alice, model, key="k", tools=[tool]).to_dict()
    assert streams[0][-1] == streams[1][-1]
    assert streams[0][0] == streams[1][0]
    text = str(streams[1])
    assert "One two." in text
    assert "call_1" in text
    assert plain["id"] in text
    assert len(paid.requests) == 1


def test_it_says_that_it_is_told_again(clients: Clients, alice: Person, models: dict[str, LLM], paid: StandIn) -> None:
    body = {"model": str(models["openai"]), "messages": HELLO}
    first, second, third = (
        clients.post(alice, "chat/completions", {**body, "stream": streams}, **{"Idempotency-Key": "k"})
        for streams in (False, False, True)
    )
    assert "Idempotent-Replayed" not in first.headers
    assert second.headers["Idempotent-Replayed"] == third.headers["Idempotent-Replayed"] == "true"
    assert first.content == second.content
    assert second.headers["x-synapscale-message-id"] == third.headers["x-synapscale-message-id"]


@pytest.mark.parametrize(
    "change", [{"max_tokens": 10}, {"temperature": 1}, {"messages": [{"role": "user", "content": "Other"}]}]
)
def test_another_request_with_the_same_key(
    clients: Clients, alice: Person, models: dict[str, LLM], sdk: str, paid: StandIn, change: dict[str, Any]
) -> None:
    model = str(models["openai"])
    clients.ask(sdk, alice, model, key="k")
    if sdk == "anthropic" and "temperature" in change:
        change = {"extra_body": change}
    error = clients.refused("UnprocessableEntityError", sdk, alice, model, key="k", **change)
    assert code_of(error) == "idempotency_key_reused"
    assert len(paid.requests) == 1


def test_while_the_first_is_under_way(
    clients: Clients, alice: Person, models: dict[str, LLM], sdk: str, paid: StandIn
) -> None:
    """The SDK waits and tries again, as it is told to, and gets the answer."""
    paid.answer(wait=1.0)
    model = str(models["anthropic"])
    with ThreadPoolExecutor() as pool:
        first = pool.submit(clients.ask, sdk, alice, model, key="k")
        wait_for(lambda: len(paid.requests) == 1, "the first call")
        error = clients.refused("ConflictError", sdk, alice, model, key="k")
        assert (code_of(error), error.response.headers["Retry-After"]) == ("request_in_progress", "2")
        assert "x-should-retry" not in error.response.headers
        second = clients.ask(sdk, alice, model, key="k", retries=1)
        assert first.result().to_dict() == second.to_dict()
    assert len(paid.requests) == 1


def test_a_failure_again(clients: Clients, alice: Person, models: dict[str, LLM], sdk: str, paid: StandIn) -> None:
    """It is told again, and the SDK does not go on asking."""
    paid.always(refusal(500))
    model = str(models["openai"])
    kind = {"openai": "InternalServerError", "anthropic": "OverloadedError"}[sdk]
    clients.refused(kind, sdk, alice, model, key="k")
    error = clients.refused(kind, sdk, alice, model, key="k", retries=3)
    assert error.response.headers["Idempotent-Replayed"] == "true"
    assert error.response.headers["x-should-retry"] == "false"
    assert len(paid.requests) == 1


def test_a_refused_request_leaves_its_key_free(
    clients: Clients, alice: Person, models: dict[str, LLM], sdk: str, paid: StandIn
) -> None:
    clients.refused("NotFoundError", sdk, alice, "openai/none", key="k")
    assert clients.ask(sdk, alice, str(models["openai"]), key="k").usage.cost == "0.00002"


@pytest.mark.parametrize("key", ["", "x" * 256])
def test_a_key_that_is_none(clients: Clients, alice: Person, model: str, sdk: str, key: str, paid: StandIn) -> None:
    error = clients.refused("BadRequestError", sdk, alice, model, extra_headers={"Idempotency-Key": key})
    assert code_of(error) == "invalid_idempotency_key"
