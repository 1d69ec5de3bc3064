"""Every seeded price against genai-prices' own arithmetic, digit for digit."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import genai_prices.types as genai
import pytest
from genai_prices.data import providers

from llm.catalogue import read
from llm.models import LLM, LLMPrice
from llm.types import Usage

FIXTURE = Path(__file__).resolve().parents[2] / "fixtures" / "llms.json"
USAGES = 1000
ENTRIES = read(FIXTURE)
CASES = [pytest.param(entry.llm, price, id=str(price)) for entry in ENTRIES for price in entry.prices]


def genai_model(llm: LLM) -> tuple[genai.Provider, genai.ModelInfo]:
    provider_id, _, model_id = llm.metadata["genai_prices"].partition("/")
    provider = next(provider for provider in providers if provider.id == provider_id)
    return provider, next(model for model in provider.models if model.id == model_id)


def genai_usage(usage: Usage) -> genai.Usage:
    """The same tokens in genai-prices' convention, where the totals include the parts."""
    return genai.Usage(
        input_tokens=usage.total_input,
        cache_read_tokens=usage.cached_input,
        cache_write_tokens=usage.cache_write_5m + usage.cache_write_1h,
        cache_write_5m_tokens=usage.cache_write_5m,
        cache_write_1h_tokens=usage.cache_write_1h,
        output_tokens=usage.total_output,
        output_reasoning_tokens=usage.reasoning,
    )


def calls(price: LLMPrice, chance: random.Random) -> Iterator[tuple[Usage, datetime]]:
    """Random calls within the price's time: short and long prompts, every bucket, some of them empty."""
    begins = price.effective_from
    ends = price.effective_to or begins + timedelta(days=700)

    def count() -> int:
        return chance.choice((0, chance.randrange(2000), int(10 ** chance.uniform(0, 6))))

    for _ in range(USAGES):
        at = begins + (ends - begins) * chance.random()
        yield Usage(count(), count(), count(), count(), count(), count()), at
    # The edges: one token around each threshold, the first and last moment of the price and of each window.
    for tier in price.table.tiers:
        for total in range(tier.above_input_tokens - 1, tier.above_input_tokens + 2):
            cached = chance.randrange(total)
            yield Usage(input=total - cached, cached_input=cached, output=count()), begins
    tick = timedelta(microseconds=1)
    for moment in (begins, ends - tick):
        yield Usage(input=1, cached_input=2, output=3), moment
    for window in price.table.windows:
        for edge in (window.start, window.end):
            at = datetime.combine(begins.date() + timedelta(days=1), edge, UTC)
            for moment in (at - tick, at, at + tick):
                yield Usage(input=1, cached_input=2, output=3), moment


@pytest.mark.parametrize(("llm", "price"), CASES)
def test_a_cost_equals_genai_prices(llm: LLM, price: LLMPrice) -> None:
    provider, model = genai_model(llm)
    for usage, at in calls(price, random.Random(str(price))):
        theirs = model.calc_price(genai_usage(usage), provider, genai_request_timestamp=at).total_price
        ours = price.cost_of(usage, at=at)
        assert ours == theirs, f"{usage} at {at}: {ours} != {theirs}"


def test_what_the_seeded_prices_have_is_exercised() -> None:
    prices = [price for entry in ENTRIES for price in entry.prices]
    assert len(ENTRIES) == 12
    assert any(price.tiers for price in prices)
    assert any(price.windows for price in prices)
    assert any(price.effective_to for price in prices)
    assert any(price.cache_write_1h_usd_per_mtok is not None for price in prices)
    assert any(price.cache_write_5m_usd_per_mtok is None for price in prices)
