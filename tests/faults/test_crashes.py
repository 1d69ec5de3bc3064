"""What is left when a server process dies, and who puts it in order."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest

from billing.models import BillingEvent, Hold, HoldIncident, Wallet
from conversations.audit import audit
from conversations.models import Message, UsageLog
from conversations.sweeper import sweep
from llm.pricing import estimate_tokens
from tests.conftest import wait_for
from tests.faults.conftest import Chat, ServerProcess
from tests.people import fund
from tests.providers.standins import StandIn

pytestmark = pytest.mark.usefixtures("audited")

WORDS = [f"word{number:03d} " for number in range(200)]
STORY = "".join(WORDS)


def answer_of(chat: Chat) -> Message:
    return Message.objects.get(workspace=chat.person.workspace, conversation=chat.conversation, role="assistant")


def wallet_of(chat: Chat) -> Wallet:
    return Wallet.objects.get(workspace=chat.person.workspace)


def test_kill_in_the_middle_of_a_stream(start: Callable[..., ServerProcess], chat: Chat, provider: StandIn) -> None:
    """The partial answer is there, charged as an estimate; no hold is left; the books are in order."""
    fund(chat.person.workspace, "1")
    provider.answer(text=STORY, chunks=WORDS, delay=0.05, usage={"input": 10, "output": 400})
    server = start()

    chat.read_stream(server, until="word020")
    wait_for(lambda: answer_of(chat).status == "streaming", "a checkpoint")
    server.kill()

    assert wallet_of(chat).held > 0
    assert Hold.objects.get(workspace=chat.person.workspace).state == "held"

    start(SWEEP_SECONDS=5)  # the next process sweeps when it starts, and sees that the other one is dead
    wait_for(lambda: answer_of(chat).is_final, "the sweep")

    answer = answer_of(chat)
    log = UsageLog.objects.get(workspace=answer.workspace, message=answer)
    assert answer.status == "interrupted"
    assert 0 < len(answer.content) < len(STORY)
    assert STORY.startswith(answer.content)
    assert (log.status, log.is_estimate) == ("interrupted", True)
    assert log.output_tokens == estimate_tokens(answer.content)
    assert log.cost_usd == Decimal(log.input_tokens * 1 + log.output_tokens * 2).scaleb(-6)
    assert log.charged_usd == log.cost_usd
    wallet = wallet_of(chat)
    assert (wallet.balance, wallet.held) == (1 - log.charged_usd, 0)
    assert Hold.objects.get(workspace=chat.person.workspace).state == "expired"


def test_kill_before_anything_came(start: Callable[..., ServerProcess], chat: Chat, provider: StandIn) -> None:
    fund(chat.person.workspace, "1")
    provider.answer(text="late", wait=30)
    server = start()
    chat.read_stream(server, until="message.started")
    wait_for(lambda: provider.requests != [], "the call to reach the provider")
    server.kill()

    assert answer_of(chat).status == "pending"
    sweep()

    log = UsageLog.objects.get(workspace=chat.person.workspace)
    assert (answer_of(chat).status, log.status, log.cost_usd, log.total_tokens) == ("error", "lost", 0, 0)
    wallet = wallet_of(chat)
    assert (wallet.balance, wallet.held) == (1, 0)


def test_a_client_that_hangs_up_pays_for_the_whole_answer_and_finds_it(
    start: Callable[..., ServerProcess], chat: Chat, provider: StandIn
) -> None:
    fund(chat.person.workspace, "1")
    provider.answer(text=STORY, chunks=WORDS, delay=0.01, usage={"input": 10, "output": 400})
    server = start()

    heard = chat.read_stream(server, until="word010")
    assert "message.completed" not in heard
    wait_for(lambda: answer_of(chat).is_final, "the answer to be finished")

    answer = answer_of(chat)
    log = UsageLog.objects.get(workspace=answer.workspace, message=answer)
    assert (answer.status, answer.content) == ("sent", STORY)
    assert (log.status, log.is_estimate, log.charged_usd) == ("success", False, Decimal("0.00081"))
    assert wallet_of(chat).balance == Decimal("0.99919")


def test_a_client_that_hangs_up_before_a_plain_answer(
    start: Callable[..., ServerProcess], chat: Chat, provider: StandIn
) -> None:
    fund(chat.person.workspace, "1")
    provider.answer(text="Here it is.", wait=1, usage={"input": 10, "output": 3})
    server = start()
    with chat.half_open(server):
        wait_for(lambda: provider.requests != [], "the call to reach the provider")
    wait_for(lambda: answer_of(chat).is_final, "the answer to be finished")
    assert (answer_of(chat).content, wallet_of(chat).balance) == ("Here it is.", Decimal("0.999984"))


def test_clients_that_hang_up_at_once_leave_no_error_in_the_log(
    start: Callable[..., ServerProcess], chat: Chat, provider: StandIn
) -> None:
    """Wherever the server is with them: each is answered for in full, or nothing happened."""
    fund(chat.person.workspace, "1")
    provider.answer(text="Here it is.", usage={"input": 10, "output": 3})
    server = start()
    for number in range(40):
        with chat.half_open(server):
            time.sleep(number / 4000)
    assert chat.post(server).status_code == 201
    server.stop()

    assert "Traceback" not in server.log.read_text()
    answers = Message.objects.filter(workspace=chat.person.workspace, role="assistant")
    assert set(answers.values_list("status", flat=True)) == {"sent"}
    assert wallet_of(chat).balance == 1 - answers.count() * Decimal("0.000016")
    assert len(provider.requests) == answers.count()


def test_a_deploy_waits_for_the_answers_under_way(
    start: Callable[..., ServerProcess], chat: Chat, provider: StandIn
) -> None:
    """SIGTERM, with a client gone and one listening: both answers are finished and charged in full."""
    fund(chat.person.workspace, "1")
    provider.answer(text=STORY, chunks=WORDS, delay=0.02, usage={"input": 10, "output": 400})
    server = start()
    chat.read_stream(server, until="word010")
    server.send(signal.SIGTERM)
    server.process.wait(40)

    assert answer_of(chat).content == STORY
    assert UsageLog.objects.get(workspace=chat.person.workspace).charged_usd == Decimal("0.00081")


def test_a_stopped_process_that_wakes_up_late_charges_nothing_more(
    start: Callable[..., ServerProcess], chat: Chat, provider: StandIn
) -> None:
    fund(chat.person.workspace, "1")
    provider.answer(text=STORY, chunks=WORDS, delay=0.02, usage={"input": 10, "output": 400})
    server = start(HOLD_LEASE_SECONDS=3)
    chat.read_stream(server, until="word010")
    wait_for(lambda: answer_of(chat).status == "streaming", "a checkpoint")
    server.send(signal.SIGSTOP)
    wait_for(lambda: (sweep(), answer_of(chat).is_final)[1], "the lease to run out")
    swept = answer_of(chat).content
    balance = wallet_of(chat).balance

    server.send(signal.SIGCONT)
    wait_for(lambda: HoldIncident.objects.filter(workspace=chat.person.workspace).exists(), "the late answer")

    assert answer_of(chat).content == swept
    assert (wallet_of(chat).balance, wallet_of(chat).held) == (balance, 0)
    assert HoldIncident.objects.get(workspace=chat.person.workspace).kind == "late_result"
    assert BillingEvent.objects.filter(workspace=chat.person.workspace, event_type="usage").count() == 1


def test_killed_at_random_under_load(
    start: Callable[..., ServerProcess], chat: Chat, provider: StandIn, tmp_path: Path
) -> None:
    """Wherever the axe falls, the books are in order before and after the sweep."""
    import threading

    import httpx2

    fund(chat.person.workspace, "10")
    provider.answer(text=STORY, chunks=WORDS[:40], delay=0.01, usage={"input": 10, "output": 80})

    def client(server: ServerProcess) -> None:
        for number in range(100):
            try:
                chat.post(server, key=f"{threading.get_ident()}-{server.port}-{number}", stream=bool(number % 2))
            except httpx2.HTTPError:
                return

    for round_number in range(3):
        server = start(HOLD_LEASE_SECONDS=2)
        threads = [threading.Thread(target=client, args=(server,)) for _ in range(8)]
        for thread in threads:
            thread.start()
        wait_for(lambda: len(provider.requests) >= 20 * (round_number + 1), "some load")  # noqa: B023
        server.kill()
        for thread in threads:
            thread.join()
        assert [finding.name for finding in audit() if not finding.holds] == []

    workspace = chat.person.workspace
    wait_for(
        lambda: (sweep(), Hold.objects.filter(workspace=workspace, state="held").exists())[1] is False, "the sweep"
    )
    assert wallet_of(chat).held == 0
    finished = UsageLog.objects.filter(workspace=workspace, status="success").count()
    assert finished > 0
    assert {log.charged_usd for log in UsageLog.objects.filter(workspace=workspace, status="success")} == {
        Decimal("0.00017")
    }
