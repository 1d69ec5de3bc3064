"""The database stays away: what a client hears when its call could not be made, or its answer not be stored."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError

from billing import holds
from conversations import calls, settling, sweeper
from conversations.models import Conversation, Message
from llm.models import LLM
from tests.api.asking import Api, balance, error_of, messages_of, the_log
from tests.people import Person
from tests.providers.standins import StandIn


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "_SETTLE_PATIENCE", timedelta(0))


def away(*args: Any, **kwargs: Any) -> None:
    raise OperationalError("the database is away")


def heard(api: Api, person: Person, chat: Conversation, llm: LLM, *, stream: bool) -> dict[str, Any]:
    """The error, plain or as the last event."""
    if not stream:
        response = api.ask(person, chat, llm=str(llm))
        assert response.status_code == 503
        error: dict[str, Any] = response.json()["error"]
        return error
    *_, last = api.listen(person, chat, llm=str(llm))
    assert last.name == "error"
    return dict(last.data["error"])


@pytest.mark.parametrize("stream", [False, True])
def test_no_call_was_made(
    api: Api,
    alice: Person,
    chat: Conversation,
    llm: LLM,
    paid: StandIn,
    monkeypatch: pytest.MonkeyPatch,
    stream: bool,
) -> None:
    monkeypatch.setattr(holds, "dispatch", away)
    error = heard(api, alice, chat, llm, stream=stream)
    assert error["code"] == "database_unavailable"
    assert error["message"] == "The database is away; the model was not called, and nothing is charged."
    assert paid.requests == []
    sweeper.sweep(ignores_leases=True)
    assert balance(alice.workspace) == 1


@pytest.mark.parametrize("stream", [False, True])
def test_the_answer_is_stored_later(
    api: Api,
    alice: Person,
    chat: Conversation,
    llm: LLM,
    paid: StandIn,
    monkeypatch: pytest.MonkeyPatch,
    stream: bool,
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(settling, "settle", away)
        error = heard(api, alice, chat, llm, stream=stream)
    assert error["code"] == "answer_not_stored_yet"
    assert error["message"] == "The answer is complete, but the database is away; it will appear in the conversation."
    assert settling.replay_spool() == 1
    answer = api.get(alice, messages_of(chat)).json()["results"][0]
    assert (answer["content"], answer["status"]) == ("Hello from the stand-in.", "sent")
    assert the_log(alice.workspace).status == "success"
    assert Message.objects.filter(workspace=alice.workspace).count() == 2


def test_a_refused_admission_says_the_same(
    api: Api, alice: Person, chat: Conversation, llm: LLM, paid: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holds, "open_hold", away)
    error_of(api.ask(alice, chat, llm=str(llm)), 503, "database_unavailable")
    assert paid.requests == []
