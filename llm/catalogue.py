"""Seeding LLMs and their prices from a file (its format: ``fixtures/README.md``).

The file says what an LLM is, what it costs now, and what it will cost from a known day on. It never changes a stored
price, and nothing it says counts backwards:

- A new LLM gets its whole timeline as written.
- A known LLM gets new descriptions. ``is_active`` is left alone: whether a model is offered is the operators' choice.
- The file's price of today is compared with the stored one. If the rates differ, the file's supersede the stored ones
  from now on, except where an operator's own price is the newer word: one not from a catalogue that began after the
  file's did.
- A price that the file plans for later is stored ahead, until the next one that is known. If a price that begins at
  that moment is stored already with other rates, the file is refused: it can't be taken back.
- Prices of the past are history, and ignored.

A file can be seeded any number of times; the second time changes nothing. All of it happens in one transaction or, if
anything is wrong with the file, not at all.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from llm.models import LLM, RATE_FIELDS, LLMPrice

CATALOGUE_MARK = "catalogue: "
"""How the ``source`` of a price begins that came from a file, and not from an operator."""

CAPABILITIES = [column.name for column in LLM._meta.concrete_fields if column.name.startswith("supports_")]
PLAIN = ("display_name", "version", "context_window", "max_output_tokens", "metadata")
AMOUNTS = {**RATE_FIELDS, "request_fee": "request_fee_usd"}
LISTS = ("tiers", "windows")


class CatalogueError(ValueError):
    """The file can't be seeded. The message names the entry and the field; nothing was written."""


@dataclass(frozen=True)
class SeedReport:
    """How many LLMs were ``created``, ``updated`` (their description) and ``unchanged``, and how many prices of known
    LLMs were ``superseded``, planned ones included. ``changes`` has a line for each."""

    created: int = 0
    updated: int = 0
    superseded: int = 0
    unchanged: int = 0
    changes: tuple[str, ...] = ()


@dataclass
class _Entry:
    where: str
    llm: LLM
    prices: list[LLMPrice] = field(default_factory=list)


def seed(path: Path | str) -> SeedReport:
    """Bring the database up to the file at ``path``. Raises ``CatalogueError`` and writes nothing when it is wrong."""
    entries = read(path)
    now = timezone.now()
    created = updated = superseded = unchanged = 0
    changes: list[str] = []
    with transaction.atomic():
        for entry in entries:
            known = LLM.objects.filter(provider=entry.llm.provider, name=entry.llm.name).first()
            if known is None:
                entry.llm.save(force_insert=True)
                for price in entry.prices:
                    price.save(force_insert=True)
                created += 1
                changes.append(f"created {entry.llm} with {len(entry.prices)} price(s)")
                continue
            lines = _follow_prices(entry, known, now=now)
            superseded += len(lines)
            if described := _describe(known, entry.llm):
                updated += 1
                lines.append(f"updated {known}: {', '.join(described)}")
            unchanged += not lines
            changes += lines
    return SeedReport(created, updated, superseded, unchanged, tuple(changes))


def _describe(known: LLM, new: LLM) -> list[str]:
    names = [name for name in (*PLAIN, *CAPABILITIES) if getattr(known, name) != getattr(new, name)]
    if names:
        for name in names:
            setattr(known, name, getattr(new, name))
        known.save(update_fields=names)
    return names


def _follow_prices(entry: _Entry, known: LLM, *, now: datetime) -> list[str]:
    lines = []
    for index, price in enumerate(entry.prices):
        if price.effective_to and price.effective_to <= now:
            continue
        begins = max(price.effective_from, now)
        stored = known.prices.valid_at(begins).first()
        if stored is not None:
            if stored.table == price.table:
                continue
            is_operators = not stored.source.startswith(CATALOGUE_MARK)
            if is_operators and stored.effective_from > price.effective_from:
                continue
            if stored.effective_from == begins:
                raise CatalogueError(
                    f"{entry.where}: prices[{index}].effective_from: a price from {begins.isoformat()} on is stored "
                    f"already with other rates, and prices are written once; let the new one begin later"
                )
        # Open if it is the last: the next one in the file closes it.
        LLMPrice.supersede_until_next(llm=known, effective_from=begins, source=price.source, **_figures(price))
        lines.append(f"superseded the price of {known} from {begins.isoformat(timespec='seconds')}")
    return lines


def _figures(price: LLMPrice) -> dict[str, Any]:
    return {name: getattr(price, name) for name in (*AMOUNTS.values(), *LISTS)}


# --- The file -------------------------------------------------------------------------------------------------------


