"""The server dies while it goes from one model to the next: one attempt is open, never two, and the books are in order."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx2
import psycopg
import pytest
from django.db import connection

from billing.models import Hold, Wallet
from conversations.audit import audit
from conversations.models import Conversation, Message, UsageLog
from conversations.sweeper import sweep
from tests.books import assert_clean
from tests.catalogue import make_llm
from tests.conftest import wait_for
from tests.conversations.calling import fall_back_to, states, times
from tests.faults.conftest import Chat, ServerProcess, database_environment
from tests.people import fund
from tests.providers.standins import StandIn, answer, refusal
from workspaces.models import Workspace

pytestmark = pytest.mark.usefixtures("audited")
WORDS = [f"word{number:03d} " for number in range(200)]


@pytest.fixture
def falling(chat: Chat) -> Chat:
    """Alice has $1, and what the first model can't answer the second does, at twice the price."""
    fund(chat.person.workspace, "1")
    make_llm(name="second", price=times(2))
    fall_back_to(chat.person, "openai/second")
    return chat


def answer_of(chat: Chat) -> Message:
    return Message.objects.get(workspace=chat.person.workspace, conversation=chat.conversation, role="assistant")


def attempts(chat: Chat) -> list[tuple[int, str, str, Decimal]]:
    logs = UsageLog.objects.filter(workspace=chat.person.workspace).select_related("llm").order_by("id")
    return [(log.attempt, log.llm.name, log.status, log.charged_usd) for log in logs]


def ask_in_a_thread(chat: Chat, server: ServerProcess) -> threading.Thread:
    """The server is going to die under it."""

    def ask() -> None:
        with suppress(httpx2.HTTPError):
            chat.post(server)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    return thread


