"""Back office: how models and their prices are shown: what one can do, whether it answers, and its prices over time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from django.db.models import Exists, OuterRef, QuerySet
from django.urls import reverse
from django.utils import formats, timezone
from django.utils.functional import Promise
from django.utils.html import format_html, format_html_join
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, pgettext_lazy

from llm import price_changes
from llm.models import LLM, LLMPrice
from llm.price_changes import Change, changes
from llm.pricing import RATE_PLACES, PriceTable, Rates
from synapscale.common.amounts import digits, whole
from synapscale.common.money import UsdField

CAPABILITIES: tuple[tuple[str, str | Promise], ...] = (
    ("supports_streaming", pgettext_lazy("capability", "Streaming")),
    ("supports_function_calling", gettext_lazy("Functions")),
    ("supports_vision", gettext_lazy("Vision")),
    ("supports_structured_output", gettext_lazy("Structured output")),
    ("supports_reasoning", gettext_lazy("Reasoning")),
    ("supports_prompt_caching", gettext_lazy("Prompt caching")),
)
KINDS: dict[str, str | Promise] = {
    "input": gettext_lazy("Input"),
    "cached_input": gettext_lazy("Cached input"),
    "cache_write_5m": gettext_lazy("Cache write, 5 minutes"),
    "cache_write_1h": gettext_lazy("Cache write, 1 hour"),
    "output": gettext_lazy("Output"),
    "request_fee": gettext_lazy("Fee per call"),
}
MAX_ENTRIES = 20
"""Prices on the page of a model; the others are in the list of prices."""
_USD, _TENTH = UsdField(), Decimal("0.1")


# --- What a model is ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Status:
    key: str
    text: str


def with_validity(llms: QuerySet[LLM]) -> QuerySet[LLM]:
    """Each with ``has_price``: whether a price holds now. No query of its own."""
    now = timezone.now()
    return llms.annotate(has_price=Exists(LLMPrice.objects.valid_at(now).filter(llm=OuterRef("pk")).order_by()))


def status_of(llm: LLM, *, has_price: bool) -> Status:
    if not llm.is_active:
        return Status("retired", _("Retired"))
    if llm.connection is not None and not llm.connection.is_active:
        return Status("refused", _("Host switched off: refused"))
    if not has_price:
        return Status("refused", _("No valid price: refused"))
    return Status("active", _("Active"))


def badge(status: Status) -> str:
    return format_html('<span class="office-badge office-badge-{}">{}</span>', status.key, status.text)


def capabilities(llm: LLM) -> list[str]:
    return [str(title) for name, title in CAPABILITIES if getattr(llm, name)]


def capability_badges(llm: LLM) -> str:
    badges = format_html_join(" ", '<span class="office-badge">{}</span>', ((name,) for name in capabilities(llm)))
    return format_html('<span class="office-badges">{}</span>', badges) if badges else "—"


# --- What it costs --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Rate:
    """A rate as it is, in USD per million tokens (a fee: per call)."""

    name: str
    place: str
    text: str


@dataclass(frozen=True, slots=True)
class Place:
    """Rates that hold together: the usual ones, or those of long prompts or of a time of day."""

    name: str
    rates: list[Rate]


@dataclass(frozen=True, slots=True)
class Moved:
    """A rate that is another."""

    name: str
    place: str
    old: str
    new: str
    percent: str
    direction: str
    """“rise” or “fall”; empty where nothing was there to compare with."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A price on the timeline."""

    price: LLMPrice
    url: str
    state: str
    """“past”, “current” or “planned”."""
    state_text: str
    begins: str
    ends: str
    places: list[Place]
    moved: list[Moved]
    is_first: bool
    """Nothing came before it."""
    gap: str
    """Until when there was no price before it began; empty where it follows at once."""


def moment(at: datetime) -> str:
    """``Monday, Dec. 7, 2026, 00:00 UTC``."""
    local = timezone.localtime(at)
    return _("%(weekday)s, %(date)s, %(time)s %(zone)s") % {
        "weekday": formats.date_format(local, "l"),
        "date": formats.date_format(local, "DATE_FORMAT"),
        "time": formats.date_format(local, "H:i"),
        "zone": local.tzname(),
    }


