"""One model's turn: what is kept of what it writes, and every way it can end. Its provider is a list of events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from conversations import tries
from conversations.outcomes import Outcome
from conversations.tries import Try, whose_key
from llm import errors
from llm.circuits import CIRCUITS
from llm.types import (
    CallRequest,
    CallResult,
    ChatMessage,
    Credentials,
    StreamEvent,
    TextDelta,
    Thinking,
    ThinkingDelta,
    ToolCall,
    ToolCallDelta,
    Usage,
    UsageSeen,
)

REQUEST = CallRequest(model="m", messages=(ChatMessage("user", "Hello"),), max_tokens=100)
HOUSE = Credentials(provider="openai", api_key="sk-house")
RESULT = CallResult("ignored", "stop", Usage(input=1, output=2), provider_request_id="req-9", status_code=200)


class Provider:
    """What ``llm.client`` would bring; an exception among the events is raised, a float is waited for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *events: StreamEvent | Exception | float) -> None:
        self.events = events
        self.is_closed = False
        self.patience: list[float | None] = []
        monkeypatch.setattr(tries.client, "stream", self._stream)
        monkeypatch.setattr(tries.client, "complete", self._complete)

    async def _stream(
        self, request: CallRequest, credentials: Credentials, *, patience: float | None
    ) -> AsyncIterator[StreamEvent]:
        self.patience.append(patience)
        try:
            for event in self.events:
                if isinstance(event, Exception):
                    raise event
                if isinstance(event, float):
                    await asyncio.sleep(event)
                else:
                    yield event
        finally:
            self.is_closed = True

    async def _complete(self, request: CallRequest, credentials: Credentials, *, patience: float | None) -> Any:
        self.patience.append(patience)
        (event,) = self.events
        if isinstance(event, Exception):
            raise event
        return event


def turn(*, streams: bool = True, has_another: bool = False, credentials: Credentials = HOUSE) -> tuple[Try, Outcome]:
    heard: list[int] = []
    attempt = Try(REQUEST, credentials, streams=streams, on_piece=lambda: heard.append(1))
    outcome = asyncio.run(attempt.run(has_another=has_another))
    assert len(heard) == len(attempt.pieces)
    return attempt, outcome


def test_every_piece_that_carries_something_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    pieces = [
        ThinkingDelta("Hm"),
        ThinkingDelta("", signature="c2ln"),
        ThinkingDelta("", redacted="b3Bh"),
        TextDelta("Gr\u00fc\u00dfe"),
        ToolCallDelta(0, id="c1", name="look"),
        ToolCallDelta(0, arguments='{"a": 1}'),
    ]
    empty = [TextDelta(""), ThinkingDelta(""), TextDelta("\x00")]
    Provider(monkeypatch, *empty, *pieces, RESULT)
    attempt, outcome = turn()
    assert attempt.pieces == pieces
    state = attempt.so_far()
    assert (state.text, state.written_bytes, state.thought_bytes) == ("Gr\u00fc\u00dfe", 15, 2)
    assert (outcome.status, outcome.content, outcome.finish_reason) == ("sent", "Gr\u00fc\u00dfe", "stop")
    assert (outcome.usage, outcome.provider_request_id) == (RESULT.usage, "req-9")
    assert not attempt.may_be_followed


def test_what_no_column_takes_is_left_out_of_the_pieces_too(monkeypatch: pytest.MonkeyPatch) -> None:
    Provider(monkeypatch, TextDelta("a\x00b\ud800"), ToolCallDelta(0, arguments='"\x00\ud83d"'), RESULT)
    attempt, outcome = turn()
    assert attempt.pieces == [TextDelta("ab?"), ToolCallDelta(0, arguments='"?"')]
    assert outcome.content == "ab?"