@contextmanager
def nobody_changes(message: Message) -> Iterator[Callable[[], bool]]:
    """Holds up whoever wants to change the message; yields whether somebody is seen waiting."""
    if connection.vendor == "sqlite":
        other = sqlite3.connect(str(connection.settings_dict["NAME"]), isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        try:
            yield lambda: True  # that can't be seen there
        finally:
            other.execute("ROLLBACK")
            other.close()
        return
    url = database_environment()["DATABASE_URL"]
    with psycopg.connect(url) as holder, psycopg.connect(url, autocommit=True) as watcher:
        holder.execute("SELECT 1 FROM messages WHERE id = %s FOR UPDATE", [message.pk])

        def is_waiting() -> bool:
            row = watcher.execute("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'").fetchone()
            return row is not None and row[0] > 0

        yield is_waiting
        holder.rollback()


def test_killed_between_the_first_attempt_and_the_second(
    start: Callable[..., ServerProcess], falling: Chat, provider: StandIn
) -> None:
    """The first has failed, and the change to the second is not committed."""
    provider.script(refusal(500, wait=1))
    server = start()
    client = ask_in_a_thread(falling, server)
    wait_for(lambda: len(provider.requests) == 1, "the first model to be called")
    with nobody_changes(answer_of(falling)) as is_waiting:
        wait_for(lambda: provider.answering == 0, "the first model to fail")
        wait_for(is_waiting, "the change of models")
        server.kill()
    client.join(30)

    message = answer_of(falling)
    assert (message.status, message.attempt, message.model_used) == ("pending", 1, "openai/openai-test")
    assert attempts(falling) == []
    assert [state for state, *_ in states(falling.person)] == ["held"]
    assert_clean()
    wait_for(lambda: (sweep(), answer_of(falling).is_final)[1], "the sweep")
    assert attempts(falling) == [(1, "openai-test", "lost", Decimal(0))]
    assert len(provider.requests) == 1


def test_killed_while_the_second_model_is_asked(
    start: Callable[..., ServerProcess], falling: Chat, provider: StandIn
) -> None:
    provider.script(refusal(500), answer("Late", wait=60))
    server = start()
    client = ask_in_a_thread(falling, server)
    wait_for(lambda: len(provider.requests) == 2, "the second model to be called")
    server.kill()
    client.join(30)

    message = answer_of(falling)
    assert (message.status, message.attempt, message.model_used) == ("pending", 2, "openai/second")
    assert attempts(falling) == [(1, "openai-test", "error", Decimal(0))]
    assert [state for state, *_ in states(falling.person)] == ["released", "held"]
    assert message.hold == Hold.objects.get(workspace=falling.person.workspace, state="held")
    assert_clean()
    sweep()
    assert attempts(falling)[1:] == [(2, "second", "lost", Decimal(0))]
    wallet = Wallet.objects.get(workspace=falling.person.workspace)
    assert (wallet.balance, wallet.held) == (1, 0)


def test_killed_while_the_second_model_writes(
    start: Callable[..., ServerProcess], falling: Chat, provider: StandIn
) -> None:
    provider.script(refusal(500), answer(chunks=WORDS, delay=0.05, usage={"input": 10, "output": 400}))
    server = start()
    falling.read_stream(server, until="word020")
    wait_for(lambda: answer_of(falling).status == "streaming", "a checkpoint")
    server.kill()
    assert_clean()

    start(SWEEP_SECONDS=5)
    wait_for(lambda: answer_of(falling).is_final, "the sweep")
    message = answer_of(falling)
    assert (message.status, message.attempt) == ("interrupted", 2)
    assert "".join(WORDS).startswith(message.content)
    log = UsageLog.objects.get(workspace=message.workspace, attempt=2)
    assert log.output_tokens == -(-len(message.content) // 4) > 0
    assert log.charged_usd == Decimal(2 * log.input_tokens + 4 * log.output_tokens).scaleb(-6)
    assert [row[2] for row in attempts(falling)] == ["error", "interrupted"]
    assert Wallet.objects.get(workspace=message.workspace).balance == 1 - log.charged_usd


def test_killed_at_random_while_every_other_call_of_the_provider_fails(
    start: Callable[..., ServerProcess], falling: Chat, provider: StandIn
) -> None:
    workspace = falling.person.workspace
    good = answer(chunks=WORDS[:10], delay=0.005, usage={"input": 10, "output": 20})
    provider.script(*[refusal(500), good] * 500)

    def client(server: ServerProcess) -> None:
        for number in range(100):
            try:
                falling.post(server, stream=bool(number % 2))
            except httpx2.HTTPError:
                return

    for round_number in range(3):
        server = start(HOLD_LEASE_SECONDS=2)
        threads = [threading.Thread(target=client, args=(server,)) for _ in range(8)]
        for thread in threads:
            thread.start()
        wait_for(lambda: len(provider.requests) >= 30 * (round_number + 1), "some load")  # noqa: B023
        server.kill()
        for thread in threads:
            thread.join()
        assert [finding.name for finding in audit() if not finding.holds] == []

    wait_for(
        lambda: (sweep(), Hold.objects.filter(workspace=workspace, state="held").exists())[1] is False, "the sweep"
    )
    logs = UsageLog.objects.filter(workspace=workspace)
    assert {log.charged_usd for log in logs.filter(status="success", llm__name="openai-test")} <= {Decimal("0.00005")}
    assert {log.charged_usd for log in logs.filter(status="success", llm__name="second")} == {Decimal("0.0001")}
    assert logs.filter(attempt=2, status="success").exists()
    wallet = Wallet.objects.get(workspace=workspace)
    assert (wallet.balance, wallet.held) == (1 - sum(log.charged_usd for log in logs), 0)


@pytest.mark.fleet
def test_killed_with_a_secret_in_its_mouth(
    start: Callable[..., ServerProcess], falling: Chat, provider: StandIn, tmp_path: Path
) -> None:
    """Nothing of what was said is left where the workspace keeps none of it: not in the database, the spool or the log."""
    word = "zanzibar"
    Workspace.objects.filter(pk=falling.person.workspace.pk).update(keeps_api_content=False)
    Conversation.objects.filter(workspace=falling.person.workspace).update(kind="api")
    falling.body["content"] = f"Tell me about {word}"
    pieces = [f"{word} {number} " for number in range(200)]
    provider.script(refusal(500), answer(chunks=pieces, delay=0.05))
    server = start()
    falling.read_stream(server, until=f"{word} 20 ")
    wait_for(lambda: answer_of(falling).status == "streaming", "a checkpoint")
    server.kill()
    assert provider.requests[1].body["messages"] == [{"role": "user", "content": f"Tell me about {word}"}]
    assert_nowhere(word, tmp_path)
    written = answer_of(falling).call["checkpoint"]["written_bytes"]
    sweep()
    assert_nowhere(word, tmp_path)
    message = answer_of(falling)
    assert (message.status, message.content) == ("interrupted", "")
    assert UsageLog.objects.get(workspace=message.workspace, attempt=2).output_tokens == -(-written // 4) > 0


def assert_nowhere(word: str, folder: Path) -> None:
    found: list[Any] = []
    with connection.cursor() as cursor:
        for table in ("messages", "conversations", "usage_logs", "holds", "billing_events", "idempotency_keys"):
            cursor.execute(f'SELECT * FROM "{table}"')
            found += [(table, row) for row in cursor.fetchall() if word in str(row)]
    found += [path for path in folder.rglob("*") if path.is_file() and word.encode() in path.read_bytes()]
    assert found == []
