"""Spending limits of access tokens: exact, and per period."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from django.db import transaction

from billing import spending
from billing.holds import WalletMoved
from billing.models import Hold, TokenSpend, Wallet
from llm.models import LLM
from tests.billing.limits import limited, row_of, standing
from tests.conversations.calling import answered, make_conversation
from tests.people import Person, fund
from workspaces.models import AccessToken

pytestmark = pytest.mark.django_db
MONDAY = datetime(2026, 11, 23, 15, 0, tzinfo=UTC)
DAY = timedelta(days=1)


def spent_by(token: AccessToken, *, at: datetime) -> Decimal:
    found = spending.allowance(token, at=at)
    assert found is not None
    return found.spent


def hold_for(token: AccessToken, amount: str, at: datetime = MONDAY) -> Hold:
    """A hold that counts against the token's limit. (The wallet is no matter here.)"""
    purse, _ = Wallet.objects.get_or_create(workspace=token.workspace)
    with transaction.atomic():
        spending.reserve(token, amount=Decimal(amount), at=at)
        return Hold.objects.create(
            workspace=token.workspace,
            wallet=purse,
            user=token.user,
            access_token=token,
            amount=Decimal(amount),
            lease_until=at,
        )


def pay(hold: Hold, charged: str, at: datetime = MONDAY) -> None:
    with transaction.atomic():
        spending.settle(hold, charged=Decimal(charged), at=at)


# --- Periods ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("period", "moment", "start"),
    [
        ("day", datetime(2026, 3, 1, 0, 0, tzinfo=UTC), date(2026, 3, 1)),
        ("day", datetime(2026, 2, 28, 23, 59, 59, 999999, tzinfo=UTC), date(2026, 2, 28)),
        ("week", datetime(2026, 11, 23, 0, 0, tzinfo=UTC), date(2026, 11, 23)),
        ("week", datetime(2026, 11, 29, 23, 59, tzinfo=UTC), date(2026, 11, 23)),
        ("week", datetime(2027, 1, 1, tzinfo=UTC), date(2026, 12, 28)),
        ("month", datetime(2028, 2, 29, 12, tzinfo=UTC), date(2028, 2, 1)),
        ("month", datetime(2026, 12, 31, 23, 59, tzinfo=UTC), date(2026, 12, 1)),
        ("", datetime(2026, 11, 23, tzinfo=UTC), None),
        # By the clock of UTC, wherever the moment is told.
        ("day", datetime(2026, 3, 1, 1, 0, tzinfo=timezone(timedelta(hours=2))), date(2026, 2, 28)),
        ("month", datetime(2026, 2, 28, 23, 0, tzinfo=timezone(timedelta(hours=-2))), date(2026, 3, 1)),
    ],
)
def test_when_a_period_began(period: str, moment: datetime, start: date | None) -> None:
    assert spending.period_start(period, at=moment) == start


@pytest.mark.parametrize(
    ("period", "last", "next_one"),
    [
        ("day", datetime(2026, 11, 23, 23, 59, tzinfo=UTC), datetime(2026, 11, 24, tzinfo=UTC)),
        ("week", datetime(2026, 11, 29, 23, 59, tzinfo=UTC), datetime(2026, 11, 30, tzinfo=UTC)),
        ("month", datetime(2026, 11, 30, 23, 59, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC)),
    ],
)
def test_a_new_period_begins_with_the_whole_limit(
    alice: Person, period: str, last: datetime, next_one: datetime
) -> None:
    token = limited(alice, "1", period)
    pay(hold_for(token, "0.9", at=last), "0.7", at=last)
    assert (spent_by(token, at=last), spending.left(token, at=last)) == (Decimal("0.7"), Decimal("0.3"))
    assert (spent_by(token, at=next_one), spending.left(token, at=next_one)) == (Decimal(0), Decimal(1))
    pay(hold_for(token, "1", at=next_one), "0.2", at=next_one)
    assert spending.left(token, at=next_one) == Decimal("0.8")
    assert row_of(token).period_start == next_one.date()


