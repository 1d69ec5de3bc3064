"""A client that goes away: its streamed call is stopped at the provider, and what was produced is charged."""

from __future__ import annotations

import asyncio
import json
import math
import socket
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any
from unittest.mock import patch
from urllib.parse import urlsplit

import pytest

from conversations import calls
from conversations.compat.listening import Listening
from conversations.models import Message, UsageLog
from llm.models import LLM
from tests.api.asking import balance, the_log
from tests.compat.clients import HELLO, SDKS, Clients, text_of
from tests.conftest import wait_for
from tests.people import Person
from tests.providers.standins import StandIn, fault
from workspaces.models import Workspace

MANY = [f" word-{number}" for number in range(200)]


def the_answer(person: Person) -> Message:
    """The only answer, when its call is over."""
    wait_for(lambda: calls.running() == 0, "the call to end")
    return Message.objects.get(workspace=person.workspace, role="assistant")


def hang_up(stream: Any, *, after: int) -> None:
    for _ in range(after):
        next(stream)
    stream.close()


def expected_cost(message: Message, *, prompt: int) -> Decimal:
    """The prompt, and a token for every four bytes that had come."""
    return (prompt + 2 * Decimal(math.ceil(len(message.content.encode()) / 4))) / 1_000_000


def test_in_mid_stream(clients: Clients, alice: Person, model: str, vendor: str, sdk: str, paid: StandIn) -> None:
    paid.answer(chunks=MANY, delay=0.05)
    hang_up(clients.ask(sdk, alice, model, stream=True), after=6)
    message = the_answer(alice)
    wait_for(lambda: paid.answering == 0, "the provider to see its connection closed")
    assert paid.requests[0].is_finished is False
    assert (message.status, message.error_code) == ("interrupted", "client_disconnected")
    assert message.content.startswith(" word-0 word-1")
    assert len(message.content) < len("".join(MANY)) / 2
    log = the_log(alice.workspace)
    # Anthropic had told the length of the prompt; the others had not, and it is estimated.
    prompt = 10 if vendor == "anthropic" else message.call["terms"]["prompt_tokens"]
    assert (log.status, log.is_estimate, log.input_tokens) == ("interrupted", True, prompt)
    assert log.charged_usd == expected_cost(message, prompt=prompt)
    assert balance(alice.workspace) == 1 - log.charged_usd


def test_nothing_of_it_is_kept_where_nothing_is_kept(
    clients: Clients, alice: Person, models: dict[str, LLM], sdk: str, paid: StandIn
) -> None:
    Workspace.objects.filter(pk=alice.workspace.pk).update(keeps_api_content=False)
    paid.answer(chunks=MANY, delay=0.05)
    hang_up(clients.ask(sdk, alice, str(models["anthropic"]), stream=True), after=6)
    message = the_answer(alice)
    assert (message.status, message.content) == ("interrupted", "")
    assert the_log(alice.workspace).output_tokens > 0


@pytest.mark.parametrize("kind", ["hang", "stall"])
def test_before_the_first_piece(
    clients: Clients, alice: Person, models: dict[str, LLM], sdk: str, paid: StandIn, kind: str
) -> None:
    """Nothing is charged, unless the provider had reported the prompt by then, which it will bill."""
    paid.always(fault(kind, after=2))
    client = {
        "openai": lambda: clients.openai(alice, timeout=3).chat.completions,
        "anthropic": lambda: clients.anthropic(alice, timeout=3).messages,
    }[sdk]()
    with pytest.raises(SDKS[sdk].APITimeoutError):
        client.create(model=str(models["anthropic"]), messages=HELLO, max_tokens=100, stream=True)
    message = the_answer(alice)
    wait_for(lambda: paid.answering == 0, "the provider to see its connection closed")
    assert message.error_code == "client_disconnected"
    assert message.status == {"hang": "error", "stall": "interrupted"}[kind]
    log = the_log(alice.workspace)
    if kind == "hang":
        assert (log.total_tokens, log.charged_usd) == (0, 0)
        assert balance(alice.workspace) == 1
    else:
        assert (log.input_tokens, log.output_tokens, log.is_estimate) == (10, 1, True)
        assert balance(alice.workspace) == 1 - Decimal("0.000012")