def read(path: Path | str) -> list[_Entry]:
    """The file's LLMs with their prices, checked but not stored. Raises ``CatalogueError`` at the first fault."""
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise CatalogueError(f"{path}: {error.strerror or error}") from None
    except ValueError as error:
        raise CatalogueError(f"{path}: is not JSON: {error}") from None
    if not isinstance(data, dict) or set(data) != {"llms"} or not isinstance(data["llms"], list):
        raise CatalogueError(f'{path}: must be {{"llms": [...]}}')
    entries = [_read_llm(f"{path}: llms[{index}]", raw) for index, raw in enumerate(data["llms"])]
    seen: set[tuple[str, str]] = set()
    for entry in entries:
        if entry.llm.natural_key() in seen:
            raise CatalogueError(f"{entry.where}: is in the file twice")
        seen.add(entry.llm.natural_key())
    return entries


def _read_llm(where: str, raw: Any) -> _Entry:
    required = {"provider", "name", *PLAIN, "supports", "prices"}
    _require_keys(where, raw, required=required, optional={"is_active"})
    where = f"{where} ({raw['provider']}/{raw['name']})"
    supports, prices = raw["supports"], raw["prices"]
    if not isinstance(supports, list) or not all(f"supports_{name}" in CAPABILITIES for name in supports):
        known = ", ".join(sorted(name.removeprefix("supports_") for name in CAPABILITIES))
        raise CatalogueError(f"{where}: supports: must be a list of: {known}")
    if not isinstance(prices, list) or not prices:
        raise CatalogueError(f"{where}: prices: must be a list with at least one price")
    described = {name: raw[name] for name in ("provider", "name", *PLAIN)}
    flags = {name: name.removeprefix("supports_") in supports for name in CAPABILITIES}
    llm = LLM(**described, **flags, is_active=raw.get("is_active", True))
    _check(f"{where}: ", llm)
    if llm.max_output_tokens > llm.context_window:
        raise CatalogueError(f"{where}: max_output_tokens: is larger than context_window")
    entry = _Entry(where, llm, [_read_price(f"{where}: prices[{i}]", llm, price) for i, price in enumerate(prices)])
    # A timeline without gaps: each price ends where the next begins, and the last stays open.
    nexts = [price.effective_from for price in entry.prices[1:]]
    for index, (price, end) in enumerate(zip(entry.prices, [*nexts, None], strict=True)):
        if price.effective_to != end:
            wanted = end.isoformat() if end else "null, as the last one stays open"
            raise CatalogueError(f"{where}: prices[{index}].effective_to: must be {wanted}")
    return entry


def _read_price(where: str, llm: LLM, raw: Any) -> LLMPrice:
    required = {"effective_from", "effective_to", "input", "output", "source"}
    _require_keys(where, raw, required=required, optional={*AMOUNTS, *LISTS})
    fields: dict[str, Any] = {"request_fee_usd": Decimal(0)}
    for name, column in AMOUNTS.items():
        value = raw.get(name)
        if value is not None and not isinstance(value, str):
            raise CatalogueError(f"{where}.{name}: must be a decimal in quotes, not {value!r}")
        if value is not None:
            fields[column] = value
    for name in ("effective_from", "effective_to"):
        fields[name] = _read_time(f"{where}.{name}", raw[name]) if raw[name] is not None else None
    if not isinstance(raw["source"], str):
        raise CatalogueError(f"{where}.source: must be text")
    lists = {name: raw.get(name, []) for name in LISTS}
    price = LLMPrice(llm=llm, **fields, **lists, source=CATALOGUE_MARK + raw["source"])
    _check(f"{where}.", price, exclude={"llm"})
    return price


def _read_time(where: str, value: Any) -> datetime:
    try:
        moment = parse_datetime(value)
    except (TypeError, ValueError):
        moment = None
    if moment is None or timezone.is_naive(moment):
        raise CatalogueError(f"{where}: must be a time with an offset, like 2026-01-01T00:00:00Z, not {value!r}")
    return moment


def _check(where: str, row: LLM | LLMPrice, **options: Any) -> None:
    """Field and shape checks. Uniqueness is the seeding's business, and the other rules the database holds."""
    try:
        row.full_clean(validate_unique=False, validate_constraints=False, **options)
    except ValidationError as error:
        column, messages = next(iter(error.message_dict.items()))
        name = {column: name for name, column in AMOUNTS.items()}.get(column, column)
        # A message about a tier or a window begins with its own place.
        place = "" if messages[0].startswith(f"{name}[") else f"{name}: "
        raise CatalogueError(f"{where}{place}{messages[0].removeprefix(place)}") from None


def _require_keys(where: str, raw: Any, *, required: set[str], optional: set[str]) -> None:
    if not isinstance(raw, dict):
        raise CatalogueError(f"{where}: must be an object")
    for name in sorted(required - raw.keys()):
        raise CatalogueError(f"{where}: {name}: is missing")
    for name in sorted(raw.keys() - required - optional):
        raise CatalogueError(f"{where}: {name}: is not a field of the catalogue")
