"""Another model answers where the first can't: the client sees which, and pays for what was used."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

import pytest

from conversations.models import UsageLog
from llm.models import LLM
from tests.api.asking import balance, make_agent
from tests.compat.clients import HELLO, SDKS, Clients, code_of
from tests.people import Person
from tests.providers.standins import StandIn, answer, fault, refusal
from workspaces.models import Workspace

FAILS = (refusal(500), refusal(529, vendor="anthropic"))


@pytest.fixture
def fallbacks(alice: Person, models: dict[str, LLM]) -> list[str]:
    names = [str(models[name]) for name in ("anthropic", "google", "grok")]
    Workspace.objects.filter(pk=alice.workspace.pk).update(fallback_models=names)
    return names


def spoken(event: Any) -> str:
    """The text in an event of either SDK."""
    if hasattr(event, "choices"):
        return event.choices[0].delta.content or "" if event.choices else ""
    return getattr(getattr(event, "delta", None), "text", "")


def attempts(person: Person) -> list[tuple[int, str, str]]:
    logs = UsageLog.objects.filter(workspace=person.workspace).select_related("llm").order_by("attempt")
    return [(log.attempt, str(log.llm), log.status) for log in logs]


def test_two_providers_fail_and_the_third_answers(
    clients: Clients, alice: Person, models: dict[str, LLM], fallbacks: list[str], sdk: str, paid: StandIn
) -> None:
    paid.script(*FAILS, answer("I answer."))
    create = clients.openai(alice).chat.completions if sdk == "openai" else clients.anthropic(alice).messages
    raw = create.with_raw_response.create(model=str(models["openai"]), messages=HELLO, max_tokens=100)
    message = raw.parse()
    assert message.model == raw.headers["x-synapscale-model"] == "google/google-test"
    assert raw.headers["x-synapscale-attempts"] == "3"
    assert message.usage.cost == raw.headers["x-synapscale-response-cost"] == "0.00002"
    assert attempts(alice) == [
        (1, "openai/openai-test", "error"),
        (2, "anthropic/anthropic-test", "error"),
        (3, "google/google-test", "success"),
    ]
    assert [request.path.split("?")[0].rsplit("/", 1)[1] for request in paid.requests] == [
        "completions",
        "messages",
        "google-test:generateContent",
    ]


def test_in_a_stream(
    clients: Clients, alice: Person, models: dict[str, LLM], fallbacks: list[str], sdk: str, paid: StandIn
) -> None:
    """The stream begins with the model that answers: nothing is told before its first piece."""
    paid.script(*FAILS, answer("I answer."))
    stream = clients.ask(sdk, alice, str(models["openai"]), stream=True)
    assert stream.response.headers["x-synapscale-model"] == "google/google-test"
    assert stream.response.headers["x-synapscale-attempts"] == "3"
    events = list(stream)
    named = {event.model for event in events} if sdk == "openai" else {events[0].message.model}
    assert named == {"google/google-test"}
    assert [status for _, _, status in attempts(alice)] == ["error", "error", "success"]


def test_in_a_stream_that_had_begun_with_nothing(
    clients: Clients, alice: Person, models: dict[str, LLM], fallbacks: list[str], sdk: str, paid: StandIn
) -> None:
    """A client is not left without a word for long: then the model at the end is the one that answered."""
    paid.script(refusal(500, wait=1.0), answer("I answer."))
    with patch("conversations.compat.views.START_SECONDS", 0.2):
        stream = clients.ask(sdk, alice, str(models["openai"]), stream=True)
        assert stream.response.headers["x-synapscale-model"] == "openai/openai-test"
        events = list(stream)
    assert "I answer." in "".join(map(spoken, events))
    if sdk == "openai":
        assert (events[0].model, events[-1].model) == ("openai/openai-test", "anthropic/anthropic-test")
    assert [status for _, _, status in attempts(alice)] == ["error", "success"]


def test_a_failure_of_a_stream_that_had_begun_with_nothing(
    clients: Clients, alice: Person, models: dict[str, LLM], sdk: str, paid: StandIn
) -> None:
    paid.script(refusal(500, wait=1.0))
    with patch("conversations.compat.views.START_SECONDS", 0.2):
        stream = clients.ask(sdk, alice, str(models["openai"]), stream=True)
        with pytest.raises(SDKS[sdk].APIError) as caught:
            list(stream)
    assert code_of(caught.value) == "provider_unavailable"
    assert balance(alice.workspace) == 1


def test_the_fallbacks_of_the_default_agent(
    clients: Clients, alice: Person, models: dict[str, LLM], sdk: str, paid: StandIn
) -> None:
    names = [str(models[name]) for name in ("grok", "deepseek", "llama")]
    make_agent(alice, models["openai"], fallback_llms=names, is_default=True)
    paid.script(refusal(500), refusal(500), answer("I answer."))
    assert clients.ask(sdk, alice, str(models["openai"])).model == "deepseek/deepseek-test"


def test_all_of_them_fail(
    clients: Clients, alice: Person, models: dict[str, LLM], fallbacks: list[str], sdk: str, paid: StandIn
) -> None:
    paid.always(refusal(500))
    kind = {"openai": "InternalServerError", "anthropic": "OverloadedError"}[sdk]
    error = clients.refused(kind, sdk, alice, str(models["openai"]))
    assert code_of(error) == "provider_unavailable"
    assert [status for _, _, status in attempts(alice)] == ["error"] * 4
    assert balance(alice.workspace) == 1


def test_what_another_model_can_not_help(
    clients: Clients, alice: Person, models: dict[str, LLM], fallbacks: list[str], sdk: str, paid: StandIn
) -> None:
    paid.always(refusal(400))
    clients.refused("BadRequestError", sdk, alice, str(models["openai"]))
    assert len(attempts(alice)) == 1


def test_no_fallback_once_a_piece_was_shown(
    clients: Clients, alice: Person, models: dict[str, LLM], fallbacks: list[str], paid: StandIn
) -> None:
    paid.script(fault("cut", after=3, chunks=["Hello", " world"]), answer("Another."))
    body: dict[str, Any] = {"model": str(models["openai"]), "messages": HELLO, "stream": True}
    text = clients.post(alice, "chat/completions", body).text
    assert "Another" not in text
    assert "provider_stream_interrupted" in text
    assert len(attempts(alice)) == 1
