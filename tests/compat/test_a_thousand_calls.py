"""What the clients were told, added up, is what the ledger has taken: to the last digit, over a mixed run."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import anthropic
import openai
import pytest
from django.db.models import Sum

from billing.models import BillingEvent
from conversations.models import UsageLog
from llm.models import LLM
from tests.api.asking import balance, set_wallet
from tests.compat.clients import OSLO, WEATHER, Clients, set_own_key
from tests.people import Cast, fund
from tests.providers.standins import Behaviour, StandIn, answer, fault, refusal

CALLS = 1000
AT_ONCE = 12
PARAMETERS = {"parameters": WEATHER}
OPENAI_TOOL: Any = {"type": "function", "function": {"name": "weather", **PARAMETERS}}
ANTHROPIC_TOOL: Any = {"name": "weather", "input_schema": WEATHER}


def behaviours(chance: random.Random) -> Iterator[Behaviour]:
    """Answers of every size, with cached tokens, thinking and tool calls, and one in eight that goes wrong."""
    while True:
        usage = {
            "input": chance.randrange(1, 5000),
            "cached_input": chance.choice([0, 0, chance.randrange(1, 3000)]),
            "output": chance.randrange(1, 700),
            "reasoning": chance.choice([0, 0, chance.randrange(1, 500)]),
        }
        match chance.randrange(16):
            case 0:
                yield refusal(chance.choice([400, 429, 500, 529]))
            case 1:
                yield fault("cut", after=chance.randrange(5), usage=usage)
            case 2 | 3 | 4:
                yield answer("I look.", tool_calls=[OSLO], finish_reason="tool_calls", usage=usage)
            case 5:
                yield answer("Of unknown length.", usage_times=0)
            case _:
                yield answer("A plain answer.", usage=usage)


async def by_openai(client: openai.AsyncOpenAI, *, streams: bool, **asked: Any) -> Decimal:
    """What a call cost, as OpenAI's SDK was told; an error before the answer costs nothing."""
    asked["tools"] = [OPENAI_TOOL] if asked.pop("tools") else openai.omit
    try:
        if not streams:
            return Decimal((await client.chat.completions.create(**asked)).usage.cost)
        stream = await client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True})
        return sum([Decimal(chunk.usage.cost) async for chunk in stream if chunk.usage], start=Decimal(0))
    except openai.APIError as error:
        return Decimal(error.body["metadata"].get("cost", 0))


async def by_anthropic(client: anthropic.AsyncAnthropic, *, streams: bool, **asked: Any) -> Decimal:
    asked["tools"] = [ANTHROPIC_TOOL] if asked.pop("tools") else anthropic.omit
    try:
        if not streams:
            return Decimal((await client.messages.create(**asked)).usage.cost)
        stream = await client.messages.create(**asked, stream=True)
        ends = [event async for event in stream if event.type == "message_delta"]
        return sum([Decimal(event.usage.cost) for event in ends], start=Decimal(0))
    except anthropic.APIStatusError as error:
        return Decimal(error.body["error"]["details"].get("cost", 0))


@pytest.mark.timeout(600)  # beside other tests; alone it takes half a minute
def test_a_thousand_calls(clients: Clients, cast: Cast, models: dict[str, LLM], paid: StandIn) -> None:
    """By both SDKs, plain and streamed, on six vendors, some on own keys with a platform fee."""
    people, chance = (cast.alice, cast.bob), random.Random(1)
    fund(cast.alice.workspace, "20")
    before = balance(cast.alice.workspace)
    set_wallet(cast.alice.workspace, markup_bps=250, own_key_fee_bps=333)
    set_own_key(cast.bob, "grok")
    set_own_key(cast.bob, "anthropic")
    script = behaviours(chance)
    paid.script(*(next(script) for _ in range(CALLS)))
    vendors = [name for name in models if name != "demo"]
    jobs = [
        {
            "person": chance.randrange(2),
            "sdk": chance.randrange(2),
            "model": str(models[chance.choice(vendors)]),
            "streams": chance.random() < 0.5,
            "tools": chance.random() < 0.3,
            "messages": [{"role": "user", "content": f"Question {number}"}],
            "max_tokens": 1500,
        }
        for number in range(CALLS)
    ]

    async def run() -> list[Decimal]:
        each = [(clients.openai_async(person), clients.anthropic_async(person)) for person in people]
        queue, told = iter(jobs), []

        async def work() -> None:
            for job in queue:
                asked = dict(job)
                client, sdk = each[asked.pop("person")], asked.pop("sdk")
                told.append(await (by_anthropic(client[1], **asked) if sdk else by_openai(client[0], **asked)))

        try:
            await asyncio.gather(*(work() for _ in range(AT_ONCE)))
        finally:
            for pair in each:
                for client in pair:
                    await client.close()
        return told

    told = asyncio.run(run())
    assert len(told) == len(paid.requests) == CALLS
    logs = UsageLog.objects.filter(workspace=cast.alice.workspace)
    events = BillingEvent.objects.filter(
        workspace=cast.alice.workspace, event_type__in=[BillingEvent.Type.USAGE, BillingEvent.Type.FEE]
    )
    assert logs.count() == CALLS
    assert {log.status for log in logs} == {"success", "error", "interrupted"}
    assert logs.filter(is_estimate=True).exists()
    assert events.filter(event_type=BillingEvent.Type.FEE).count() > 50
    taken = events.aggregate(sum=Sum("amount_usd"))["sum"]
    assert sum(told) == -taken == logs.aggregate(sum=Sum("charged_usd"))["sum"]
    assert balance(cast.alice.workspace) == before - sum(told)