def test_before_anything_was_asked_of_the_stream() -> None:
    """A response that was never read, because its client went away while it was being made."""

    class Stoppable:
        stops = 0

        def stop(self) -> None:
            self.stops += 1

    async def events() -> AsyncIterator[bytes]:
        yield b"x"

    async def run() -> None:
        unread, read, closed = Stoppable(), Stoppable(), Stoppable()
        with patch("conversations.compat.listening.UNREAD_SECONDS", 0.05):
            Listening(events(), unread)  # type: ignore[arg-type]
            listening = Listening(events(), read)  # type: ignore[arg-type]
            assert [event async for event in listening] == [b"x"]
            await asyncio.to_thread(Listening(events(), closed).close)  # type: ignore[arg-type]
            await asyncio.sleep(0.1)
        assert (unread.stops, read.stops, closed.stops) == (1, 0, 1)

    asyncio.run(run())


def test_a_plain_call_is_finished(
    clients: Clients, alice: Person, models: dict[str, LLM], sdk: str, paid: StandIn
) -> None:
    """Its usage is exact, and its answer in the conversation."""
    paid.answer(wait=3.0)
    client = {
        "openai": lambda: clients.openai(alice, timeout=1).chat.completions,
        "anthropic": lambda: clients.anthropic(alice, timeout=1).messages,
    }[sdk]()
    with pytest.raises(SDKS[sdk].APITimeoutError):
        client.create(model=str(models["openai"]), messages=HELLO, max_tokens=100)
    message = the_answer(alice)
    assert (message.status, message.content) == ("sent", "Hello from the stand-in.")
    assert (the_log(alice.workspace).is_estimate, balance(alice.workspace)) == (False, Decimal("0.99998"))


def test_the_same_key_after_hanging_up(
    clients: Clients, alice: Person, models: dict[str, LLM], sdk: str, paid: StandIn
) -> None:
    """What was broken off stays so; another key asks anew."""
    paid.answer(chunks=MANY, delay=0.05)
    hang_up(clients.ask(sdk, alice, str(models["openai"]), stream=True, key="k"), after=4)
    the_answer(alice)
    kind = {"openai": "APIStatusError", "anthropic": "ClientClosedRequestError"}[sdk]
    assert clients.refused(kind, sdk, alice, str(models["openai"]), key="k", retries=2).status_code == 499
    assert len(paid.requests) == 1
    paid.answer("Anew.")
    assert text_of(clients.ask(sdk, alice, str(models["openai"]), key="l")) == "Anew."


def test_a_stream_that_was_read_to_its_end_is_whole(
    clients: Clients, alice: Person, models: dict[str, LLM], sdk: str, paid: StandIn
) -> None:
    """Closing it afterwards changes nothing."""
    stream = clients.ask(sdk, alice, str(models["openai"]), stream=True)
    list(stream)
    stream.close()
    assert the_answer(alice).status == "sent"
    assert balance(alice.workspace) == Decimal("0.99998")


@pytest.mark.parametrize("path", ["chat/completions", "messages"])
def test_a_slow_reader(clients: Clients, alice: Person, models: dict[str, LLM], paid: StandIn, path: str) -> None:
    """It holds nobody up: the call ends and is settled while most of it is unread, and all of it arrives."""
    pieces = [f"{number:04}" * 250 for number in range(200)]
    paid.answer(chunks=pieces)
    body = {"model": str(models["openai"]), "messages": HELLO, "max_tokens": 8000, "stream": True}
    content = json.dumps(body).encode()
    address = urlsplit(clients.url)
    with socket.socket() as line:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        line.settimeout(30)
        line.connect((address.hostname, address.port))
        head = [
            f"POST /v1/{path} HTTP/1.1",
            "Host: localhost",
            "Connection: close",
            "Content-Type: application/json",
            f"Content-Length: {len(content)}",
            f"Authorization: Bearer {alice.token}",
        ]
        line.sendall("\r\n".join([*head, "", ""]).encode() + content)
        received = line.recv(100)
        wait_for(
            lambda: UsageLog.objects.filter(workspace=alice.workspace).exists(), "the call to be settled meanwhile"
        )
        while piece := line.recv(1 << 20):
            received += piece
    assert received.count(b"0199") >= 250
    assert received.rstrip(b"\r\n0").endswith((b"data: [DONE]", b'data: {"type":"message_stop"}'))
    assert the_answer(alice).content == "".join(pieces)
