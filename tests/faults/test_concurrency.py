"""Many clients at once, on real servers."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import httpx2
import pytest
from django.db import connection

from billing.models import Hold, Wallet
from conversations.models import Message, UsageLog
from tests.faults.conftest import Chat, ServerProcess
from tests.people import fund
from tests.providers.standins import StandIn

pytestmark = pytest.mark.usefixtures("audited")


def at_once(chat: Chat, servers: list[ServerProcess], count: int, *, key: str = "") -> list[httpx2.Response]:
    """``count`` clients post the same message at the same moment."""
    headers = {**chat.person.headers, **({"Idempotency-Key": key} if key else {})}

    async def all_of_them() -> list[httpx2.Response]:
        limits = httpx2.Limits(max_connections=None)
        async with httpx2.AsyncClient(headers=headers, timeout=90, limits=limits) as client:
            addresses = [chat.address(servers[number % len(servers)]) for number in range(count)]
            return await asyncio.gather(*(client.post(address, json=chat.body) for address in addresses))

    return asyncio.run(all_of_them())


def servers_of(start: Callable[..., ServerProcess], **settings: Any) -> list[ServerProcess]:
    """Two processes on PostgreSQL; SQLite is served by one."""
    return [start(**settings) for _ in range(2 if connection.vendor == "postgresql" else 1)]


def cost_of_a_hold(chat: Chat, server: ServerProcess, provider: StandIn) -> Decimal:
    """What a call of this conversation reserves, seen in a refusal, which changes nothing."""
    refused = chat.post(server)
    assert refused.status_code == 402
    assert refused.json()["error"]["code"] == "insufficient_balance"
    assert "Retry-After" not in refused.headers
    assert provider.requests == []
    return Decimal(refused.json()["error"]["details"]["needed"])


def test_fifty_clients_on_a_wallet_that_affords_ten_calls(
    start: Callable[..., ServerProcess], chat: Chat, provider: StandIn
) -> None:
    servers = servers_of(start)
    hold = cost_of_a_hold(chat, servers[0], provider)
    fund(chat.person.workspace, str(hold * 10))
    provider.answer(text="Yes.", wait=4, usage={"input": 10, "output": 2})

    answers = at_once(chat, servers, 50)

    assert Counter(answer.status_code for answer in answers) == {201: 10, 402: 40}
    refusals = [answer for answer in answers if answer.status_code == 402]
    assert {answer.json()["error"]["code"] for answer in refusals} == {"insufficient_balance"}
    assert {answer.headers["Retry-After"] for answer in refusals} == {"2"}  # only calls under way are in the way
    assert len(provider.requests) == 10
    wallet = Wallet.objects.get(workspace=chat.person.workspace)
    assert (wallet.balance, wallet.held) == (hold * 10 - 10 * Decimal("0.000014"), 0)
    assert UsageLog.objects.filter(workspace=chat.person.workspace).count() == 10
    assert Message.objects.filter(workspace=chat.person.workspace).count() == 20


def test_four_connections_serve_two_hundred_calls_at_once(
    start: Callable[..., ServerProcess], chat: Chat, provider: StandIn
) -> None:
    """Each call takes two seconds at the provider, and none of them holds a connection or a thread meanwhile."""
    fund(chat.person.workspace, "10")
    provider.answer(text="Yes.", wait=2, usage={"input": 10, "output": 2})
    server = start(DATABASE_POOL_SIZE=4, DATABASE_THREADS=4)

    answers = at_once(chat, [server], 200)

    assert Counter(answer.status_code for answer in answers) == {201: 200}
    assert provider.most_at_once > 100
    wallet = Wallet.objects.get(workspace=chat.person.workspace)
    assert (wallet.balance, wallet.held) == (10 - 200 * Decimal("0.000014"), 0)
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
                " AND application_name <> ''"
            )
            assert cursor.fetchone()[0] <= 4


def test_one_idempotency_key_forty_times_at_once(
    start: Callable[..., ServerProcess], chat: Chat, provider: StandIn
) -> None:
    fund(chat.person.workspace, "1")
    provider.answer(text="Once.", wait=1, usage={"input": 10, "output": 2})
    servers = servers_of(start)

    answers = at_once(chat, servers, 40, key="only-once")

    counts = Counter(answer.status_code for answer in answers)
    assert set(counts) == {201, 409}
    assert len(provider.requests) == 1
    assert {answer.json()["message"]["id"] for answer in answers if answer.status_code == 201} == {
        str(Message.objects.get(workspace=chat.person.workspace, role="assistant").pk)
    }
    assert {answer.json()["error"]["code"] for answer in answers if answer.status_code == 409} == {
        "request_in_progress"
    }
    again = chat.post(servers[0], key="only-once")
    assert (again.status_code, again.headers["Idempotent-Replayed"]) == (201, "true")
    assert Hold.objects.filter(workspace=chat.person.workspace).count() == 1
    assert Wallet.objects.get(workspace=chat.person.workspace).balance == Decimal("0.999986")
