"""Spending limits of access tokens: what a token's calls may cost in a day, a week, a month, or altogether.

The same pattern as the wallet's: the worst case is reserved before a call and what it cost is counted after it, here on
a row of the token's own, locked after the hold and before the wallet. A call counts in the period in which it ends.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from billing.holds import WalletMoved
from billing.models import Hold, TokenSpend
from synapscale.common.money import ZERO
from workspaces.models import AccessToken, SpendPeriod


def period_start(period: str, *, at: datetime) -> date | None:
    """The first day, in UTC, of the period that ``at`` (aware) lies in; None for one without end."""
    today = at.astimezone(UTC).date()
    match period:
        case SpendPeriod.DAY:
            return today
        case SpendPeriod.WEEK:
            return today - timedelta(days=today.weekday())
        case SpendPeriod.MONTH:
            return today.replace(day=1)
    return None


@dataclass(frozen=True, slots=True)
class Allowance:
    """A token's limit and what is taken of it in the present period, in USD."""

    limit: Decimal
    spent: Decimal
    held: Decimal
    """Reserved by its calls under way."""

    @property
    def left(self) -> Decimal:
        """What its calls may still reserve, never below zero."""
        return max(self.limit - self.spent - self.held, ZERO)


def allowance(access_token: AccessToken | None, *, at: datetime) -> Allowance | None:
    """None when there is no limit. One query."""
    if access_token is None or access_token.spend_limit_usd is None:
        return None
    row = _row(access_token)
    if row is None:
        return Allowance(access_token.spend_limit_usd, ZERO, ZERO)
    return Allowance(access_token.spend_limit_usd, _spent(row, access_token, at=at), row.held)


def left(access_token: AccessToken | None, *, at: datetime) -> Decimal | None:
    """What calls of the token may still reserve, in USD, never below zero; None when it has no limit."""
    found = allowance(access_token, at=at)
    return None if found is None else found.left


def reserve(access_token: AccessToken, *, amount: Decimal, at: datetime) -> None:
    """Add ``amount`` to what the token's calls reserve. Raises WalletMoved when another call was faster."""
    assert access_token.spend_limit_usd is not None
    row = _locked(access_token)
    _begin_period(row, access_token, at=at)
    if row.spent + row.held + amount > access_token.spend_limit_usd:
        raise WalletMoved
    row.held += amount
    row.save(update_fields=["period_start", "spent", "held"])


def settle(hold: Hold, *, charged: Decimal, at: datetime) -> None:
    """Count what a resolved hold cost, and free what it reserved of its token's limit."""
    if hold.access_token is None:
        return
    row = _locked(hold.access_token)
    _begin_period(row, hold.access_token, at=at)
    row.spent += charged
    row.held -= hold.amount
    row.save(update_fields=["period_start", "spent", "held"])


def carry_over(*, old: AccessToken, new: AccessToken) -> None:
    """Let ``new``, which takes the place of ``old``, begin with what that one has spent in the present period."""
    row = _row(old)
    if row is not None:
        TokenSpend.objects.create(
            workspace_id=new.workspace_id, access_token=new, period_start=row.period_start, spent=row.spent
        )


def _row(access_token: AccessToken) -> TokenSpend | None:
    return TokenSpend.objects.filter(workspace_id=access_token.workspace_id, access_token=access_token).first()


def _locked(access_token: AccessToken) -> TokenSpend:
    rows = TokenSpend.objects.filter(workspace_id=access_token.workspace_id, access_token=access_token)
    TokenSpend.objects.get_or_create(workspace_id=access_token.workspace_id, access_token=access_token)
    return rows.select_for_update().get()


def _begin_period(row: TokenSpend, access_token: AccessToken, *, at: datetime) -> None:
    """Begin the token's present period, unless it has begun: then ``spent`` is of it already."""
    start = period_start(access_token.spend_period, at=at)
    if start is None:
        row.period_start = None
    elif _has_ended(row, start):
        row.spent, row.period_start = ZERO, start


def _spent(row: TokenSpend, access_token: AccessToken, *, at: datetime) -> Decimal:
    start = period_start(access_token.spend_period, at=at)
    return ZERO if start is not None and _has_ended(row, start) else row.spent


def _has_ended(row: TokenSpend, start: date) -> bool:
    """Whether the period that ``row.spent`` is of lies before the one that began on ``start``.

    Never the other way round: who took the time just before midnight and then waited for the row must not bring
    yesterday back, and forget what was spent since.
    """
    return row.period_start is None or row.period_start < start
