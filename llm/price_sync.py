"""The catalogue against what vendors charge as the package ``genai-prices`` has it. Reads; ``price_proposals`` writes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from llm import pricing
from llm.models import LLM, RATE_FIELDS, LLMPrice, ProviderName
from llm.price_changes import Change, changes
from llm.price_source import VENDORS, Listed, Listing, Source

_OF_OTHERS = {ProviderName.GOOGLE: ("claude-",)}
"""Sold by the vendor under another protocol than the one that is spoken with it here."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A model whose price is another one there."""

    llm: LLM
    key: str
    listed: Listed
    begins: datetime | None
    """When the price there begins; None: it is that of now."""
    current: LLMPrice | None
    """Ours at that moment."""
    changes: list[Change]

    def is_within(self, percent: int) -> bool:
        return all(change.is_within(percent) for change in self.changes)


@dataclass(frozen=True, slots=True)
class Comparison:
    source: Source
    agreeing: list[LLM] = field(default_factory=list)
    differences: list[Difference] = field(default_factory=list)
    unknown: list[LLM] = field(default_factory=list)
    """Models of vendors that have no entry of exactly their id."""
    inexpressible: list[tuple[LLM, str]] = field(default_factory=list)
    """Those whose price there is of a kind that ours can't be, and of which."""


def compare(source: Source, *, at: datetime, llms: Iterable[LLM] | None = None) -> Comparison:
    """Every model of a vendor (or ``llms``) against ``source``; of each the first difference on its timeline from ``at``
    (aware) on. Two queries.
    """
    found = Comparison(source)
    rows = LLM.objects.exclude(provider__in=[ProviderName.PRIVATE, ProviderName.DEMO]).order_by("provider", "name")
    if llms is not None:
        rows = rows.filter(pk__in=[llm.pk for llm in llms])
    prices: dict[Any, list[LLMPrice]] = {}
    for price in LLMPrice.objects.filter(llm__in=rows.order_by()).order_by("effective_from"):
        prices.setdefault(price.llm_id, []).append(price)
    for llm in rows:
        key = key_of(llm)
        listing = source.listings.get(key)
        if listing is None:
            found.unknown.append(llm)
            continue
        try:
            difference = _first_difference(llm, listing, prices.get(llm.pk, []), at=at)
        except ValueError as fault:
            found.inexpressible.append((llm, str(fault)))
            continue
        if difference is None:
            found.agreeing.append(llm)
        else:
            found.differences.append(difference)
    return found


def newcomers(source: Source, *, at: datetime) -> list[tuple[ProviderName, Listing]]:
    """What ``source`` lists of our vendors and the catalogue lacks: current, with a price that ours can be, and a known
    context window. One query.
    """
    known = {key_of(llm) for llm in LLM.objects.all()}
    found = []
    for provider, vendor in VENDORS.items():
        others = _OF_OTHERS.get(ProviderName(provider), ())
        for key, listing in source.listings.items():
            of, _, model_id = key.partition("/")
            if of != vendor or key in known or listing.is_deprecated or not listing.context_window:
                continue
            if model_id.startswith(tuple(others)) or not listing.prices or not _is_current(listing.prices[0], at):
                continue
            try:
                table_of(listing.prices[0])
            except ValueError:
                continue
            found.append((ProviderName(provider), listing))
    return sorted(found, key=lambda one: one[1].key)


def key_of(llm: LLM) -> str:
    """Where to look for ``llm``: what its description says (``genai_prices``), or else its vendor and exact id."""
    named = llm.metadata.get("genai_prices") if isinstance(llm.metadata, dict) else None
    return named if isinstance(named, str) and named else f"{VENDORS.get(llm.provider, llm.provider)}/{llm.name}"


def table_of(listed: Listed, *, request_fee: int = 0) -> pricing.PriceTable:
    """For the arithmetic. Raises ValueError where ours can't be such a price."""
    return pricing.PriceTable(
        rates=pricing.Rates.per_mtok(**listed.rates),
        tiers=pricing.parse_tiers(listed.tiers),
        windows=pricing.parse_windows(listed.windows),
        request_fee=request_fee,
    )


def columns_of(rates: Any) -> dict[str, str | None]:
    """Rates by kind as the columns of ``LLMPrice``."""
    return {column: rates.get(kind) for kind, column in RATE_FIELDS.items()}


def _first_difference(llm: LLM, listing: Listing, ours: Sequence[LLMPrice], *, at: datetime) -> Difference | None:
    if listing.problem:
        raise ValueError(listing.problem)
    ends = [price.effective_from for price in listing.prices[1:]]
    for listed, end in zip(listing.prices, [*ends, None], strict=True):
        table = table_of(listed)
        begins = None if _is_current(listed, at) else listed.effective_from
        moment = begins or at
        current = next((price for price in reversed(ours) if _covers(price, moment)), None)
        found = changes(current.table if current else None, table)
        # What an operator has planned already, for a moment of his own choice, is no news.
        planned = [
            price for price in ours if price.effective_from > moment and (end is None or price.effective_from < end)
        ]
        if found and not any(not changes(price.table, table) for price in planned):
            return Difference(llm, listing.key, listed, begins, current, found)
    return None


def _is_current(listed: Listed, at: datetime) -> bool:
    return listed.effective_from is None or listed.effective_from <= at


def _covers(price: LLMPrice, moment: datetime) -> bool:
    return price.effective_from <= moment and (price.effective_to is None or price.effective_to > moment)
