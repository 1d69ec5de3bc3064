"""A model is retired: conversations on it go on with the fallback, or are told plainly what to do."""

from __future__ import annotations

from decimal import Decimal

import pytest

from conversations.models import Agent, Conversation, Message, UsageLog
from llm.models import LLM
from tests.api.asking import Api, balance, error_of, make_agent, make_conversation, messages_of
from tests.catalogue import make_llm
from tests.conversations.calling import fall_back_to, times
from tests.people import Person
from tests.providers.standins import StandIn, answer, refusal
from workspaces.models import Workspace

SECOND, THIRD = "anthropic/anthropic-test", "google/google-test"
GENERATE = "llm/generate"


@pytest.fixture
def others(llm: LLM) -> list[LLM]:
    return [make_llm("anthropic", price=times(2)), make_llm("google", price=times(3))]


@pytest.fixture
def agent(alice: Person, llm: LLM, others: list[LLM]) -> Agent:
    return make_agent(alice, llm, fallback_llms=[SECOND, THIRD], system_prompt="You count.")


@pytest.fixture
def talk(alice: Person, agent: Agent) -> Conversation:
    return make_conversation(alice, agent=agent)


def retire(*llms: LLM) -> None:
    LLM.objects.filter(pk__in=[llm.pk for llm in llms]).update(is_active=False)


def used(person: Person) -> list[tuple[str, int, str]]:
    logs = UsageLog.objects.filter(workspace=person.workspace).select_related("llm").order_by("id")
    return [(str(log.llm), log.attempt, log.status) for log in logs]


def test_a_conversation_under_way_goes_on_with_the_fallback(
    api: Api, alice: Person, talk: Conversation, llm: LLM, paid: StandIn
) -> None:
    assert api.ask(alice, talk).json()["message"]["model_used"] == str(llm)
    retire(llm)
    before = balance(alice.workspace)
    paid.script(answer("I go on.", usage={"input": 10, "output": 20}))
    response = api.ask(alice, talk, "And now?", max_tokens=100)

    assert response.status_code == 201, response.text
    told = response.json()
    assert (told["message"]["content"], told["message"]["model_used"]) == ("I go on.", SECOND)
    assert (told["usage"]["model"], told["cost"]) == (SECOND, "0.0001")
    assert before - balance(alice.workspace) == Decimal("0.0001")
    assert used(alice)[1:] == [(SECOND, 1, "success")]
    sent = paid.requests[-1].body
    assert (sent["model"], sent["system"]) == ("anthropic-test", "You count.")
    said = [turn["content"][0]["text"] for turn in sent["messages"]]
    assert (said[0], said[-1]) == ("Hello", "And now?")  # all that was said before comes along


def test_streamed(api: Api, alice: Person, talk: Conversation, llm: LLM, paid: StandIn) -> None:
    retire(llm)
    events = api.listen(alice, talk)
    assert {event.data["message"]["model_used"] for event in (events[0], events[-1])} == {SECOND}


def test_if_the_fallback_fails_the_next_one_follows(
    api: Api, alice: Person, talk: Conversation, llm: LLM, paid: StandIn
) -> None:
    retire(llm)
    paid.script(refusal(529, vendor="anthropic"), answer("By the third."))
    assert api.ask(alice, talk).json()["message"]["model_used"] == THIRD
    assert used(alice) == [(SECOND, 1, "error"), (THIRD, 2, "success")]


def test_fallbacks_that_are_retired_too_or_have_no_price_are_passed_over(
    api: Api, alice: Person, talk: Conversation, llm: LLM, others: list[LLM], paid: StandIn
) -> None:
    retire(llm, others[0])
    assert api.ask(alice, talk).json()["message"]["model_used"] == THIRD
    retire(*others)
    error = error_of(api.ask(alice, talk), 422, "model_retired")
    assert error["message"] == (
        "openai/openai-test is retired. Name another model in “llm”, or have its agent or workspace given another one."
    )
    assert set(error["details"]) == {"llm"}


def test_the_default_of_a_workspace_and_its_fallbacks(
    api: Api, alice: Person, chat: Conversation, llm: LLM, others: list[LLM], paid: StandIn
) -> None:
    Workspace.objects.filter(pk=alice.workspace.pk).update(default_model=str(llm))
    retire(llm)
    error_of(api.ask(alice, chat), 422, "model_retired")
    assert paid.requests == []
    fall_back_to(alice, SECOND)
    assert api.ask(alice, chat).json()["message"]["model_used"] == SECOND


def test_one_shot_calls(api: Api, alice: Person, llm: LLM, others: list[LLM], paid: StandIn) -> None:
    retire(llm)
    body = {"prompt": "Hello", "llm": str(llm)}
    error_of(api.post(alice, GENERATE, body), 422, "model_retired")
    fall_back_to(alice, SECOND)
    response = api.post(alice, GENERATE, body)
    assert response.json()["usage"]["model"] == SECOND, response.text


def test_nothing_is_kept_of_a_refusal(api: Api, alice: Person, chat: Conversation, llm: LLM, paid: StandIn) -> None:
    retire(llm)
    error_of(api.ask(alice, chat, llm=str(llm)), 422, "model_retired")
    assert api.get(alice, messages_of(chat)).json()["results"] == []
    assert not Message.objects.filter(workspace=alice.workspace).exists()


def test_what_a_fallback_can_not_do_it_is_not_asked_for(
    api: Api, alice: Person, talk: Conversation, llm: LLM, others: list[LLM], paid: StandIn
) -> None:
    LLM.objects.filter(pk=others[0].pk).update(supports_function_calling=False)
    retire(llm)
    tools = [{"name": "now", "description": "The time.", "parameters": {"type": "object", "properties": {}}}]
    assert api.ask(alice, talk, tools=tools).json()["message"]["model_used"] == THIRD


def test_too_little_money_is_told_as_that(api: Api, alice: Person, talk: Conversation, llm: LLM, paid: StandIn) -> None:
    dear = make_llm("openai", "dear", price=times(1_000_000))
    Agent.objects.filter(workspace=alice.workspace).update(fallback_llms=[str(dear)])
    retire(llm)
    error_of(api.ask(alice, talk), 402, "insufficient_balance")


def test_a_model_that_comes_back_answers_again(
    api: Api, alice: Person, talk: Conversation, llm: LLM, paid: StandIn
) -> None:
    retire(llm)
    LLM.objects.filter(pk=llm.pk).update(is_active=True)
    assert api.ask(alice, talk).json()["message"]["model_used"] == str(llm)