def test_without_a_period_it_is_spent_once(alice: Person) -> None:
    token = limited(alice)
    pay(hold_for(token, "0.9"), "0.7")
    assert spending.left(token, at=MONDAY + 10_000 * DAY) == Decimal("0.3")
    assert row_of(token).period_start is None


def test_a_call_counts_in_the_period_in_which_it_ends_and_reserves_until_then(alice: Person) -> None:
    token = limited(alice, "1", "day")
    hold = hold_for(token, "0.6")
    assert spending.left(token, at=MONDAY + DAY) == Decimal("0.4")
    pay(hold, "0.5", at=MONDAY + DAY)
    assert spending.left(token, at=MONDAY + DAY) == Decimal("0.5")
    assert standing(token) == (Decimal("0.5"), Decimal(0))


def test_who_comes_late_from_yesterday_does_not_bring_it_back(alice: Person) -> None:
    """It took the time before midnight and then waited for the row: what was spent today stays spent."""
    token = limited(alice, "1", "day")
    late, early = hold_for(token, "0.3"), hold_for(token, "0.3")
    pay(early, "0.2", at=MONDAY + DAY)
    pay(late, "0.1", at=MONDAY)
    assert row_of(token).period_start == (MONDAY + DAY).date()
    assert spent_by(token, at=MONDAY + DAY) == Decimal("0.3")
    assert spent_by(token, at=MONDAY) == Decimal("0.3")
    with pytest.raises(WalletMoved):
        hold_for(token, "0.700000000001", at=MONDAY)


@pytest.mark.parametrize(
    ("before", "after", "spent"),
    [
        ("day", "month", "0.7"),  # today is in this month
        ("day", "", "0.7"),
        ("month", "day", "0"),  # what was spent this month is not of today
        ("", "day", "0"),
        ("week", "week", "0.7"),
    ],
)
def test_another_period_for_the_same_token(alice: Person, before: str, after: str, spent: str) -> None:
    token = limited(alice, "1", before)
    moment = MONDAY + DAY
    pay(hold_for(token, "0.9", at=moment), "0.7", at=moment)
    token = limited(alice, "1", after)
    assert spent_by(token, at=moment) == Decimal(spent)
    pay(hold_for(token, "0.1", at=moment), "0.1", at=moment)
    assert spent_by(token, at=moment) == Decimal(spent) + Decimal("0.1")


# --- Exact, and never beyond ------------------------------------------------------------------------------------------


def test_the_last_pico_dollar_can_be_reserved_and_no_more(alice: Person) -> None:
    token = limited(alice, "0.000000000003")
    hold_for(token, "0.000000000002")
    with pytest.raises(WalletMoved):
        hold_for(token, "0.000000000002")
    hold_for(token, "0.000000000001")
    assert spending.left(token, at=MONDAY) == Decimal(0)
    assert standing(token) == (Decimal(0), Decimal("0.000000000003"))


def test_no_limit_is_no_row(alice: Person, llm: LLM) -> None:
    fund(alice.workspace, "1")
    token = limited(alice, None)
    assert spending.left(token, at=MONDAY) is None
    assert spending.left(None, at=MONDAY) is None
    assert spending.allowance(token, at=MONDAY) is None
    message = answered(alice, make_conversation(alice), access_token=token)
    assert message.hold.access_token is None  # type: ignore[union-attr]
    assert not TokenSpend.objects.filter(workspace=alice.workspace).exists()


def test_a_limit_lowered_below_what_was_spent_leaves_nothing(alice: Person) -> None:
    pay(hold_for(limited(alice, "1"), "0.9"), "0.9")
    assert spending.left(limited(alice, "0.5"), at=MONDAY) == Decimal(0)


def test_a_limit_taken_away_under_way_is_settled_all_the_same(alice: Person) -> None:
    hold = hold_for(limited(alice, "1"), "0.9")
    token = limited(alice, None)
    pay(Hold.objects.get(workspace=alice.workspace, pk=hold.pk), "0.4")
    assert standing(token) == (Decimal("0.4"), Decimal(0))
