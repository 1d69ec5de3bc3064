"""What a decision about a model would do to those who use it, as whoever stands above knows it.

The pages that change prices and retire models stand beside the models, in ``llm.admin``, with the permissions, forms and
addresses that operators know. What calls used, and who relies on a model, is known in ``analytics`` and
``conversations``, from where nothing may be imported here. So the pages ask here, and ``office``, which sees all apps,
registers who answers; workspaces have the names of models checked the same way (``workspaces.model_names``). Whoever
answers asks for permissions too: what somebody may not see, the page doesn't have.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from llm.models import LLM
from llm.pricing import PriceTable
from workspaces.models import User


@dataclass(frozen=True, slots=True)
class Amount:
    """Money as people read it, and to the last digit."""

    text: str
    exact: str


@dataclass(frozen=True, slots=True)
class Cost:
    """What calls did cost and would have cost."""

    name: str
    url: str
    calls: str
    paid: Amount
    new: Amount
    difference: Amount
    percent: str
    """How much more or less; empty where nothing was paid."""


@dataclass(frozen=True, slots=True)
class PriceEffect:
    """The calls of the last ``days`` days at another price."""

    days: int
    total: Cost
    at_present: Amount | None
    """What they would have cost at the price that holds now, where that is something else than they did cost."""
    percent_of_present: str
    """How much more or less than that the new price is; empty where it is not told, or nothing."""
    workspaces: Sequence[Cost]
    """Those that it matters most to."""
    others: int
    """How many workspaces there are besides."""
    has_calls: bool


@dataclass(frozen=True, slots=True)
class Named:
    """Something that relies on a model; where it may be looked at, with its page."""

    name: str
    url: str = ""


@dataclass(frozen=True, slots=True)
class Reliance:
    """How much relies on ``llm``."""

    llm: LLM
    agents: int
    agents_without_fallback: int
    agents_as_fallback: int
    conversations: int
    """With an answer of it in the last 30 days."""
    default_of: int
    """Workspaces whose default it is."""
    default_without_fallback: int
    fallback_of: int
    allowed_in: int
    """Workspaces that name it among those that they allow."""
    names: Sequence[tuple[str, Sequence[Named]]] = field(default_factory=list)
    """Some of them, under what they are."""


PriceEffectOf = Callable[..., PriceEffect | None]
ReliancesOn = Callable[..., list[Reliance]]

_price_effect: PriceEffectOf | None = None
_reliances: ReliancesOn | None = None


def register(*, price_effect: PriceEffectOf, reliances: ReliancesOn) -> None:
    """``price_effect(llm, table=, present=, user=)`` and ``reliances(llms, user=)``, as below."""
    global _price_effect, _reliances
    _price_effect, _reliances = price_effect, reliances


def of_price(llm: LLM, *, table: PriceTable, present: PriceTable | None, user: User | Any) -> PriceEffect | None:
    """What lately would have cost at ``table``, for ``user`` to see; None for who may not see usage."""
    return None if _price_effect is None else _price_effect(llm, table=table, present=present, user=user)


def reliances_on(llms: Sequence[LLM], *, user: User | Any) -> list[Reliance]:
    """What relies on each of ``llms``, in their order."""
    return [] if _reliances is None else _reliances(llms, user=user)
