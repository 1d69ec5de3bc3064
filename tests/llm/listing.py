"""What vendors charge, as a list of prices for tests has it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from llm.models import LLM
from llm.price_source import Listed, Listing, Source
from llm.price_sync import key_of

NEXT_YEAR = datetime(2200, 1, 1, tzinfo=UTC)


def listed(
    input: str = "1", output: str = "2", *, at: datetime | None = None, tiers: Any = (), windows: Any = (), **rates: str
) -> Listed:
    return Listed(at, {"input": input, "output": output, **rates}, list(tiers), list(windows))


def listing(key: str, *prices: Listed, **fields: Any) -> Listing:
    return Listing(key=key, name=fields.pop("name", key), prices=prices, **{"context_window": 100_000, **fields})


def source(*listings: Listing, name: str = "prices 1") -> Source:
    return Source(name, {one.key: one for one in listings})


def source_of(llm: LLM, *prices: Listed) -> Source:
    return source(listing(key_of(llm), *prices))
