"""How two prices differ, rate by rate, wherever a call could meet another rate: by length of prompt and time of day."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, time
from decimal import ROUND_HALF_UP, Decimal
from itertools import pairwise
from typing import Any

from llm.pricing import RATE_PLACES, PriceTable, Rates
from synapscale.common.money import RateField, usd_text

_TENTH, _MOST = Decimal("0.1"), Decimal("999999.9")
_RATE = RateField()
_ANY_DAY = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Change:
    """One rate that is another, in USD per million tokens."""

    kind: str
    """One of the rates of ``pricing.Rates``."""
    above_tokens: int
    """For prompts of more tokens than this; 0 for all."""
    hours: str
    """The times of day (UTC) that it is about, ``01:00-04:00``; empty for the whole day."""
    old: int | None
    """Micro-USD per million tokens, like ``Rates``; None where there is no price yet."""
    new: int

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Change:
        """What ``as_json`` wrote."""
        old = row["old"]
        return cls(
            kind=row["kind"],
            above_tokens=row["above_tokens"],
            hours=row["hours"],
            old=None if old is None else _RATE.to_scaled(old),
            new=_RATE.to_scaled(row["new"]),
        )

    @property
    def percent(self) -> Decimal | None:
        """To a tenth; None where there was nothing, or nothing to pay."""
        if not self.old:
            return None
        percent = (Decimal(self.new - self.old) * 100 / self.old).quantize(_TENTH, ROUND_HALF_UP)
        return min(percent, _MOST)

    def is_within(self, percent: int) -> bool:
        """Whether the rate moves by at most so many percent, up or down. Exact."""
        return self.old is not None and self.old > 0 and abs(self.new - self.old) * 100 <= percent * self.old

    def as_json(self) -> dict[str, Any]:
        percent = self.percent
        return {
            **asdict(self),
            "old": None if self.old is None else rate_text(self.old),
            "new": rate_text(self.new),
            "percent": None if percent is None else str(percent),
        }


def rate_text(rate: int) -> str:
    """USD per million tokens of a rate of ``Rates``: ``0.075``, ``3.00``."""
    return usd_text(Decimal(f"{rate}E-{RATE_PLACES}"))


def changes(old: PriceTable | None, new: PriceTable) -> list[Change]:
    """What is another rate under ``new``; empty where no call would cost anything else, fees per request apart.

    A rate that is not named is the one that its tokens are billed by, so naming it the same is no change.
    """
    found: dict[tuple[int, Rates | None, Rates], list[str]] = {}
    for above, hours, at in _places(old, new):
        before = None if old is None else old.rates_for(input_tokens=above + 1, at=at)
        after = new.rates_for(input_tokens=above + 1, at=at)
        found.setdefault((above, before, after), []).append(hours)
    return [
        Change(kind, above, ", ".join(filter(None, hours)), was, now)
        for (above, before, after), hours in found.items()
        for kind, was, now in _rates(before, after)
        if was != now
    ]


def largest(of: list[Change]) -> Decimal | None:
    """The largest change in percent, up or down; None where one of them comes from nothing."""
    percents = [change.percent for change in of]
    return (
        None if None in percents else max((abs(percent) for percent in percents if percent is not None), default=None)
    )


def _places(old: PriceTable | None, new: PriceTable) -> Iterator[tuple[int, str, datetime]]:
    tables = [table for table in (old, new) if table is not None]
    thresholds = sorted({0, *(tier.above_input_tokens for table in tables for tier in table.tiers)})
    edges = sorted({edge for table in tables for window in table.windows for edge in (window.start, window.end)})
    spans = [(start, f"{start:%H:%M}-{end:%H:%M}") for start, end in pairwise([*edges, *edges[:1]])]
    for above in thresholds:
        for start, hours in spans or [(time(), "")]:
            yield above, hours, datetime.combine(_ANY_DAY, start, UTC)


def _rates(before: Rates | None, after: Rates) -> Iterator[tuple[str, int | None, int]]:
    named = after.named() | (before.named() if before else set())
    for kind, billed in (
        ("input", "input"),
        ("cached_input", "read"),
        ("cache_write_5m", "write_5m"),
        ("cache_write_1h", "write_1h"),
        ("output", "output"),
    ):
        if kind in named:
            yield kind, None if before is None else getattr(before, billed), getattr(after, billed)
