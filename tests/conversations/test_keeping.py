"""What keeps a call under way alive: its lease is renewed, what has come is saved, and without its hold it stops."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.db import DatabaseError, OperationalError

from billing import holds
from conversations import calls, sweeper
from conversations.admission import Admitted
from conversations.models import Conversation
from llm.errors import ProviderUnavailable, StreamInterrupted
from llm.models import LLM
from llm.types import TextDelta, ThinkingDelta, UsageSeen
from synapscale.common.db import in_db
from tests.conversations.calling import answer_of, ask, hold_of, lapse, logs, make_conversation, wallet
from tests.conversations.test_call_faults import COST, DONE, USED, Provider, house, run
from tests.people import Person, fund

__all__ = ["house"]
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("audited", "house")]


@pytest.fixture(autouse=True)
def _in_a_hurry(settings: Any, tmp_path: Path) -> None:
    settings.SPOOL_DIR = tmp_path
    settings.CHECKPOINT_SECONDS = 0.02
    settings.HOLD_LEASE_SECONDS = 60


@pytest.fixture
def conversation(alice: Person, llm: LLM) -> Conversation:
    fund(alice.workspace, "1")
    return make_conversation(alice)


def until(is_so: Callable[[], Any]) -> Callable[[], Awaitable[None]]:
    """A step of a provider: it waits for something in the database."""

    async def wait() -> None:
        async with asyncio.timeout(20):
            while not await in_db(is_so):  # noqa: ASYNC110 (a state of the database)
                await asyncio.sleep(0.01)

    return wait


def for_ever() -> Awaitable[Any]:
    return asyncio.get_running_loop().create_future()


def lease(admitted: Admitted) -> datetime:
    return hold_of(admitted).lease_until


@pytest.mark.parametrize("streams", [True, False], ids=["streamed", "plain"])
def test_a_call_that_writes_nothing_outlives_its_lease(
    alice: Person, conversation: Conversation, monkeypatch: pytest.MonkeyPatch, settings: Any, streams: bool
) -> None:
    settings.HOLD_LEASE_SECONDS = 1
    admitted = ask(alice, conversation)
    first = lease(admitted)
    Provider(
        monkeypatch,
        until(lambda: (lease(admitted) - first).total_seconds() > 1.2),
        until(lambda: str(sweeper.sweep()) == "0 replayed, 0 interrupted, 0 lost"),
        DONE,
    )
    message, _ = run(admitted, streams=streams)
    assert (message.status, logs(alice)[0].charged_usd) == ("sent", COST)


def test_renewing_writes_no_more_than_it_has_to(
    alice: Person, conversation: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With nothing new, a quarter of the lease passes between two writes."""
    admitted, saved = ask(alice, conversation), []
    real = calls.Call._checkpoint

    def count(self: calls.Call, has_news: bool) -> None:
        saved.append(has_news)
        real(self, has_news)

    async def many_rounds() -> None:
        await asyncio.sleep(0.3)

    monkeypatch.setattr(calls.Call, "_checkpoint", count)
    Provider(monkeypatch, TextDelta("Hi"), until(lambda: answer_of(admitted).content == "Hi"), many_rounds, DONE)
    run(admitted)
    assert saved == [True]


@pytest.mark.parametrize("streams", [True, False], ids=["streamed", "plain"])
def test_the_provider_is_stopped_when_the_hold_is_gone(
    alice: Person, conversation: Conversation, monkeypatch: pytest.MonkeyPatch, settings: Any, streams: bool
) -> None:
    settings.HOLD_LEASE_SECONDS = 1
    admitted = ask(alice, conversation)

    def take_it_away() -> bool:
        sweeper.sweep(ignores_leases=True)
        return True

    provider = Provider(monkeypatch, until(take_it_away), for_ever, DONE)
    message, outcome = run(admitted, streams=streams)
    assert provider.is_closed
    assert (outcome.error_code, outcome.error_message) == ("interrupted", "The call lost its reservation.")
    assert (message.status, message.error_code) == ("error", "lost")
    assert (logs(alice)[0].status, logs(alice)[0].charged_usd, wallet(alice).held) == ("lost", 0, 0)


