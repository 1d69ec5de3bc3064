"""Calls under way when something goes wrong: on our side, at the database, at the provider. No money stays held, and
nothing that a provider reported is forgotten.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from conversations import settling, tries
from conversations.admission import Admitted
from conversations.calls import Call
from conversations.models import Conversation, Message
from conversations.outcomes import Outcome
from llm.models import LLM
from llm.types import CallRequest, CallResult, Credentials, StreamEvent, TextDelta, Thinking, ToolCall, Usage
from tests.common.test_db_threads import all_threads_busy
from tests.conftest import wait_for
from tests.conversations.calling import answer_of, ask, hold_of, logs, make_conversation, sent, settle_spooled, wallet
from tests.people import Person, fund

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("audited", "house")]
USED = Usage(input=10, output=20)
DONE = CallResult("Hi", "stop", USED)
COST = Decimal("0.00005")
Step = StreamEvent | Exception | Callable[[], Awaitable[Any]]


@pytest.fixture(autouse=True)
def spool(settings: Any, tmp_path: Path) -> Path:
    settings.SPOOL_DIR = tmp_path
    return tmp_path


@pytest.fixture
def house(settings: Any) -> None:
    settings.PROVIDERS = {"openai": {"api_key": "sk-house-0123456789abcdef", "base_url": ""}}


@pytest.fixture
def conversation(alice: Person, llm: LLM) -> Conversation:
    fund(alice.workspace, "1")
    return make_conversation(alice)


class Provider:
    """What ``llm.client`` would bring, step by step; a function among the steps is awaited."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *steps: Step) -> None:
        self.steps = steps
        self.is_closed = False
        monkeypatch.setattr(tries.client, "stream", self._stream)
        monkeypatch.setattr(tries.client, "complete", self._complete)

    async def _stream(
        self, request: CallRequest, credentials: Credentials, *, patience: float | None
    ) -> AsyncIterator[StreamEvent]:
        try:
            for step in self.steps:
                if isinstance(step, Exception):
                    raise step
                if callable(step):
                    await step()
                else:
                    yield step
        finally:
            self.is_closed = True

    async def _complete(self, request: CallRequest, credentials: Credentials, *, patience: float | None) -> Any:
        return [event async for event in self._stream(request, credentials, patience=patience)][-1]


def run(admitted: Admitted, *, streams: bool = True) -> tuple[Message, Outcome]:
    """The whole call, on an event loop of its own."""

    async def call() -> tuple[Message, Outcome]:
        under_way = Call(admitted, streams=streams)
        under_way.start()
        return await asyncio.wait_for(under_way.outcome(), 30)

    return asyncio.run(call())


# --- A bug of ours ----------------------------------------------------------------------------------------------------


@pytest.fixture
def poisoned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Text that can't be stored, by some bug that nobody knows of yet."""
    real = settling.apply

    def apply(message: Message, outcome: Outcome) -> None:
        if outcome.content:
            raise RuntimeError("a bug of ours")
        real(message, outcome)

    monkeypatch.setattr(settling, "apply", apply)


@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize(
    ("streams", "status", "charged"),
    [(True, "interrupted", COST), (False, "error", Decimal(0))],
    ids=["streamed", "plain"],
)
def test_what_can_not_be_stored_is_settled_with_what_it_used(
    alice: Person,
    conversation: Conversation,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    spool: Path,
    streams: bool,
    status: str,
    charged: Decimal,
) -> None:
    """Whoever has seen the answer pays for it; for one that never came out, the house does."""
    Provider(monkeypatch, *([TextDelta("Hi")] if streams else []), DONE)
    admitted = ask(alice, conversation)
    with caplog.at_level(logging.ERROR):
        message, _ = run(admitted, streams=streams)
    assert (message.status, message.error_code, message.content) == (status, "not_stored", "")
    assert message.error_message == "The answer could not be stored."
    (log,) = logs(alice)
    assert (log.total_tokens, log.is_estimate, log.cost_usd) == (30, False, COST)
    assert (log.charged_usd, wallet(alice).balance, wallet(alice).held) == (charged, 1 - charged, 0)
    assert "a bug of ours" in caplog.text
    assert [path.name for path in spool.iterdir()] == [f"{message.pk}.unreadable"]


@pytest.mark.usefixtures("poisoned")
def test_so_it_is_when_it_is_found_in_the_spool(alice: Person, conversation: Conversation, spool: Path) -> None:
    admitted = ask(alice, conversation)
    body = {"workspace": str(alice.workspace.pk), "message": str(admitted.answer.pk), "outcome": sent("Hi").as_json()}
    (spool / f"{admitted.answer.pk}.json").write_text(json.dumps(body))
    assert settling.replay_spool() == 1
    assert (answer_of(admitted).status, answer_of(admitted).error_code) == ("error", "not_stored")
    assert (logs(alice)[0].cost_usd, hold_of(admitted).state) == (COST, "released")
    assert [path.suffix for path in spool.iterdir()] == [".unreadable"]
    assert settling.replay_spool() == 0


