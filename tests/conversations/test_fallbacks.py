"""From a failed attempt to the next model: each with its own hold, price, key and usage row, and nothing in between."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from django.db import OperationalError
from django.utils import timezone

from conversations import admission, fallbacks, sweeper
from conversations.admission import Admitted, Known
from conversations.asks import Ask
from conversations.fallbacks import FallBack
from conversations.models import Agent, Conversation, ConversationLLM
from llm.models import LLM, LLMPrice
from llm.types import Usage
from synapscale.common.errors import Refusal
from tests.api.asking import picture
from tests.books import assert_clean
from tests.catalogue import make_llm
from tests.conversations.calling import (
    HELD,
    SECOND_HELD,
    THIRD_HELD,
    answer_of,
    answered,
    ask,
    checkpoint,
    events,
    failed,
    fall_back,
    fall_back_to,
    followed,
    hold_of,
    incidents,
    lapse,
    logs,
    make_conversation,
    own_key,
    sent,
    settle,
    states,
    wallet,
)
from tests.people import Person
from workspaces.models import AccessToken

pytestmark = pytest.mark.django_db


# --- One after the other ----------------------------------------------------------------------------------------------


def test_the_third_answers_after_two_have_failed(alice: Person, falling: Conversation) -> None:
    first = ask(alice, falling)
    assert first.plan.fallbacks == ("openai/second", "openai/third")
    two = followed(first, failed(error_code="provider_unavailable", status_code=503, latency_ms=40))
    assert (str(two.plan.llm), two.request.model, two.plan.fallbacks) == ("openai/second", "second", ("openai/third",))
    three = followed(two, failed(error_code="provider_timeout", latency_ms=50))
    assert (str(three.plan.llm), three.plan.fallbacks) == ("openai/third", ())
    message = settle(three, sent("Hi"))

    assert (message.pk, message.attempt, message.status, message.content) == (first.answer.pk, 3, "sent", "Hi")
    assert (message.model_used, str(message.llm), message.tokens_used) == ("openai/third", "openai/third", 30)
    rows = [
        (log.attempt, str(log.llm), log.status, log.error_code, log.api_status_code, log.latency_ms, log.total_tokens)
        for log in logs(alice)
    ]
    assert rows == [
        (1, "openai/openai-test", "error", "provider_unavailable", 503, 40, 0),
        (2, "openai/second", "error", "provider_timeout", None, 50, 0),
        (3, "openai/third", "success", "", None, None, 30),
    ]
    # 10 tokens in and 20 out, at three times $1 and $2
    assert [log.cost_usd for log in logs(alice)] == [0, 0, Decimal("0.00015")]
    assert [log.charged_usd for log in logs(alice)] == [0, 0, Decimal("0.00015")]
    assert {log.price.llm_id for log in logs(alice)} == {log.llm_id for log in logs(alice)}
    assert len({log.hold_id for log in logs(alice)}) == 3
    assert states(alice) == [
        ("released", Decimal(HELD), 0),
        ("released", SECOND_HELD, 0),
        ("settled", THIRD_HELD, Decimal("0.00015")),
    ]
    purse = wallet(alice)
    assert (purse.balance, purse.held) == (Decimal("0.99985"), 0)
    (charge,) = message.billing_events
    assert (charge.reference, charge.event_type) == (f"message:{message.pk}:3", "usage")
    falling.refresh_from_db()
    assert (falling.message_count, falling.total_tokens) == (2, 30)
    assert falling.total_cost == Decimal("0.00015")
    per_model = ConversationLLM.objects.filter(workspace=alice.workspace).order_by("llm__name")
    assert [(str(row.llm), row.message_count, row.total_cost) for row in per_model] == [
        ("openai/openai-test", 1, 0),
        ("openai/second", 1, 0),
        ("openai/third", 1, Decimal("0.00015")),
    ]
    assert_clean()


def test_between_attempts_the_answer_is_pending_with_one_open_hold(alice: Person, falling: Conversation) -> None:
    first = ask(alice, falling)
    two = followed(first)
    message = answer_of(two)
    assert (message.status, message.attempt, message.model_used) == ("pending", 2, "openai/second")
    assert message.hold == hold_of(two) != hold_of(first)
    assert message.price == LLMPrice.objects.get(llm__name="second")
    assert hold_of(two).is_dispatched
    assert states(alice) == [("released", Decimal(HELD), 0), ("held", SECOND_HELD, None)]
    assert wallet(alice).held == SECOND_HELD
    falling.refresh_from_db()
    assert falling.message_count == 0
    assert_clean()


def test_when_all_fail_the_last_failure_is_the_answer(alice: Person, falling: Conversation) -> None:
    three = followed(followed(ask(alice, falling)))
    last = failed(error_code="provider_timeout", error_message="Too slow.", http_status=504)
    assert fall_back(three, last) is None
    message = settle(three, last)
    assert (message.status, message.attempt, message.error_code) == ("error", 3, "provider_timeout")
    assert message.call["outcome"]["http_status"] == 504
    assert [(log.attempt, log.error_code) for log in logs(alice)] == [
        (1, "provider_error"),
        (2, "provider_error"),
        (3, "provider_timeout"),
    ]
    assert {state for state, *_ in states(alice)} == {"released"}
    assert (wallet(alice).balance, wallet(alice).held) == (1, 0)
    assert_clean()


def test_what_the_provider_billed_for_a_failure_is_noted_and_not_charged(alice: Person, falling: Conversation) -> None:
    two = followed(ask(alice, falling), failed(usage=Usage(input=10)))
    assert wallet(alice).balance == 1
    settle(two, sent())
    assert [log.cost_usd for log in logs(alice)] == [Decimal("0.00001"), Decimal("0.0001")]
    assert [(event.amount_usd, event.reference[-2:]) for event in events(alice)[1:]] == [(Decimal("-0.0001"), ":2")]
    assert [state for state, *_ in states(alice)] == ["released", "settled"]
    assert_clean()


def test_an_agents_own_list_comes_before_the_workspaces(alice: Person, falling: Conversation, llm: LLM) -> None:
    agent = Agent.objects.create(workspace=alice.workspace, name="A", llm=llm, fallback_llms=["openai/third"])
    chat = make_conversation(alice, agent=agent)
    assert ask(alice, chat, llm="").plan.fallbacks == ("openai/third",)
    agent.fallback_llms = []
    agent.save()
    assert ask(alice, chat, llm="").plan.fallbacks == ("openai/second", "openai/third")


def test_a_model_is_tried_once_however_often_it_is_named(alice: Person, falling: Conversation) -> None:
    fall_back_to(alice, "openai/second", "openai/openai-test", "openai/second", "openai/third", "openai/second")
    assert ask(alice, falling).plan.fallbacks == ("openai/second", "openai/third")


def test_the_next_model_is_sent_the_same_prompt(alice: Person, falling: Conversation) -> None:
    answered(alice, falling, content="Before")
    first = ask(alice, falling, "Now", stop=["x"], temperature=Decimal("0.5"))
    two = followed(first)
    assert [turn.content for turn in first.request.messages] == ["Before", "Hi", "Now"]
    assert two.request.messages == first.request.messages
    assert (two.request.stop, two.request.temperature, two.request.max_tokens) == (("x",), 0.5, 100)


# --- Who is passed over -----------------------------------------------------------------------------------------------


def _second(**fields: Any) -> None:
    LLM.objects.filter(name="second").update(**fields)


def _no_longer_priced() -> None:
    LLMPrice.objects.filter(llm__name="second").update(effective_to=timezone.now())


IMAGE = {"type": "image", "media_type": "image/png", "data": picture(), "width": 3, "height": 2}
TOOL = {"name": "look", "description": "", "parameters": {"type": "object"}}
PASSED_OVER: dict[str, tuple[Any, dict[str, Any]]] = {
    "retired": (lambda: _second(is_active=False), {}),
    "no price": (_no_longer_priced, {}),
    "no images": (lambda: _second(supports_vision=False), {"attachments": [IMAGE]}),
    "no tools": (lambda: _second(supports_function_calling=False), {"tools": [TOOL]}),
    "no structure": (lambda: _second(supports_structured_output=False), {"response_schema": {"type": "object"}}),
    "no streams": (lambda: _second(supports_streaming=False), {"stream": True}),
    "no room": (lambda: _second(context_window=12, max_output_tokens=12), {"content": "Hello" * 20}),
    "gone": (lambda: _second(name="renamed"), {}),
}


@pytest.mark.parametrize("why", PASSED_OVER)
def test_a_model_that_can_not_answer_is_passed_over(alice: Person, falling: Conversation, why: str) -> None:
    change, fields = PASSED_OVER[why]
    first = ask(alice, falling, **fields)
    change()
    two = followed(first)
    assert (str(two.plan.llm), two.answer.attempt, two.plan.fallbacks) == ("openai/third", 2, ())
    settle(two, sent())
    assert len(logs(alice)) == 2
    assert_clean()


def test_a_model_that_the_workspace_does_not_allow_is_passed_over(alice: Person, falling: Conversation) -> None:
    alice.workspace.allowed_models = ["openai/openai-test", "openai/third"]
    assert str(followed(ask(alice, falling)).plan.llm) == "openai/third"


def test_a_model_that_the_token_does_not_allow_is_passed_over(alice: Person, falling: Conversation) -> None:
    token = AccessToken.objects.get(workspace=alice.workspace, user=alice.user)
    token.allowed_models = ["openai/openai-test", "openai/third"]
    assert str(followed(ask(alice, falling, access_token=token)).plan.llm) == "openai/third"


def test_a_model_without_a_key_is_passed_over(alice: Person, falling: Conversation) -> None:
    make_llm("grok")
    fall_back_to(alice, "grok/grok-test", "openai/third")
    assert str(followed(ask(alice, falling)).plan.llm) == "openai/third"


def test_only_models_of_the_provider_that_was_asked_for(alice: Person, falling: Conversation) -> None:
    own_key(alice)
    make_llm("grok")
    own_key(alice, "grok")
    fall_back_to(alice, "grok/grok-test", "openai/third")
    assert str(followed(ask(alice, falling)).plan.llm) == "grok/grok-test"
    assert str(followed(ask(alice, falling, provider="openai")).plan.llm) == "openai/third"


def test_nobody_left_changes_nothing(alice: Person, falling: Conversation) -> None:
    LLM.objects.exclude(name="openai-test").update(is_active=False)
    admitted = ask(alice, falling)
    assert fall_back(admitted, failed(usage=Usage(input=10))) is None
    assert (answer_of(admitted).attempt, logs(alice)) == (1, [])
    assert states(alice) == [("held", Decimal(HELD), None)]
    assert len(events(alice)) == 1
    settle(admitted, failed())
    assert [(log.attempt, log.status) for log in logs(alice)] == [(1, "error")]
    assert_clean()


def test_without_fallbacks_there_is_nothing_to_do(
    alice: Person, falling: Conversation, django_assert_num_queries: Any
) -> None:
    fall_back_to(alice)
    admitted = ask(alice, falling)
    with django_assert_num_queries(0):
        assert fall_back(admitted) is None


# --- Crashes ----------------------------------------------------------------------------------------------------------


def test_a_commit_that_nobody_heard_of_is_not_made_again(alice: Person, falling: Conversation) -> None:
    """The connection broke while it was committed: asked again, it is the same attempt, and the first is metered once."""
    change = FallBack(ask(alice, falling), failed())
    following, again = change.make(), change.make()
    assert following is again is not None
    assert answer_of(following).attempt == 2
    assert len(logs(alice)) == 1
    assert len(states(alice)) == 2
    assert_clean()


def test_a_transaction_that_was_rolled_back_is_made_again(
    alice: Person, falling: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    change, real, calls = FallBack(ask(alice, falling), failed()), fallbacks.reserve, []

    def lose_the_connection(*args: Any, **kwargs: Any) -> None:
        real(*args, **kwargs)
        calls.append(1)
        if len(calls) == 1:
            raise OperationalError("server closed the connection unexpectedly")

    monkeypatch.setattr(fallbacks, "reserve", lose_the_connection)
    with pytest.raises(OperationalError):
        change.make()
    assert logs(alice) == []
    following = change.make()
    assert following is not None
    assert hold_of(following).state == "held"
    assert len(logs(alice)) == 1
    assert_clean()


def test_the_sweeper_was_faster(alice: Person, falling: Conversation) -> None:
    admitted = ask(alice, falling)
    lapse(admitted)
    sweeper.sweep()
    assert fall_back(admitted) is None
    settle(admitted, failed())
    assert [(log.attempt, log.status) for log in logs(alice)] == [(1, "lost")]
    assert_clean()


def test_the_sweeper_was_faster_after_a_commit_that_nobody_heard_of(alice: Person, falling: Conversation) -> None:
    change = FallBack(ask(alice, falling), failed())
    following = change.make()
    assert following is not None
    lapse(following)
    sweeper.sweep()
    assert change.make() is None


def test_the_process_dies_while_the_second_is_asked(alice: Person, falling: Conversation) -> None:
    two = followed(ask(alice, falling), failed(error_code="provider_unavailable"))
    lapse(two)
    assert sweeper.sweep().lost == 1
    message = answer_of(two)
    assert (message.status, message.error_code, message.attempt) == ("error", "lost", 2)
    assert [(log.attempt, log.status, log.charged_usd) for log in logs(alice)] == [(1, "error", 0), (2, "lost", 0)]
    assert [state for state, *_ in states(alice)] == ["released", "expired"]
    assert (wallet(alice).balance, wallet(alice).held) == (1, 0)
    assert_clean()


def test_the_process_dies_while_the_second_writes(alice: Person, falling: Conversation) -> None:
    two = followed(ask(alice, falling))
    checkpoint(two, "Nine char")
    lapse(two)
    assert sweeper.sweep().interrupted == 1
    # 10 tokens of prompt at $2 and 3 of answer at $4
    assert [log.charged_usd for log in logs(alice)] == [0, Decimal("0.000032")]
    assert answer_of(two).content == "Nine char"
    settle(two, sent("Nine characters", usage={"input": 10, "output": 4}))
    (late,) = incidents(alice)
    assert (late.kind, late.amount) == ("late_result", Decimal("0.000004"))
    assert_clean()


def test_what_the_first_left_on_disk_says_nothing_of_the_second(alice: Person, falling: Conversation) -> None:
    """A checkpoint of an attempt goes with it."""
    first = ask(alice, falling)
    checkpoint(first, "", seen_usage=Usage(input=500).as_dict(), written_bytes=0)
    two = followed(first)
    assert "checkpoint" not in answer_of(two).call
    lapse(two)
    sweeper.sweep()
    assert [log.total_tokens for log in logs(alice)] == [0, 0]


# --- Asked twice ------------------------------------------------------------------------------------------------------


def test_the_same_request_again_finds_the_answer_of_the_fallback(alice: Person, falling: Conversation) -> None:
    def admit() -> Admitted | Known:
        return admission.admit(
            user=alice.user,
            workspace=alice.workspace,
            membership=alice.membership,
            conversation_id=falling.pk,
            ask=Ask(content="Hello", llm="openai/openai-test", max_tokens=100),
            idempotency_key="k",
        )

    first = admit()
    assert isinstance(first, Admitted)
    two = followed(first)
    with pytest.raises(Refusal) as running:
        admit()
    assert running.value.code == "request_in_progress"
    settle(two, sent("By the second"))
    known = admit()
    assert isinstance(known, Known)
    assert (known.answer.content, known.answer.model_used) == ("By the second", "openai/second")
    assert len(logs(alice)) == 2
