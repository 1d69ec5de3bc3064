"""``Call.stop``, at every moment of a call: the provider is hung up on, and what had arrived is charged, no more."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from billing import holds
from conversations import calls, chat, sweeper
from conversations.calls import Call
from conversations.fallbacks import FallBack
from conversations.models import Conversation, Message
from conversations.outcomes import Outcome
from llm import client
from llm.circuits import CIRCUITS
from llm.models import LLM
from synapscale.common.db import in_db
from tests.books import assert_clean
from tests.catalogue import make_llm
from tests.conftest import wait_for
from tests.conversations.calling import (
    HELD,
    SECOND_HELD,
    answer_of,
    ask,
    fall_back_to,
    lapse,
    logs,
    make_conversation,
    states,
    wallet,
)
from tests.conversations.running import Gate, nothing, run, until
from tests.people import Person, fund
from tests.providers.standins import StandIn, fault, refusal
from tests.providers.wire import error_body

pytestmark = pytest.mark.django_db(transaction=True)
WORDS = [f"word{number:02d} " for number in range(60)]
STORY = "".join(WORDS)


@pytest.fixture(autouse=True)
def provider_(house: None, house_keys: StandIn) -> Iterator[None]:
    """After each of these tests the provider writes to nobody, no call runs, and the books are in order."""
    yield
    wait_for(lambda: house_keys.answering == 0, "the provider to be hung up on")
    assert calls.running() == 0
    assert_clean()


@pytest.fixture
def conversation(alice: Person, llm: LLM) -> Conversation:
    fund(alice.workspace, "1")
    return make_conversation(alice)


async def stop_at_once(call: Call) -> None:
    call.stop()


def assert_stopped_for_nothing(person: Person, admitted: Any, outcome: Outcome) -> None:
    message = answer_of(admitted)
    assert (message.status, message.error_code, message.content) == ("error", "client_disconnected", "")
    assert (outcome.http_status, outcome.is_stopped) == (499, True)
    (log,) = logs(person)
    assert (log.status, log.error_code, log.total_tokens, log.charged_usd) == ("error", "client_disconnected", 0, 0)
    assert states(person) == [("released", Decimal(HELD), 0)]
    assert (wallet(person).balance, wallet(person).held) == (1, 0)


# --- Before anything has come -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("streams", [True, False])
def test_before_it_has_begun(alice: Person, conversation: Conversation, provider: StandIn, streams: bool) -> None:
    admitted = ask(alice, conversation)
    _, outcome = run(admitted, stop_at_once, streams=streams)
    assert_stopped_for_nothing(alice, admitted, outcome)
    assert provider.requests == []


def test_while_it_is_dispatched(
    alice: Person, conversation: Conversation, provider: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    admitted = ask(alice, conversation)
    gate = Gate(monkeypatch, holds, "dispatch")

    async def scenario(call: Call) -> None:
        await until(gate.reached.is_set, "the dispatch")
        call.stop()
        gate.open()

    _, outcome = run(admitted, scenario)
    assert_stopped_for_nothing(alice, admitted, outcome)
    assert provider.requests == []


@pytest.mark.parametrize("streams", [True, False])
def test_before_the_first_word(alice: Person, conversation: Conversation, provider: StandIn, streams: bool) -> None:
    """The connection to the provider is closed: it would write, and bill, in vain."""
    provider.answer(STORY, wait=60)
    admitted = ask(alice, conversation)

    async def scenario(call: Call) -> None:
        await until(lambda: provider.answering, "the provider to be called")
        call.stop()

    _, outcome = run(admitted, scenario, streams=streams)
    assert_stopped_for_nothing(alice, admitted, outcome)
    wait_for(lambda: provider.answering == 0, "the connection to be closed")
    assert [request.is_finished for request in provider.requests] == [False]


def test_the_prompt_that_the_provider_has_counted_is_paid_for(alice: Person, provider: StandIn) -> None:
    """Anthropic says at the start what the prompt comes to."""
    fund(alice.workspace, "1")
    make_llm("anthropic")
    provider.always(fault("stall", after=2, usage={"input": 30, "cached_input": 5, "output": 40}))
    admitted = ask(alice, make_conversation(alice), llm="anthropic/anthropic-test")

    async def scenario(call: Call) -> None:
        await until(lambda: call._try.so_far().seen_usage, "the usage so far")
        call.stop()

    run(admitted, scenario)
    message = answer_of(admitted)
    assert (message.status, message.content, message.tokens_used) == ("interrupted", "", 36)
    (log,) = logs(alice)
    # 30 and 5 in, and the one token that its first event counts
    assert (log.input_tokens, log.cached_input_tokens, log.output_tokens) == (30, 5, 1)
    assert (log.is_estimate, log.charged_usd) == (True, Decimal("0.000037"))
    ((state, _, charged),) = states(alice)
    assert (state, charged) == ("settled", Decimal("0.000037"))
    assert wallet(alice).balance == 1 - Decimal("0.000037")


# --- In the middle ----------------------------------------------------------------------------------------------------


def test_in_the_middle_of_a_stream(alice: Person, conversation: Conversation, provider: StandIn) -> None:
    provider.answer(chunks=WORDS, delay=0.02, usage={"input": 10, "output": 400})
    admitted = ask(alice, conversation)
    heard: list[str] = []

    async def scenario(call: Call) -> None:
        async for text in call.text():
            heard.append(text)
            if "word05" in text:
                call.stop()

    call, outcome = run(admitted, scenario)
    message = answer_of(admitted)
    assert (message.status, message.error_code) == ("interrupted", "client_disconnected")
    assert "word05" in message.content
    assert STORY.startswith(message.content)
    assert len(message.content) < len(STORY)
    assert message.content == outcome.content == "".join(heard)
    (log,) = logs(alice)
    written = -(-len(message.content) // 4)
    assert (log.status, log.is_estimate) == ("interrupted", True)
    assert (log.input_tokens, log.output_tokens) == (10, written)
    assert log.charged_usd == Decimal(10 + 2 * written).scaleb(-6)
    assert wallet(alice).balance == 1 - log.charged_usd
    wait_for(lambda: provider.answering == 0, "the connection to be closed")
    assert [request.is_finished for request in provider.requests] == [False]
    assert call.has_ended


def test_in_the_middle_with_the_prompt_counted(alice: Person, provider: StandIn) -> None:
    fund(alice.workspace, "1")
    make_llm("anthropic")
    provider.always(fault("stall", after=4, chunks=["Nine char", *WORDS], usage={"input": 30, "output": 40}))
    admitted = ask(alice, make_conversation(alice), llm="anthropic/anthropic-test")

    async def scenario(call: Call) -> None:
        await call.first_piece(seconds=20)
        call.stop()

    run(admitted, scenario)
    assert answer_of(admitted).content == "Nine char"
    (log,) = logs(alice)
    assert (log.input_tokens, log.output_tokens, log.charged_usd) == (30, 3, Decimal("0.000036"))


def test_being_stopped_twice_is_being_stopped(alice: Person, conversation: Conversation, provider: StandIn) -> None:
    provider.answer(STORY, wait=60)
    admitted = ask(alice, conversation)

    async def scenario(call: Call) -> None:
        await until(lambda: provider.answering, "the provider to be called")
        for _ in range(3):
            call.stop()

    _, outcome = run(admitted, scenario)
    assert_stopped_for_nothing(alice, admitted, outcome)


def test_a_call_that_was_swept_stops_by_itself(
    alice: Person, conversation: Conversation, provider: StandIn, settings: Any
) -> None:
    settings.CHECKPOINT_SECONDS = 0.05
    settings.HOLD_LEASE_SECONDS = 0.2
    provider.answer(chunks=WORDS, delay=0.1)
    admitted = ask(alice, conversation)

    def take_away() -> None:
        settings.HOLD_LEASE_SECONDS = 60
        lapse(admitted)
        sweeper.sweep(ignores_leases=True)

    async def scenario(call: Call) -> None:
        await call.first_piece(seconds=20)
        await in_db(take_away)

    _, outcome = run(admitted, scenario)
    assert (outcome.status, outcome.error_message) == ("interrupted", "The call lost its reservation.")
    wait_for(lambda: provider.answering == 0, "the connection to be closed")
    assert len(logs(alice)) == 1


# --- When it is over --------------------------------------------------------------------------------------------------


def test_after_the_end_nothing_changes(alice: Person, conversation: Conversation, provider: StandIn) -> None:
    provider.answer("All of it", usage={"input": 10, "output": 3})
    admitted = ask(alice, conversation)

    async def scenario(call: Call) -> None:
        await call.outcome()
        call.stop()

    _, outcome = run(admitted, scenario)
    assert (outcome.status, outcome.is_stopped) == ("sent", False)
    assert (answer_of(admitted).content, wallet(alice).balance) == ("All of it", 1 - Decimal("0.000016"))


def test_while_it_is_settled_it_is_settled_in_full(
    alice: Person, conversation: Conversation, provider: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider.answer("All of it", usage={"input": 10, "output": 3})
    admitted = ask(alice, conversation)
    gate = Gate(monkeypatch, calls, "settle_from_spool")

    async def scenario(call: Call) -> None:
        await until(gate.reached.is_set, "the settling")
        call.stop()
        gate.open()

    _, outcome = run(admitted, scenario)
    assert (outcome.status, answer_of(admitted).status) == ("sent", "sent")
    assert wallet(alice).balance == 1 - Decimal("0.000016")


# --- Between two models -----------------------------------------------------------------------------------------------


def test_while_it_falls_back_the_next_model_is_not_called(
    alice: Person, falling: Conversation, provider: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The change of models can't be called back: it is made, and the attempt that it began is stopped. What the provider
    had counted for the first is no usage of the second.
    """
    make_llm("anthropic")
    overloaded = error_body("anthropic", 529, code="overloaded_error")
    provider.always(fault("error_event", after=2, error=overloaded, usage={"input": 30, "output": 1}))
    admitted = ask(alice, falling, llm="anthropic/anthropic-test")
    gate = Gate(monkeypatch, FallBack, "make")

    async def scenario(call: Call) -> None:
        await until(gate.reached.is_set, "the fall back")
        assert call._try.so_far().seen_usage
        call.stop()
        call.stop()
        gate.open()

    _, outcome = run(admitted, scenario)
    message = answer_of(admitted)
    assert (message.status, message.attempt, message.error_code) == ("error", 2, "client_disconnected")
    assert outcome.is_stopped
    assert [(log.attempt, str(log.llm), log.error_code, log.total_tokens) for log in logs(alice)] == [
        (1, "anthropic/anthropic-test", "provider_unavailable", 31),
        (2, "openai/second", "client_disconnected", 0),
    ]
    assert states(alice) == [("released", Decimal(HELD), 0), ("released", SECOND_HELD, 0)]
    assert len(provider.requests) == 1


