"""A provider that keeps failing gets no more requests while another model can answer, and is probed after a pause."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from conversations.models import Conversation, UsageLog
from llm.circuits import CIRCUITS
from llm.models import LLM
from tests.api.asking import Api, error_of
from tests.catalogue import make_llm
from tests.conftest import wait_for
from tests.conversations.calling import fall_back_to, own_key
from tests.llm.test_circuits import Clock
from tests.people import Cast, Person
from tests.providers.standins import Behaviour, StandIn, answer, refusal

FAILURES, PAUSE = 3, 30
FIRST, SECOND = "openai/openai-test", "anthropic/anthropic-test"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch, settings: Any) -> Clock:
    settings.CIRCUIT_FAILURES, settings.CIRCUIT_PAUSE_SECONDS = FAILURES, PAUSE
    clock = Clock()
    monkeypatch.setattr(CIRCUITS, "_clock", clock)
    return clock


@pytest.fixture
def falling_back(alice: Person, llm: LLM, clock: Clock) -> Clock:
    make_llm("anthropic")
    fall_back_to(alice, SECOND)
    return clock


def vendors(provider: StandIn) -> list[str]:
    """Who was called, since the last look."""
    called = ["openai" if request.path.startswith("/v1/chat") else "anthropic" for request in provider.requests]
    provider.requests.clear()
    return called


def circuit(person: Person, name: str = "openai") -> str:
    rows = person.get("llm/providers").json()["results"]
    return next(str(row["circuit"]) for row in rows if row["name"] == name)


def model_that_answers(api: Api, person: Person, chat: Conversation) -> str:
    response = api.ask(person, chat, llm=FIRST)
    assert response.status_code == 201, response.text
    return str(response.json()["message"]["model_used"])


def break_it(api: Api, person: Person, chat: Conversation, provider: StandIn) -> None:
    for _ in range(FAILURES):
        provider.script(refusal(500))
        assert model_that_answers(api, person, chat) == SECOND
    assert vendors(provider) == ["openai", "anthropic"] * FAILURES


def test_it_is_skipped_probed_and_closed_again(
    api: Api, cast: Cast, chat: Conversation, falling_back: Clock, paid: StandIn
) -> None:
    assert circuit(cast.alice) == "closed"
    break_it(api, cast.alice, chat, paid)
    assert [circuit(person) for person in cast] == ["open"] * 3
    assert circuit(cast.alice, "anthropic") == "closed"

    for _ in range(4):
        assert model_that_answers(api, cast.alice, chat) == SECOND
    assert vendors(paid) == ["anthropic"] * 4
    skipped = UsageLog.objects.filter(workspace=cast.alice.workspace).order_by("-id")[:4]
    assert [(log.attempt, log.status) for log in skipped] == [(1, "success")] * 4

    falling_back.now += PAUSE
    assert circuit(cast.alice) == "half_open"
    paid.script(answer(wait=1))
    with ThreadPoolExecutor() as pool:
        probe = pool.submit(model_that_answers, api, cast.alice, chat)
        wait_for(lambda: len(paid.requests) == 1, "the probe")
        assert [model_that_answers(api, cast.alice, chat) for _ in range(2)] == [SECOND, SECOND]
        assert probe.result() == FIRST
    assert vendors(paid) == ["openai", "anthropic", "anthropic"]

    assert circuit(cast.alice) == "closed"
    assert [model_that_answers(api, cast.alice, chat) for _ in range(2)] == [FIRST, FIRST]


def test_a_probe_that_fails_skips_it_twice_as_long(
    api: Api, alice: Person, chat: Conversation, falling_back: Clock, paid: StandIn
) -> None:
    break_it(api, alice, chat, paid)
    falling_back.now += PAUSE
    paid.script(refusal(500))
    assert model_that_answers(api, alice, chat) == SECOND
    assert vendors(paid) == ["openai", "anthropic"]
    falling_back.now += PAUSE
    assert model_that_answers(api, alice, chat) == SECOND
    assert vendors(paid) == ["anthropic"]
    falling_back.now += PAUSE
    assert model_that_answers(api, alice, chat) == FIRST


def test_where_nobody_else_can_answer_it_is_called_all_the_same(
    api: Api, alice: Person, chat: Conversation, llm: LLM, clock: Clock, paid: StandIn
) -> None:
    for _ in range(FAILURES + 2):
        paid.script(refusal(500))
        error_of(api.ask(alice, chat, llm=FIRST), 503, "provider_unavailable")
    assert circuit(alice) == "open"
    assert model_that_answers(api, alice, chat) == FIRST
    assert circuit(alice) == "closed"


@pytest.mark.parametrize(
    "behaviour",
    [refusal(400), refusal(401), refusal(403), refusal(404), refusal(429), refusal(429, code="insufficient_quota")],
    ids=lambda behaviour: str(behaviour.status),
)
def test_a_wrong_key_or_request_never_opens_it(
    api: Api, alice: Person, chat: Conversation, llm: LLM, clock: Clock, paid: StandIn, behaviour: Behaviour
) -> None:
    own_key(alice)
    for _ in range(FAILURES * 2):
        paid.script(behaviour)
        assert api.ask(alice, chat, llm=FIRST).status_code >= 400
    assert circuit(alice) == "closed"
    assert len(vendors(paid)) == FAILURES * 2


def test_a_success_in_between_is_no_row_of_failures(
    api: Api, alice: Person, chat: Conversation, falling_back: Clock, paid: StandIn
) -> None:
    for _ in range(3):
        for _ in range(FAILURES - 1):
            paid.script(refusal(500))
            assert model_that_answers(api, alice, chat) == SECOND
        assert model_that_answers(api, alice, chat) == FIRST
    assert circuit(alice) == "closed"


def test_both_fail_and_the_next_is_the_last_resort(
    api: Api, alice: Person, chat: Conversation, falling_back: Clock, paid: StandIn
) -> None:
    for _ in range(FAILURES):
        paid.script(refusal(500), refusal(529, vendor="anthropic"))
        error_of(api.ask(alice, chat, llm=FIRST), 503, "provider_unavailable")
    assert (circuit(alice), circuit(alice, "anthropic")) == ("open", "open")
    paid.requests.clear()
    paid.script(refusal(500))
    assert model_that_answers(api, alice, chat) == SECOND
    assert vendors(paid) == ["openai", "anthropic"]
    assert circuit(alice, "anthropic") == "closed"
