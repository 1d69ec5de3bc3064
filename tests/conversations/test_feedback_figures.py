"""What feedback says in all, and what of it counts as negative."""

from __future__ import annotations

import itertools
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from conversations.feedback_figures import Figures, figures, figures_by
from conversations.models import MessageFeedback
from conversations.models.feedback import NEGATIVE
from tests.api.asking import make_answer, make_conversation
from tests.people import Person


@pytest.fixture
def rows(alice: Person) -> Any:
    """Feedback with every thumb, every number of stars and every category there can be."""
    answer = make_answer(make_conversation(alice))
    given = itertools.product(["", "up", "down"], [None, 1, 2, 3, 4, 5], ["", *MessageFeedback.Category.values])
    people = type(alice.user).objects.bulk_create(
        type(alice.user)(email=f"{number}@example.org") for number in range(3 * 6 * 7)
    )
    MessageFeedback.objects.bulk_create(
        MessageFeedback(
            workspace=alice.workspace, message=answer, user=user, thumb=thumb, stars=stars, category=category, text="x"
        )
        for user, (thumb, stars, category) in zip(people, given, strict=True)
    )
    return MessageFeedback.objects.filter(workspace=alice.workspace)


def test_a_row_and_a_query_agree_on_what_is_negative(rows: Any) -> None:
    negative = {row.pk for row in rows if row.is_negative}
    assert negative == set(rows.filter(NEGATIVE).values_list("pk", flat=True))
    assert {row.pk for row in rows} - negative == set(rows.exclude(NEGATIVE).values_list("pk", flat=True))
    assert len(negative) == 42 + 2 * 6 * 7 - 2 * 4 * 5  # thumbs down; and of the others what has neither fault less


def test_figures(rows: Any) -> None:
    with CaptureQueriesContext(connection) as captured:
        counted = figures(rows)
    assert len(captured) == 1
    positive = [row for row in rows if (row.thumb == "up" or (row.stars or 0) >= 4) and not row.is_negative]
    negative = [row for row in rows if row.is_negative]
    assert counted.as_json() == {
        "count": 126,
        "up": 42,
        "down": 42,
        "negative": len(negative),
        "average_stars": "3.00",
        "stars": dict.fromkeys("12345", 21),
        "categories": dict.fromkeys(MessageFeedback.Category.values, 18),
        "satisfaction": str(round(Decimal(len(positive)) / (len(positive) + len(negative)), 3)),
    }


def test_figures_by_a_key_add_up(rows: Any) -> None:
    with CaptureQueriesContext(connection) as captured:
        by_thumb = figures_by(rows, "thumb")
    assert len(captured) == 1
    assert by_thumb == {thumb: figures(rows.filter(thumb=thumb)) for thumb in ("", "up", "down")}
    assert figures_by(rows.none(), "thumb") == {}


def test_of_nothing(rows: Any) -> None:
    nothing = figures(rows.filter(text="none has this"))
    assert nothing == Figures()
    assert (nothing.average_stars, nothing.satisfaction) == (None, None)


def test_halves_are_rounded_up() -> None:
    assert Figures(stars={1: 0, 2: 0, 3: 0, 4: 195, 5: 5}).average_stars == Decimal("4.03")  # 4.025
    assert Figures(positive=1, negative=15).satisfaction == Decimal("0.063")  # 0.0625
