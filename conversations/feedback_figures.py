"""What feedback says in all: counts, stars, categories and satisfaction of any feedback, as a whole or by a key."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from django.db.models import Count, Q, QuerySet
from django.db.models.expressions import Combinable, F

from conversations.models import MessageFeedback
from conversations.models.feedback import NEGATIVE, POSITIVE

STARS = range(1, 6)
_CATEGORIES = MessageFeedback.Category.values
_COUNTS = {
    "count": Count("pk"),
    "up": Count("pk", filter=Q(thumb=MessageFeedback.Thumb.UP)),
    "down": Count("pk", filter=Q(thumb=MessageFeedback.Thumb.DOWN)),
    "negative": Count("pk", filter=NEGATIVE),
    "positive": Count("pk", filter=POSITIVE),
}
_STARS = {f"stars_{number}": Count("pk", filter=Q(stars=number)) for number in STARS}
_OF_CATEGORIES = {f"category_{name}": Count("pk", filter=Q(category=name)) for name in _CATEGORIES}
_ALL = {**_COUNTS, **_STARS, **_OF_CATEGORIES}


@dataclass(frozen=True, slots=True)
class Figures:
    """Numbers of feedback. What is neither positive nor negative, like three stars or a mere text, is in ``count``."""

    count: int = 0
    up: int = 0
    down: int = 0
    negative: int = 0
    positive: int = 0
    stars: dict[int, int] = field(default_factory=lambda: dict.fromkeys(STARS, 0))
    """How many gave 1, 2, … 5 stars."""
    categories: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_CATEGORIES, 0))

    @property
    def average_stars(self) -> Decimal | None:
        """Of those that gave stars, to two places."""
        given = sum(self.stars.values())
        return _share(sum(number * count for number, count in self.stars.items()), given, "0.01")

    @property
    def satisfaction(self) -> Decimal | None:
        """The share of the positive among the positive and the negative, from 0 to 1, to three places."""
        return _share(self.positive, self.positive + self.negative, "0.001")

    def as_json(self) -> dict[str, Any]:
        average, satisfaction = self.average_stars, self.satisfaction
        return {
            "count": self.count,
            "up": self.up,
            "down": self.down,
            "negative": self.negative,
            "average_stars": None if average is None else str(average),
            "stars": {str(number): count for number, count in self.stars.items()},
            "categories": dict(self.categories),
            "satisfaction": None if satisfaction is None else str(satisfaction),
        }


def figures(rows: QuerySet[MessageFeedback]) -> Figures:
    """The figures of all ``rows``. One query."""
    return _figures(rows.order_by().aggregate(**_prefixed(_ALL)))


def figures_by(rows: QuerySet[MessageFeedback], key: str | Combinable) -> dict[Any, Figures]:
    """The figures of ``rows`` by ``key``, a field path or an expression, in no order. One query."""
    groups = rows.order_by().annotate(figures_key=F(key) if isinstance(key, str) else key).values("figures_key")
    return {group["figures_key"]: _figures(group) for group in groups.annotate(**_prefixed(_ALL))}


@dataclass(frozen=True, slots=True)
class Said:
    """So many said the same."""

    thumb: str
    stars: int | None
    category: str
    number: int


def figures_of(groups: Iterable[Said]) -> Figures:
    """The figures of feedback that has been counted by what it says."""
    found: Counter[str] = Counter()
    stars, categories = dict.fromkeys(STARS, 0), dict.fromkeys(_CATEGORIES, 0)
    for said in groups:
        row = MessageFeedback(thumb=said.thumb, stars=said.stars, category=said.category)
        found["count"] += said.number
        found[said.thumb] += said.number
        found["negative"] += said.number * row.is_negative
        found["positive"] += said.number * row.is_positive
        if said.stars:
            stars[said.stars] += said.number
        if said.category:
            categories[said.category] += said.number
    return Figures(**{name: found[name] for name in _COUNTS}, stars=stars, categories=categories)


def _prefixed(counts: dict[str, Count]) -> dict[str, Count]:
    # “stars” and the like are columns already.
    return {f"n_{name}": count for name, count in counts.items()}


def _figures(counted: Mapping[str, Any]) -> Figures:
    return Figures(
        **{name: counted[f"n_{name}"] for name in _COUNTS},
        stars={number: counted[f"n_stars_{number}"] for number in STARS},
        categories={name: counted[f"n_category_{name}"] for name in _CATEGORIES},
    )


def _share(part: int, whole: int, quantum: str) -> Decimal | None:
    return (Decimal(part) / whole).quantize(Decimal(quantum), ROUND_HALF_UP) if whole else None