def rates_of(table: PriceTable) -> list[Rate]:
    """All rates that are named, those of long prompts and of times of day after the usual ones."""
    found = _rates("", table.rates)
    for tier in table.tiers:
        found += _rates(_above(tier.above_input_tokens), tier.rates)
    for window in table.windows:
        found += _rates(_hours(f"{window.start:%H:%M}-{window.end:%H:%M}"), window.rates)
    if table.request_fee:
        found.append(Rate(str(KINDS["request_fee"]), "", _fee(table.request_fee)))
    return found


def moved_between(old: PriceTable | None, new: PriceTable) -> list[Moved]:
    """Every rate that a call could meet and that is another one under ``new``, the fee per call included."""
    found = moved_rates(changes(old, new))
    before = None if old is None else old.request_fee
    if before != new.request_fee and (before or new.request_fee):
        percent = (
            None if not before else (Decimal(new.request_fee - before) * 100 / before).quantize(_TENTH, ROUND_HALF_UP)
        )
        name = str(KINDS["request_fee"])
        found.append(_moved(name, "", None if before is None else _fee(before), _fee(new.request_fee), percent))
    return found


def moved_rates(found: Iterable[Change]) -> list[Moved]:
    return [
        _moved(
            str(KINDS[change.kind]),
            ", ".join(filter(None, (_above(change.above_tokens), _hours(change.hours)))),
            None if change.old is None else _rate(change.old),
            _rate(change.new),
            change.percent,
        )
        for change in found
    ]


def moved_in(differences: Iterable[Any]) -> list[Moved]:
    """The same, of the differences that a proposal keeps."""
    return moved_rates(price_changes.Change.from_json(row) for row in differences)


def timeline(llm: LLM, *, now: datetime) -> tuple[list[Entry], int]:
    """The prices of ``llm``, the latest first, and how many more there are. One query."""
    # One more than is shown: the oldest of the page is compared with it.
    prices = list(llm.prices.order_by("-effective_from")[: MAX_ENTRIES + 1])
    entries = [
        _entry(price, prices[number + 1] if number + 1 < len(prices) else None, now=now)
        for number, price in enumerate(prices[:MAX_ENTRIES])
    ]
    return entries, len(prices) - len(entries)


def _entry(price: LLMPrice, before: LLMPrice | None, *, now: datetime) -> Entry:
    ended = price.effective_to is not None and price.effective_to <= now
    state = "planned" if price.effective_from > now else "past" if ended else "current"
    texts = {"planned": _("Planned"), "past": _("Past"), "current": _("Current")}
    has_gap = before is not None and before.effective_to is not None and before.effective_to < price.effective_from
    return Entry(
        price=price,
        url=reverse("admin:llm_llmprice_change", args=[price.pk]),
        state=state,
        state_text=texts[state],
        begins=moment(price.effective_from),
        ends=moment(price.effective_to) if price.effective_to else "",
        places=_places(rates_of(price.table)),
        moved=[] if before is None else moved_between(before.table, price.table),
        is_first=before is None,
        gap=moment(before.effective_to) if has_gap and before and before.effective_to else "",
    )


def _places(rates: list[Rate]) -> list[Place]:
    found: dict[str, list[Rate]] = {}
    for rate in rates:
        found.setdefault(rate.place, []).append(rate)
    return [Place(name, together) for name, together in found.items()]


def _rates(place: str, rates: Rates) -> list[Rate]:
    named = rates.named()
    return [Rate(str(title), place, _rate(getattr(rates, kind))) for kind, title in KINDS.items() if kind in named]


def _moved(name: str, place: str, old: str | None, new: str, percent: Decimal | None) -> Moved:
    if percent is None:
        return Moved(name, place, old or "–", new, "", "")
    number = formats.number_format(percent, decimal_pos=1, force_grouping=True)
    text = f"{'+' if percent > 0 else ''}{number} %"
    return Moved(name, place, old or "–", new, text, "rise" if percent > 0 else "fall")


def _above(tokens: int) -> str:
    if not tokens:
        return ""
    return _("prompts above %(tokens)s tokens") % {"tokens": whole(tokens)}


def _hours(spans: str) -> str:
    return _("%(hours)s UTC") % {"hours": spans.replace("-", "–")} if spans else ""


def _rate(rate: int) -> str:
    """A rate of ``Rates``, in USD per million tokens."""
    return digits(Decimal(f"{rate}E-{RATE_PLACES}"))


def _fee(pico: int) -> str:
    return digits(_USD.from_scaled(pico))