def test_text_is_saved_as_it_comes(alice: Person, conversation: Conversation, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without what no column takes: a checkpoint that can't be written would let the lease run out."""
    admitted = ask(alice, conversation)
    Provider(
        monkeypatch,
        TextDelta("On\x00e"),
        until(lambda: answer_of(admitted).content == "One"),
        TextDelta(", two\ud800"),
        until(lambda: answer_of(admitted).content == "One, two?"),
        DONE,
    )
    run(admitted)
    assert answer_of(admitted).content == "One, two?"


def test_usage_alone_is_saved_too(alice: Person, conversation: Conversation, monkeypatch: pytest.MonkeyPatch) -> None:
    """Anthropic reports the prompt before it thinks; the house owes it from then on, whatever becomes of the process."""
    admitted = ask(alice, conversation)
    used = {"input": 10, "output": 20, "cached_input": 0, "cache_write_5m": 0, "cache_write_1h": 0, "reasoning": 0}
    Provider(
        monkeypatch,
        UsageSeen(USED),
        until(lambda: answer_of(admitted).call.get("checkpoint", {}).get("seen_usage") == used),
        until(lambda: (lapse(admitted), str(sweeper.sweep(ignores_leases=True)))[1].endswith("1 lost")),
        for_ever,
    )
    run(admitted)
    (log,) = logs(alice)
    assert (log.status, log.total_tokens, log.is_estimate) == ("lost", 30, True)
    assert (log.cost_usd, log.charged_usd, wallet(alice).held) == (COST, 0, 0)


def test_thinking_alone_is_saved_too(
    alice: Person, conversation: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    admitted = ask(alice, conversation)
    Provider(
        monkeypatch,
        UsageSeen(USED),
        ThinkingDelta("Hm, hm, hm."),
        until(lambda: answer_of(admitted).call.get("checkpoint", {}).get("thought_bytes") == 11),
        until(lambda: (lapse(admitted), str(sweeper.sweep(ignores_leases=True)))[1].startswith("0 replayed, 1 inter")),
        for_ever,
    )
    run(admitted)
    (log,) = logs(alice)
    assert (log.status, log.input_tokens, log.output_tokens, log.reasoning_tokens) == ("interrupted", 10, 20, 3)
    assert log.charged_usd == Decimal("0.000056")


def test_usage_that_was_seen_counts_when_the_stream_breaks_off(
    alice: Person, conversation: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    Provider(monkeypatch, UsageSeen(USED), StreamInterrupted(provider="openai"))
    run(ask(alice, conversation))
    (log,) = logs(alice)
    assert (log.status, log.total_tokens, log.is_estimate) == ("error", 30, True)
    assert (log.cost_usd, log.charged_usd) == (COST, 0)


def test_the_lease_is_kept_until_the_answer_is_settled(
    alice: Person, conversation: Conversation, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    """The database may be away when the answer is complete; the sweeper must not take it meanwhile."""
    settings.HOLD_LEASE_SECONDS = 1
    admitted = ask(alice, conversation)
    real = calls.settle_from_spool

    async def renewed() -> None:
        first = await in_db(lease, admitted)
        await until(lambda: (lease(admitted) - first).total_seconds() > 1.2)()

    def held_up(**what: Any) -> Any:
        asyncio.run(renewed())
        return real(**what)

    monkeypatch.setattr(calls, "settle_from_spool", held_up)
    Provider(monkeypatch, TextDelta("Hi"), DONE)
    message, _ = run(admitted)
    assert message.status == "sent"


def test_a_checkpoint_that_the_database_refuses_is_tried_again(
    alice: Person, conversation: Conversation, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    admitted, tries = ask(alice, conversation), []
    real = holds.renew

    def refuse_once(**which: Any) -> None:
        tries.append(which)
        if len(tries) == 1:
            raise DatabaseError("not now")
        real(**which)

    monkeypatch.setattr(holds, "renew", refuse_once)
    Provider(monkeypatch, TextDelta("Hi"), until(lambda: answer_of(admitted).content == "Hi"), DONE)
    with caplog.at_level(logging.WARNING):
        message, _ = run(admitted)
    assert (message.status, len(tries)) == ("sent", 2)
    assert f"checkpoint of call {message.pk} failed: DatabaseError" in caplog.text


def test_a_call_whose_lease_could_not_be_renewed_is_not_swept_by_its_own_process(
    alice: Person, conversation: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database was away for longer than a lease; the sweep must not be faster than the renewal."""
    admitted = ask(alice, conversation)

    def away(**which: Any) -> None:
        raise OperationalError("the database is away")

    monkeypatch.setattr(holds, "renew", away)
    Provider(
        monkeypatch,
        TextDelta("Half, "),
        until(lambda: (lapse(admitted), str(sweeper.sweep()))[1] == "0 replayed, 0 interrupted, 0 lost"),
        TextDelta("and whole."),
        DONE,
    )
    message, _ = run(admitted)
    assert (message.status, message.content) == ("sent", "Half, and whole.")
    assert calls.running_holds() == set()


def test_a_call_that_goes_on_with_another_model_is_known_by_its_new_hold(
    alice: Person, falling: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    admitted, known = ask(alice, falling), []
    Provider(monkeypatch, until(lambda: known.append(calls.running_holds()) or True), ProviderUnavailable())
    run(admitted)
    assert known == [{log.hold_id} for log in logs(alice)]
    assert len(known) == 3
