"""What calls would have cost at other prices, against the arithmetic of each call on its own."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from analytics.repricing import reprice
from conversations.metering import cost_of_call
from llm.models import LLM
from llm.pricing import PriceTable, Rates, parse_tiers, parse_windows
from llm.types import Usage
from tests.analytics.usage import Call, write
from tests.catalogue import make_llm
from tests.people import Cast

pytestmark = [pytest.mark.django_db, pytest.mark.fleet]
END = datetime(2026, 10, 31, tzinfo=UTC)
SPAN = (END - timedelta(days=30), END)


def table(*, tiers: Any = (), windows: Any = (), fee: int = 0, **rates: str) -> PriceTable:
    base = {"input": "1.25", "cached_input": "0.13", "cache_write_5m": "1.6", "cache_write_1h": "2.5", "output": "10"}
    return PriceTable(
        Rates.per_mtok(**{**base, **rates}), parse_tiers(list(tiers)), parse_windows(list(windows)), request_fee=fee
    )


def rates(factor: int) -> dict[str, str]:
    return {
        "input": f"{factor}", "cached_input": f"0.{factor}", "cache_write_5m": f"{factor}.5",
        "cache_write_1h": f"{factor}.75", "output": f"{factor}0",
    }  # fmt: skip


PLAIN = table()
WITH_FEE = table(fee=1_000_000_000)
TIERED = table(
    tiers=[{"above_input_tokens": 1000, **rates(2)}, {"above_input_tokens": 100_000, **rates(3)}], fee=7_000_001
)
TIERED_LATER = table(tiers=[{"above_input_tokens": 2000, **rates(4)}])
BY_THE_HOUR = table(
    windows=[{"start": "22:00", "end": "04:00", **rates(5)}, {"start": "03:00", "end": "10:30", **rates(6)}]
)
FROM_MIDNIGHT = table(windows=[{"start": "00:00", "end": "12:00", **rates(7)}])
TABLES = (PLAIN, WITH_FEE, TIERED, TIERED_LATER, BY_THE_HOUR, FROM_MIDNIGHT)


def random_calls(cast: Cast, llm: LLM, count: int) -> list[Call]:
    chance = random.Random(count)
    edges = [0, 3600 * 3, 3600 * 4, 3600 * 10 + 1800, 3600 * 12, 3600 * 22]
    found = []
    for number in range(count):
        second = chance.choice([chance.randrange(86_400), chance.choice(edges), chance.choice(edges) - 1])
        micro = chance.choice([0, 0, 1, 999_999])
        prompt = chance.choice([0, 999, 1000, 1001, 2000, 2001, 100_000, 100_001, chance.randrange(200_000)])
        parts = sorted(chance.randrange(prompt + 1) for _ in range(3))
        tokens = (parts[0], parts[1] - parts[0], parts[2] - parts[1], prompt - parts[2], chance.randrange(5000), 3)
        found.append(
            Call(
                at=SPAN[0] + timedelta(days=chance.randrange(1, 29), seconds=second, microseconds=micro),
                person=chance.choice([cast.alice, cast.bob, cast.charlie]),
                llm=llm,
                tokens=tokens if number % 10 else (0, 0, 0, 0, 0, 0),
                status=chance.choice(["success", "error", "lost", "interrupted"]),
                cost=number,
            )
        )
    return found


def alone(call: Call, price: PriceTable) -> Decimal:
    return cost_of_call(price, Usage(*call.tokens), at=call.at, status=call.status)


def test_sums_are_what_each_call_costs(cast: Cast, llm: LLM) -> None:
    calls = random_calls(cast, llm, 300)
    write(calls)
    for tables in ([PLAIN], [WITH_FEE, TIERED], [BY_THE_HOUR, PLAIN], TABLES):
        with CaptureQueriesContext(connection) as queries:
            found = reprice(llm, tables=tables, span=SPAN)
        assert len(queries) == 1
        assert found.total.calls == len(calls)
        assert found.total.paid == sum(call.cost for call in calls) * Decimal("0.000001")
        assert found.total.at == tuple(sum(alone(call, price) for call in calls) for price in tables)
        for person in (cast.alice, cast.charlie):
            theirs = [call for call in calls if call.person.workspace == person.workspace]
            assert found.by_workspace[person.workspace.pk].calls == len(theirs)
            assert found.by_workspace[person.workspace.pk].at == tuple(
                sum(alone(call, price) for call in theirs) for price in tables
            )


def test_calls_of_other_models_and_other_times_are_not_in_it(cast: Cast, llm: LLM) -> None:
    other = make_llm("anthropic")
    write(
        [
            Call(at=SPAN[0], person=cast.alice, llm=llm),
            Call(at=SPAN[0] - timedelta(microseconds=1), person=cast.alice, llm=llm),
            Call(at=SPAN[1], person=cast.alice, llm=llm),
            Call(at=SPAN[0], person=cast.alice, llm=other),
        ]
    )
    assert reprice(llm, tables=TABLES, span=SPAN).total.calls == 1


def test_no_calls(llm: LLM) -> None:
    found = reprice(llm, tables=[PLAIN, TIERED], span=SPAN)
    assert (found.total.calls, found.total.at, found.by_workspace) == (0, (0, 0), {})
