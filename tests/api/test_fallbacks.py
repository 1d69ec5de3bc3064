"""A provider fails and another model answers: what the client sees, what each attempt costs, and when nobody follows."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import pytest

from billing.models import Hold, Wallet
from conversations.models import Agent, Conversation, Message, UsageLog
from llm.models import LLM
from tests.api.asking import (
    Api,
    balance,
    charges,
    error_of,
    events_in,
    make_agent,
    make_conversation,
    messages_of,
)
from tests.catalogue import make_llm
from tests.conftest import wait_for
from tests.conversations.calling import HELD, SECOND_HELD, THIRD_HELD, fall_back_to, own_key, times
from tests.people import Cast, Person, fund
from tests.providers.standins import Behaviour, StandIn, answer, fault, refusal
from workspaces.models import User

NAMES = ["openai/openai-test", "anthropic/anthropic-test", "google/google-test"]
USED = {"input": 10, "output": 20}
"""$0.00005 by the first model, twice that by the second, three times by the third."""


@pytest.fixture
def models(llm: LLM) -> list[LLM]:
    """Of three vendors, each dearer than the one before."""
    return [llm, make_llm("anthropic", price=times(2)), make_llm("google", price=times(3))]


@pytest.fixture
def agent(alice: Person, models: list[LLM]) -> Agent:
    return make_agent(alice, models[0], fallback_llms=NAMES[1:])


@pytest.fixture
def talk(alice: Person, agent: Agent) -> Conversation:
    return make_conversation(alice, agent=agent)


def two_fail(provider: StandIn) -> None:
    provider.script(refusal(500), refusal(529, vendor="anthropic"), answer("By the third.", usage=USED))


def rows(person: Person) -> list[tuple[int, str, str, str, int | None, str, Decimal, Decimal]]:
    logs = UsageLog.objects.filter(workspace=person.workspace).select_related("llm").order_by("id")
    return [
        (
            log.attempt,
            str(log.llm),
            log.status,
            log.error_code,
            log.api_status_code,
            log.key_source,
            log.cost_usd,
            log.charged_usd,
        )
        for log in logs
    ]


def holds(person: Person) -> list[tuple[str, Decimal, Decimal | None]]:
    found = Hold.objects.filter(workspace=person.workspace).order_by("id")
    return [(hold.state, hold.amount, hold.charged) for hold in found]


THREE_ATTEMPTS = [
    (1, NAMES[0], "error", "provider_unavailable", 500, "global", 0, 0),
    (2, NAMES[1], "error", "provider_unavailable", 529, "global", 0, 0),
    (3, NAMES[2], "success", "", 200, "global", Decimal("0.00015"), Decimal("0.00015")),
]


# --- The third answers ------------------------------------------------------------------------------------------------


def test_two_providers_fail_and_the_third_answers(api: Api, alice: Person, talk: Conversation, paid: StandIn) -> None:
    two_fail(paid)
    response = api.ask(alice, talk, max_tokens=100)
    assert response.status_code == 201, response.text
    told = response.json()
    assert (told["message"]["content"], told["message"]["status"]) == ("By the third.", "sent")
    assert (told["message"]["model_used"], told["usage"]["model"]) == (NAMES[2], NAMES[2])
    assert (told["usage"]["attempt"], told["usage"]["status"], told["cost"]) == (3, "success", "0.00015")
    assert rows(alice) == THREE_ATTEMPTS
    assert holds(alice) == [
        ("released", Decimal(HELD), 0),
        ("released", SECOND_HELD, 0),
        ("settled", THIRD_HELD, Decimal("0.00015")),
    ]
    assert charges(alice.workspace) == [Decimal("-0.00015")]
    assert balance(alice.workspace) == Decimal("0.99985")
    assert [request.path.split("?")[0] for request in paid.requests] == [
        "/v1/chat/completions",
        "/v1/messages",
        "/v1beta/models/google-test:generateContent",
    ]


def test_the_message_shows_its_attempts(api: Api, alice: Person, talk: Conversation, paid: StandIn) -> None:
    two_fail(paid)
    told = api.ask(alice, talk, max_tokens=100).json()
    shown = api.get(alice, f"{messages_of(talk)}/{told['message']['id']}").json()
    assert shown["attempts"][-1] == shown["usage"] == told["usage"]
    assert [
        (row["attempt"], row["model"], row["status"], row["cost_usd"], row["api_status_code"])
        for row in shown["attempts"]
    ] == [
        (1, NAMES[0], "error", "0.00", 500),
        (2, NAMES[1], "error", "0.00", 529),
        (3, NAMES[2], "success", "0.00015", 200),
    ]
    assert (shown["model_used"], shown["cost"]) == (NAMES[2], "0.00015")
    listed = api.get(alice, messages_of(talk)).json()["results"]
    assert [(row["role"], row["cost"]) for row in listed] == [("assistant", "0.00015"), ("user", None)]
    assert "attempts" not in listed[0]
    conversation = api.get(alice, f"conversations/{talk.pk}").json()
    assert (conversation["message_count"], conversation["total_cost"]) == (2, "0.00015")


def test_streamed(api: Api, alice: Person, talk: Conversation, paid: StandIn) -> None:
    two_fail(paid)
    events = api.listen(alice, talk, max_tokens=100)
    assert [event.name for event in events if event.name != "delta"] == ["message.started", "message.completed"]
    assert "".join(event.data["text"] for event in events if event.name == "delta") == "By the third."
    assert events[0].data["message"]["model_used"] == NAMES[0]
    assert {event.data["message_id"] for event in events if event.name == "delta"} == {events[0].data["message"]["id"]}
    assert (events[-1].data["message"]["model_used"], events[-1].data["cost"]) == (NAMES[2], "0.00015")
    assert rows(alice) == THREE_ATTEMPTS
    assert balance(alice.workspace) == Decimal("0.99985")


def test_everybody_who_may_ask_the_agent_is_served(api: Api, cast: Cast, agent: Agent, paid: StandIn) -> None:
    fund(cast.charlie.workspace, "1")
    for person in (cast.alice, cast.bob):
        two_fail(paid)
        response = api.ask(person, make_conversation(person, agent=agent), max_tokens=100)
        assert response.json()["message"]["model_used"] == NAMES[2]
    error_of(api.ask(cast.charlie, make_conversation(cast.alice, agent=agent, is_shared=True)), 404, "not_found")
    # A workspace of its own, with no fallbacks: the first failure is the answer.
    paid.script(refusal(500))
    error_of(api.ask(cast.charlie, make_conversation(cast.charlie), llm=NAMES[0]), 503, "provider_unavailable")
    assert rows(cast.charlie) == [(1, NAMES[0], "error", "provider_unavailable", 500, "global", 0, 0)]
    assert balance(cast.alice.workspace) == Decimal("0.9997")


def test_a_workspaces_list(api: Api, alice: Person, chat: Conversation, models: list[LLM], paid: StandIn) -> None:
    fall_back_to(alice, *NAMES[1:])
    two_fail(paid)
    assert api.ask(alice, chat, llm=NAMES[0], max_tokens=100).json()["message"]["model_used"] == NAMES[2]
    assert rows(alice) == THREE_ATTEMPTS


@pytest.mark.parametrize(
    ("behaviour", "code"),
    [
        (refusal(429), "provider_rate_limited"),
        (refusal(503), "provider_unavailable"),
        (refusal(408), "provider_timeout"),
        (fault("hang"), "provider_timeout"),
        (fault("cut"), "provider_unavailable"),
    ],
    ids=lambda value: str(getattr(value, "fault", "") or getattr(value, "status", value)),
)
def test_what_another_model_may_do_better(
    api: Api, alice: Person, talk: Conversation, paid: StandIn, settings: Any, behaviour: Behaviour, code: str
) -> None:
    settings.LLM_TOTAL_TIMEOUT = 1
    paid.script(behaviour, answer("By the second.", usage=USED))
    response = api.ask(alice, talk)
    assert response.json()["message"]["content"] == "By the second."
    assert [row[3] for row in rows(alice)] == [code, ""]
    assert balance(alice.workspace) == Decimal("0.9999")


# --- Nobody follows ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize(
    ("behaviour", "status", "code"),
    [
        (refusal(400, message="bad"), 422, "provider_request_refused"),
        (refusal(400, code="context_length_exceeded"), 422, "context_length_exceeded"),
        (refusal(401), 502, "provider_authentication_failed"),
        (refusal(403), 502, "provider_permission_denied"),
        (refusal(404), 502, "provider_model_not_found"),
        (refusal(429, code="insufficient_quota"), 503, "provider_quota_exhausted"),
    ],
    ids=lambda value: str(getattr(value, "status", value)),
)
def test_where_another_model_would_not_help(
    api: Api,
    alice: Person,
    talk: Conversation,
    paid: StandIn,
    behaviour: Behaviour,
    status: int,
    code: str,
    streams: bool,
) -> None:
    paid.script(behaviour)
    if streams:
        assert api.listen(alice, talk)[-1].data["error"]["code"] == code
    else:
        error_of(api.ask(alice, talk), status, code)
    assert len(paid.requests) == 1
    assert [row[:2] for row in rows(alice)] == [(1, NAMES[0])]
    assert balance(alice.workspace) == 1


def test_not_after_the_first_word(api: Api, alice: Person, talk: Conversation, paid: StandIn) -> None:
    """A second answer pasted onto half of a first would be wrong, and paid for twice."""
    paid.script(fault("cut", after=2, chunks=["Hello", " world"]), answer("By the second."))
    events = api.listen(alice, talk)
    assert "".join(event.data["text"] for event in events if event.name == "delta") == "Hello"
    assert events[-1].data["error"]["code"] == "provider_stream_interrupted"
    assert len(paid.requests) == 1
    # 10 tokens of prompt and 2 for five bytes
    assert [row[-1] for row in rows(alice)] == [Decimal("0.000014")]


def test_all_fail_and_the_last_failure_is_the_answer(
    api: Api, alice: Person, talk: Conversation, paid: StandIn
) -> None:
    paid.script(
        refusal(500),
        refusal(529, vendor="anthropic", headers={"retry-after": "3"}),
        refusal(429, vendor="google", headers={"retry-after": "7"}),
    )
    response = api.ask(alice, talk, max_tokens=100)
    error = error_of(response, 503, "provider_rate_limited")
    assert response.headers["Retry-After"] == "7"
    assert [row[:5] for row in rows(alice)] == [
        (1, NAMES[0], "error", "provider_unavailable", 500),
        (2, NAMES[1], "error", "provider_unavailable", 529),
        (3, NAMES[2], "error", "provider_rate_limited", 429),
    ]
    assert [state for state, *_ in holds(alice)] == ["released"] * 3
    assert balance(alice.workspace) == 1
    shown = api.get(alice, f"{messages_of(talk)}/{error['details']['message_id']}").json()
    assert [(row["attempt"], row["status"]) for row in shown["attempts"]] == [(1, "error"), (2, "error"), (3, "error")]
    assert (shown["status"], shown["error_code"], shown["model_used"]) == ("error", "provider_rate_limited", NAMES[2])


def test_a_later_one_that_is_refused_ends_it(api: Api, alice: Person, talk: Conversation, paid: StandIn) -> None:
    paid.script(refusal(500), refusal(401, vendor="anthropic"))
    error_of(api.ask(alice, talk), 502, "provider_authentication_failed")
    assert [row[:2] for row in rows(alice)] == [(1, NAMES[0]), (2, NAMES[1])]


def test_one_that_can_not_answer_is_passed_over(api: Api, alice: Person, talk: Conversation, paid: StandIn) -> None:
    LLM.objects.filter(provider="anthropic").update(supports_function_calling=False)
    paid.script(refusal(500), answer("By the third.", usage=USED))
    response = api.ask(alice, talk, tools=[{"name": "add"}])
    assert response.json()["message"]["model_used"] == NAMES[2]
    assert [row[:2] for row in rows(alice)] == [(1, NAMES[0]), (2, NAMES[2])]


def test_a_balance_for_the_first_model_only(
    api: Api, alice: Person, talk: Conversation, house_keys: StandIn, audited: None
) -> None:
    fund(alice.workspace, HELD)
    house_keys.script(refusal(500))
    error_of(api.ask(alice, talk, max_tokens=100), 503, "provider_unavailable")
    assert len(house_keys.requests) == 1
    assert [row[:2] for row in rows(alice)] == [(1, NAMES[0])]
    assert balance(alice.workspace) == Decimal(HELD)


def test_the_dearer_one_reserves_its_own_worst_case(
    api: Api, alice: Person, talk: Conversation, house_keys: StandIn, audited: None
) -> None:
    fund(alice.workspace, str(SECOND_HELD))
    house_keys.script(refusal(500), answer("By the second.", usage=USED, wait=1))
    with ThreadPoolExecutor() as pool:
        asked = pool.submit(api.ask, alice, talk, max_tokens=100)
        wait_for(lambda: len(house_keys.requests) == 2, "the second model to be called")
        wallet = Wallet.objects.get(workspace=alice.workspace)
        assert (wallet.balance, wallet.held) == (SECOND_HELD, SECOND_HELD)
        message = Message.objects.get(workspace=alice.workspace, role="assistant")
        assert (message.status, message.attempt, message.model_used) == ("pending", 2, NAMES[1])
        assert asked.result().json()["cost"] == "0.0001"
    assert balance(alice.workspace) == SECOND_HELD - Decimal("0.0001")


# --- Keys -------------------------------------------------------------------------------------------------------------


def test_a_wrong_own_key_is_named_and_nobody_pays_for_it(
    api: Api, alice: Person, talk: Conversation, paid: StandIn
) -> None:
    own_key(alice)
    paid.script(refusal(401, message="Incorrect API key: {key}"))
    error = error_of(api.ask(alice, talk), 422, "provider_authentication_failed")
    assert error["message"] == "openai refused your own key (…6789)."
    assert len(paid.requests) == 1
    assert rows(alice) == [(1, NAMES[0], "error", "provider_authentication_failed", 401, "user", 0, 0)]
    assert balance(alice.workspace) == 1


def test_an_own_key_first_and_the_houses_next(api: Api, alice: Person, talk: Conversation, paid: StandIn) -> None:
    own_key(alice)
    two_fail(paid)
    assert api.ask(alice, talk).json()["cost"] == "0.00015"
    assert [row[5] for row in rows(alice)] == ["user", "global", "global"]
    assert paid.requests[0].key == "sk-openai-0123456789"
    assert paid.requests[1].key == "sk-house-anthropic-0123456789abcdef"


def test_who_forbids_paid_credit_is_not_passed_on_to_it(
    api: Api, alice: Person, talk: Conversation, paid: StandIn
) -> None:
    own_key(alice)
    User.objects.filter(pk=alice.user.pk).update(allows_paid_fallback=False)
    paid.script(refusal(500))
    error_of(api.ask(alice, talk), 503, "provider_unavailable")
    assert len(paid.requests) == 1
    assert balance(alice.workspace) == 1


# --- Asked twice ------------------------------------------------------------------------------------------------------


def test_a_replay_of_an_answer_by_a_fallback(api: Api, alice: Person, talk: Conversation, paid: StandIn) -> None:
    two_fail(paid)
    first = api.ask(alice, talk, key="k", max_tokens=100)
    again = api.ask(alice, talk, key="k", max_tokens=100)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert (again.status_code, again.json()) == (201, first.json())
    streamed = events_in(api.ask(alice, talk, key="k", max_tokens=100, stream=True).text)
    assert (streamed[-1].name, streamed[-1].data) == ("message.completed", first.json())
    assert len(paid.requests) == 3
    assert len(rows(alice)) == 3
    assert balance(alice.workspace) == Decimal("0.99985")


def test_a_replay_of_a_failure_of_all(api: Api, alice: Person, talk: Conversation, paid: StandIn) -> None:
    paid.script(refusal(500), refusal(529, vendor="anthropic"), refusal(429, vendor="google"))
    first = error_of(api.ask(alice, talk, key="k"), 503, "provider_rate_limited")
    again = error_of(api.ask(alice, talk, key="k"), 503, "provider_rate_limited")
    assert first["details"] == again["details"]
    assert len(paid.requests) == 3