def test_while_the_next_model_writes(alice: Person, falling: Conversation, provider: StandIn) -> None:
    provider.script(refusal(500), fault("stall", after=2, chunks=["Nine char", "more"]))
    admitted = ask(alice, falling)

    async def scenario(call: Call) -> None:
        await call.first_piece(seconds=20)
        call.stop()

    run(admitted, scenario)
    # 10 tokens in at $2 and 3 out at $4
    assert [(log.status, log.charged_usd) for log in logs(alice)] == [
        ("error", 0),
        ("interrupted", Decimal("0.000032")),
    ]
    assert answer_of(admitted).content == "Nine char"


def test_a_server_that_goes_down_while_it_falls_back_leaves_it_to_the_sweeper(
    alice: Person, falling: Conversation, provider: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider.always(refusal(500))
    admitted = ask(alice, falling)
    gate = Gate(monkeypatch, FallBack, "make")

    async def main() -> None:
        call = chat.start(admitted, streams=True)
        await until(gate.reached.is_set, "the fall back")
        waiting = asyncio.ensure_future(calls.drain(seconds=0))
        await until(lambda: calls.running() == 0, "the call to be cut off")
        gate.open()
        await waiting
        assert call.has_ended
        await client.aclose_all()

    asyncio.run(main())
    wait_for(lambda: answer_of(admitted).attempt == 2, "the change that was under way")
    assert answer_of(admitted).status == "pending"
    assert sweeper.sweep(ignores_leases=True).lost == 1
    assert [(log.attempt, log.status) for log in logs(alice)] == [(1, "error"), (2, "lost")]
    assert (wallet(alice).balance, wallet(alice).held) == (1, 0)


def test_a_fall_back_that_breaks_leaves_the_failure_it_was_for(
    alice: Person, falling: Conversation, provider: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bug of ours, or a database that refuses: the customer's money does not stay held because of it."""
    provider.always(refusal(500))
    admitted = ask(alice, falling)

    def break_down(self: FallBack) -> None:
        raise RuntimeError

    monkeypatch.setattr(FallBack, "make", break_down)

    _, outcome = run(admitted, nothing)
    assert (outcome.error_code, answer_of(admitted).attempt) == ("provider_unavailable", 1)
    assert states(alice) == [("released", Decimal(HELD), 0)]


def test_checkpoints_and_changes_of_models_do_not_get_in_each_others_way(
    alice: Person, falling: Conversation, provider: StandIn, settings: Any
) -> None:
    """The lease is renewed all the time, and two models fail, and the third writes slowly."""
    settings.CHECKPOINT_SECONDS = 0
    settings.HOLD_LEASE_SECONDS = 0.4  # renewed whenever a tenth of a second has passed
    provider.script(refusal(500, wait=0.3), refusal(503, wait=0.3))
    provider.answer(chunks=WORDS[:20], delay=0.02, usage={"input": 10, "output": 20})
    admitted = ask(alice, falling)

    _, outcome = run(admitted, nothing)
    assert (outcome.status, outcome.content) == ("sent", "".join(WORDS[:20]))
    message = answer_of(admitted)
    assert (message.attempt, message.model_used) == (3, "openai/third")
    assert "checkpoint" not in message.call
    assert [log.status for log in logs(alice)] == ["error", "error", "success"]


def test_nothing_is_learned_of_a_provider_from_a_call_that_was_stopped(
    alice: Person, falling: Conversation, provider: StandIn, settings: Any
) -> None:
    settings.CIRCUIT_FAILURES = 1
    fall_back_to(alice)
    provider.answer(STORY, wait=60)
    admitted = ask(alice, falling)

    async def scenario(call: Call) -> None:
        await until(lambda: provider.answering, "the provider to be called")
        call.stop()

    run(admitted, scenario)
    assert CIRCUITS.state("openai") == "closed"
    assert Message.objects.filter(workspace=alice.workspace, role="assistant").count() == 1