def test_a_plain_answer_is_one_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    calls, thinking = (ToolCall("1", "f", "{}"),), (Thinking("Hm"),)
    Provider(monkeypatch, CallResult("All of it", "tool_calls", None, calls, thinking=thinking, stop_sequence="END"))
    attempt, outcome = turn(streams=False)
    assert attempt.pieces == [TextDelta("All of it")]
    assert (outcome.content, outcome.tool_calls, outcome.thinking) == ("All of it", calls, thinking)
    assert (outcome.stop_sequence, outcome.usage, outcome.size, outcome.thought_size) == ("END", None, 11, 2)


@pytest.mark.parametrize("streams", [True, False])
@pytest.mark.parametrize(
    ("error", "may_be_followed"),
    [
        (errors.ProviderUnavailable(provider="openai", status_code=500), True),
        (errors.ProviderRateLimited(provider="openai", retry_after=0.5), True),
        (errors.ProviderTimeout(provider="openai"), True),
        (errors.ProviderAuthenticationError(provider="openai", status_code=401), False),
        (errors.ProviderPermissionError(provider="openai"), False),
        (errors.ProviderModelNotFound(provider="openai"), False),
        (errors.ProviderRequestRefused(provider="openai"), False),
        (errors.ContextLengthExceeded(provider="openai"), False),
        (errors.ProviderQuotaExhausted(provider="openai"), False),
        (errors.ProviderError(provider="openai"), False),
        (RuntimeError("a bug of ours"), False),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_failure_before_the_first_word(
    monkeypatch: pytest.MonkeyPatch, error: Exception, may_be_followed: bool, streams: bool
) -> None:
    Provider(monkeypatch, error)
    attempt, outcome = turn(streams=streams)
    assert attempt.may_be_followed is may_be_followed
    assert (outcome.status, outcome.content, outcome.size, outcome.usage) == ("error", "", 0, None)
    assert outcome.error_code == getattr(error, "code", "provider_error")
    assert "a bug of ours" not in outcome.error_message
    assert outcome.retry_after == (1 if isinstance(error, errors.ProviderRateLimited) else None)


@pytest.mark.parametrize(
    ("piece", "status"),
    [
        (TextDelta("H"), "interrupted"),
        (ThinkingDelta("Hm"), "interrupted"),
        (ToolCallDelta(0, arguments="{"), "interrupted"),
        (ToolCallDelta(0, id="c1", name="look"), "error"),
    ],
)
def test_nobody_follows_once_something_was_shown(
    monkeypatch: pytest.MonkeyPatch, piece: StreamEvent, status: str
) -> None:
    Provider(monkeypatch, piece, errors.ProviderUnavailable(provider="openai"))
    attempt, outcome = turn(has_another=True)
    assert not attempt.may_be_followed
    assert outcome.status == status


def test_usage_that_was_seen_is_kept_and_is_no_word(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = Usage(input=7, output=1)
    Provider(monkeypatch, UsageSeen(seen), errors.ProviderUnavailable(provider="openai"))
    attempt, outcome = turn()
    assert (outcome.seen_usage, outcome.status, attempt.may_be_followed) == (seen, "error", True)


def test_a_stream_without_an_end_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    Provider(monkeypatch, TextDelta("Half"))
    attempt, outcome = turn()
    assert (outcome.status, outcome.error_code, outcome.content) == ("interrupted", "provider_error", "Half")
    assert not attempt.may_be_followed


def test_it_waits_less_for_a_provider_where_another_model_could_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    provider = Provider(monkeypatch, RESULT)
    for streams in (True, False):
        turn(streams=streams)
        turn(streams=streams, has_another=True)
    assert provider.patience == [None, 2.0, None, 2.0]


def test_being_cancelled_closes_the_stream_and_says_how_far_it_came(monkeypatch: pytest.MonkeyPatch) -> None:
    provider = Provider(monkeypatch, UsageSeen(Usage(input=7)), TextDelta("Half an"), 60.0, RESULT)

    async def stop_in_the_middle() -> Outcome:
        has_come = asyncio.Event()
        attempt = Try(REQUEST, HOUSE, streams=True, on_piece=has_come.set)
        task = asyncio.create_task(attempt.run(has_another=False))
        await has_come.wait()
        task.cancel()
        await asyncio.wait({task})
        assert task.cancelled()
        return attempt.stopped()

    outcome = asyncio.run(stop_in_the_middle())
    assert provider.is_closed
    assert (outcome.status, outcome.content, outcome.seen_usage) == ("interrupted", "Half an", Usage(input=7))
    assert (outcome.is_stopped, outcome.error_code, outcome.http_status) == (True, "client_disconnected", 499)


@pytest.mark.parametrize(("seen", "status"), [(Usage(input=7), "interrupted"), (None, "error")])
def test_a_client_that_stops_a_call_owes_the_prompt_once_it_is_reported(seen: Usage | None, status: str) -> None:
    attempt = Try(REQUEST, HOUSE, streams=True, on_piece=lambda: None)
    attempt._seen_usage = seen
    assert (attempt.stopped().status, attempt.stopped().seen_usage) == (status, seen)
    assert attempt.taken_away().status == "error"


@pytest.mark.parametrize(
    ("credentials", "text", "status"),
    [
        (HOUSE, "openai refused the house's key.", 502),
        (Credentials("openai", "sk-1", source="user", hint="wxyz"), "openai refused your own key (…wxyz).", 422),
        (Credentials("openai", "sk-1", source="user"), "openai refused your own key.", 422),
        (
            Credentials("openai", "sk-1", source="workspace", hint="wxyz"),
            "openai refused the workspace's key (…wxyz).",
            422,
        ),
    ],
)
def test_a_refused_key_is_named_by_whose_it_is(
    monkeypatch: pytest.MonkeyPatch, credentials: Credentials, text: str, status: int
) -> None:
    Provider(monkeypatch, errors.ProviderAuthenticationError(provider="openai", status_code=401))
    _, outcome = turn(credentials=credentials)
    assert (outcome.error_message, outcome.http_status) == (text, status)
    assert whose_key(credentials) in text
    assert "sk-1" not in text


# --- What its circuit learns ------------------------------------------------------------------------------------------


@pytest.fixture
def probing(settings: Any) -> None:
    """OpenAI has failed, its pause is over, and a probe is let through."""
    settings.CIRCUIT_FAILURES = 1
    settings.CIRCUIT_PAUSE_SECONDS = 0
    CIRCUITS.record(HOUSE, errors.ProviderUnavailable())
    settings.CIRCUIT_PAUSE_SECONDS = 60
    assert [CIRCUITS.lets_through(HOUSE) for _ in range(2)] == [True, False]


@pytest.mark.usefixtures("probing")
def test_an_answer_closes_its_circuit(monkeypatch: pytest.MonkeyPatch) -> None:
    Provider(monkeypatch, TextDelta("Hi"), RESULT)
    turn()
    assert CIRCUITS.state("openai") == "closed"


@pytest.mark.usefixtures("probing")
def test_a_failure_opens_it_again(monkeypatch: pytest.MonkeyPatch) -> None:
    Provider(monkeypatch, errors.ProviderUnavailable(provider="openai"))
    turn()
    assert CIRCUITS.state("openai") == "open"


@pytest.mark.usefixtures("probing")
@pytest.mark.parametrize("error", [errors.ProviderAuthenticationError(provider="openai"), RuntimeError()])
def test_what_says_nothing_of_the_provider_leaves_the_probe_to_the_next(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    Provider(monkeypatch, error)
    turn()
    assert CIRCUITS.state("openai") == "half_open"
    assert [CIRCUITS.lets_through(HOUSE) for _ in range(2)] == [True, False]


@pytest.mark.usefixtures("probing")
@pytest.mark.parametrize("end", ["stopped", "taken_away"])
def test_a_probe_that_is_stopped_is_left_to_the_next(end: str) -> None:
    getattr(Try(REQUEST, HOUSE, streams=True, on_piece=lambda: None), end)()
    assert [CIRCUITS.lets_through(HOUSE) for _ in range(2)] == [True, False]