def test_a_call_that_breaks_off_by_a_bug_is_settled(
    alice: Person, conversation: Conversation, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(self: Call) -> Outcome:
        self._try._take(TextDelta("Half"))
        raise RuntimeError("a bug of ours")

    monkeypatch.setattr(Call, "_make", broken)
    with caplog.at_level(logging.ERROR):
        message, outcome = run(ask(alice, conversation))
    assert (message.status, message.content, message.error_code) == ("interrupted", "Half", "internal_error")
    assert outcome.http_status == 500
    assert (logs(alice)[0].total_tokens, logs(alice)[0].is_estimate) == (11, True)
    assert wallet(alice).held == 0
    assert "a bug of ours" in caplog.text


@pytest.mark.parametrize("streams", [True, False])
def test_usage_that_was_reported_outlives_a_bug_behind_it(
    alice: Person, conversation: Conversation, monkeypatch: pytest.MonkeyPatch, streams: bool
) -> None:
    Provider(monkeypatch, DONE)

    def broken(self: tries.Try, result: CallResult) -> Outcome:
        raise RuntimeError("a bug of ours")

    monkeypatch.setattr(tries.Try, "_finished", broken)
    run(ask(alice, conversation), streams=streams)
    (log,) = logs(alice)
    assert (log.error_code, log.total_tokens, log.is_estimate) == ("provider_error", 30, False)
    assert (log.cost_usd, wallet(alice).held) == (COST, 0)


def test_a_checkpoint_that_fails_by_a_bug_does_not_end_the_call(
    alice: Person,
    conversation: Conversation,
    monkeypatch: pytest.MonkeyPatch,
    settings: Any,
    caplog: pytest.LogCaptureFixture,
) -> None:
    settings.CHECKPOINT_SECONDS = 0.01
    failed = asyncio.Event()

    def broken(self: Call, has_news: bool) -> None:
        self.loop.call_soon_threadsafe(failed.set)  # type: ignore[attr-defined]
        raise RuntimeError("a bug of ours")

    async def until_it_failed() -> None:
        await asyncio.wait_for(failed.wait(), 10)

    monkeypatch.setattr(Call, "_checkpoint", broken)
    Provider(monkeypatch, TextDelta("Hi"), until_it_failed, DONE)

    async def call() -> tuple[Message, Outcome]:
        under_way = Call(ask_later, streams=True)
        under_way.loop = asyncio.get_running_loop()  # type: ignore[attr-defined]
        under_way.start()
        return await under_way.outcome()

    ask_later = ask(alice, conversation)
    message, _ = asyncio.run(call())
    assert (message.status, message.content) == ("sent", "Hi")
    assert "a bug of ours" in caplog.text


# --- The database is away ---------------------------------------------------------------------------------------------


def test_an_answer_is_on_disk_before_it_waits_for_a_database_thread(
    alice: Person, conversation: Conversation, monkeypatch: pytest.MonkeyPatch, spool: Path
) -> None:
    """While the database is away, all threads wait for it, and a killed server would have lost the answer."""
    busy = all_threads_busy()

    def on_disk() -> list[dict[str, Any]]:
        return [json.loads(path.read_text())["outcome"] for path in spool.glob("*.json")]

    async def take_all_threads() -> None:
        await asyncio.to_thread(busy.__enter__)

    Provider(monkeypatch, TextDelta("Hi"), take_all_threads, DONE)
    admitted = ask(alice, conversation)

    async def call() -> tuple[Message, Outcome]:
        under_way = Call(admitted, streams=True)
        under_way.start()
        try:
            await asyncio.to_thread(wait_for, lambda: on_disk() != [], "the answer to be on disk")
            (found,) = await asyncio.to_thread(on_disk)
            assert (found["content"], found["usage"]["output"]) == ("Hi", 20)
        finally:
            busy.__exit__(None, None, None)
        return await under_way.outcome()

    message, _ = asyncio.run(call())
    assert (message.status, message.content) == ("sent", "Hi")
    assert list(spool.iterdir()) == []


# --- What an SDK may hand over ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("odd", [None, {"a": 1}, ["x"], 7, b"bytes", object(), float("nan"), "\ud800\x00"])
def test_an_outcome_of_anything_can_be_stored(alice: Person, conversation: Conversation, odd: Any) -> None:
    call = ToolCall(id=odd, name=odd, arguments=odd, signature=odd)
    outcome = sent(
        odd,
        tool_calls=(call, odd),
        thinking=(Thinking(odd, odd, odd), odd),
        finish_reason=odd,
        stop_sequence=odd,
        error_code=odd,
        error_message=odd,
        provider_request_id=odd,
    )
    admitted = ask(alice, conversation)
    settle_spooled(admitted, outcome)
    message = answer_of(admitted)
    assert message.status == "sent"
    assert [set(map(type, stored.values())) for stored in message.tool_calls] == [{str}]
    assert logs(alice)[0].charged_usd == COST


def test_an_object_becomes_its_json_and_nothing_becomes_no_text() -> None:
    circle: list[Any] = []
    circle.append(circle)
    calls = (ToolCall(id=None, name="f", arguments={"a": [1, "ü"]}), ToolCall("1", "f", circle))  # type: ignore[arg-type]
    stored = sent(tool_calls=calls).storable()
    assert stored.tool_calls == (ToolCall("", "f", '{"a": [1, "\\u00fc"]}'), ToolCall("1", "f", "[[...]]"))
    assert sent(tool_calls=None, thinking=None).storable().tool_calls == ()


@pytest.mark.parametrize(
    ("asked", "told"),
    [(None, None), (0.2, 1), (3, 3), (float("inf"), None), (float("nan"), None), (-float("inf"), None)],
)
def test_a_pause_that_never_ends_is_none(
    alice: Person, conversation: Conversation, monkeypatch: pytest.MonkeyPatch, asked: float | None, told: int | None
) -> None:
    from llm.errors import ProviderRateLimited

    Provider(monkeypatch, ProviderRateLimited(provider="openai", retry_after=asked))
    _, outcome = run(ask(alice, conversation))
    assert (outcome.error_code, outcome.retry_after) == ("provider_rate_limited", told)
