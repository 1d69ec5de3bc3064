"""What the package ``genai-prices`` says models cost, in the terms of our own prices. No database, no Django, no network.

Exact ids alone: the package's own matching takes near misses for the same model, and a near miss would be billed wrongly.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, ModelPrice

PACKAGE = "genai-prices"
VENDORS = {"openai": "openai", "anthropic": "anthropic", "google": "google", "grok": "x-ai", "deepseek": "deepseek"}
"""Our providers and their names in the package. Llama has no vendor of its own: each model names its host there."""
_HOSTS = ("together",)
_KEYS = {
    "input": "input_mtok",
    "cached_input": "cache_read_mtok",
    # The package writes the five-minute price, the vendors' default, under the general key.
    "cache_write_5m": "cache_write_mtok",
    "cache_write_1h": "cache_write_1h_mtok",
    "output": "output_mtok",
}
_IGNORED = {"web_searches_kcount", "storage_searches_kcount"}
"""Per thousand searches: server-side tools that the adapters never switch on."""


@dataclass(frozen=True, slots=True)
class Listed:
    """One price of a model: USD per million tokens as text, as ``LLMPrice`` and the catalogue have them."""

    effective_from: datetime | None
    """Midnight UTC; None where the package gives no date."""
    rates: Mapping[str, str]
    tiers: list[dict[str, Any]] = field(default_factory=list)
    windows: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Listing:
    """A model as the package has it."""

    key: str
    """“provider/id”, in the package's names."""
    name: str = ""
    context_window: int | None = None
    is_deprecated: bool = False
    prices: tuple[Listed, ...] = ()
    """From the one that is current on, each valid until the next."""
    problem: str = ""
    """Why its price can't be expressed here; then it has none."""


@dataclass(frozen=True, slots=True)
class Source:
    """Listings by their keys, and what to call where they come from."""

    name: str
    listings: Mapping[str, Listing]

    def source_of(self, key: str) -> str:
        """The ``source`` of a price that is stored because of it."""
        return f"{self.name}: {key}"


def installed(*, at: datetime) -> Source:
    """The data of the installed package, its prices from the one that is current at ``at`` (aware) on."""
    from genai_prices.data import providers  # half a second, and most processes never need it

    wanted = {*VENDORS.values(), *_HOSTS}
    listings = {
        f"{provider.id}/{model.id}": _listing(f"{provider.id}/{model.id}", model, at=at)
        for provider in providers
        if provider.id in wanted
        for model in provider.models
    }
    return Source(name=f"{PACKAGE} {version(PACKAGE)}", listings=listings)


class _Inexpressible(Exception):
    pass


def _listing(key: str, model: ModelInfo, *, at: datetime) -> Listing:
    prices: tuple[Listed, ...] = ()
    problem = ""
    try:
        prices = _timeline(model, at=at)
    except _Inexpressible as fault:
        problem = str(fault)
    return Listing(
        key=key,
        name=model.name or model.id,
        context_window=model.context_window,
        is_deprecated=bool(model.deprecated),
        prices=prices,
        problem=problem,
    )


def _timeline(model: ModelInfo, *, at: datetime) -> tuple[Listed, ...]:
    from genai_prices.types import ConditionalPrice, StartDateConstraint, TimeOfDateConstraint

    listed = model.prices if isinstance(model.prices, list) else [ConditionalPrice(prices=model.prices)]
    dated: list[tuple[date | None, dict[str, Any]]] = []
    windows: list[dict[str, Any]] = []
    for price in listed:
        match price.constraint:
            case None:
                dated.append((None, _entry(price.prices)))
            case StartDateConstraint(start_date=start):
                dated.append((start, _entry(price.prices)))
            case TimeOfDateConstraint(start_time=opens, end_time=closes):  # takes precedence over any date
                windows.append({"start": f"{opens:%H:%M}", "end": f"{closes:%H:%M}", **_rates(price.prices)})
            case other:
                raise _Inexpressible(f"a condition of a kind that is not known here: {type(other).__name__}")
    dated.sort(key=lambda item: item[0] or date.min)
    today = at.astimezone(UTC).date()
    current = max((number for number, (start, _) in enumerate(dated) if start is None or start <= today), default=0)
    if not dated:
        raise _Inexpressible("no price that holds all day")
    return tuple(
        Listed(
            effective_from=None if start is None else datetime.combine(start, time(), UTC),
            rates=entry["rates"],
            tiers=entry["tiers"],
            windows=windows,
        )
        for start, entry in dated[current:]
    )


def _entry(price: ModelPrice) -> dict[str, Any]:
    from genai_prices.types import TieredPrices

    tiered = [value for value in vars(price).values() if isinstance(value, TieredPrices)]
    thresholds = sorted({tier.start for value in tiered for tier in value.tiers})
    tiers = [{"above_input_tokens": threshold, **_rates(price, threshold)} for threshold in thresholds]
    return {"rates": _rates(price), "tiers": tiers}


def _rates(price: ModelPrice, threshold: int | None = None) -> dict[str, str]:
    """The rates of ``price``: the base ones, or those of the tier that begins above ``threshold``."""
    from genai_prices.types import TieredPrices

    kinds = {key for key, value in vars(price).items() if value is not None}
    if unknown := kinds - set(_KEYS.values()) - _IGNORED:
        raise _Inexpressible(f"prices of kinds that are not known here: {', '.join(sorted(unknown))}")
    found = {}
    for name, key in _KEYS.items():
        value = getattr(price, key)
        if isinstance(value, TieredPrices):
            tiers = [tier.price for tier in value.tiers if threshold is not None and tier.start <= threshold]
            value = tiers[-1] if tiers else value.base
        if value is not None:
            found[name] = format(value, "f")
    if missing := {"input", "output"} - found.keys():
        raise _Inexpressible(f"no price for {' and '.join(sorted(missing))}")
    return found
