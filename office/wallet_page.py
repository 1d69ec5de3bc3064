"""Back office: what a wallet's page says before its rules (what it has, whether that is right, what is open) and after them
(the newest events of its ledger).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

from django.db.models import Count, IntegerField, Subquery, Sum
from django.db.models.functions import Coalesce
from django.http import HttpRequest
from django.urls import reverse
from django.utils import formats, timezone
from django.utils.translation import gettext as _
from django.utils.translation import pgettext

from analytics import query
from analytics.query import Wanted
from billing import wallet_ledger
from billing.models import BillingEvent, Hold, Wallet
from office import open_holds
from office.lasting import RATE_DAYS, days_left
from synapscale.common.amounts import dollars
from synapscale.common.money import ZERO, UsdField

EVENTS = 25


@dataclass(frozen=True, slots=True)
class Tile:
    title: str
    value: str
    note: str = ""
    url: str = ""


@dataclass(frozen=True, slots=True)
class Check:
    """Whether two figures that must be the same are, in words."""

    words: str
    holds: bool


def context(request: HttpRequest, wallet: Wallet) -> dict[str, Any]:
    """At most nine queries."""
    user = request.user
    found = _as_it_is(wallet)
    shown: dict[str, Any] = {
        "wallet": found,
        "tiles": _money(found),
        "checks": [_balance_check(found), _held_check(found)],
        "sees_usage": user.has_perm("conversations.view_usagelog"),
    }
    if shown["sees_usage"]:
        shown["tiles"] += _spending(found)
    if user.has_perm("billing.view_hold"):
        holds = open_holds.of_wallet(found)
        query_ = urlencode({"workspace__id__exact": found.workspace_id, "state__exact": "held"})
        shown |= {
            "holds": holds,
            "more_holds": max(found.open_holds - len(holds), 0),
            "holds_url": f"{reverse('admin:billing_hold_changelist')}?{query_}",
        }
    if user.has_perm("billing.view_billingevent"):
        shown |= {
            "ledger": wallet_ledger.page(found, size=EVENTS),
            "ledger_url": reverse("admin:billing_wallet_ledger", args=[found.pk]),
        }
    return shown


def _as_it_is(wallet: Wallet) -> Any:
    """The wallet with its newest event and its open holds. One statement, so that all of it is of one moment."""
    events = BillingEvent.objects.filter(workspace_id=wallet.workspace_id, wallet_id=wallet.pk).order_by("-seq")
    holds = Hold.objects.filter(workspace_id=wallet.workspace_id, wallet_id=wallet.pk, state=Hold.State.HELD)
    of_holds = holds.order_by().values("wallet_id")
    money, number = UsdField(), IntegerField()
    rows = Wallet.objects.filter(workspace_id=wallet.workspace_id, pk=wallet.pk).select_related("workspace")
    return rows.annotate(
        last_seq=Coalesce(Subquery(events.values("seq")[:1]), 0, output_field=number),
        last_balance=Subquery(events.values("balance_after")[:1], output_field=money),
        held_by_holds=Subquery(of_holds.annotate(sum=Sum("amount")).values("sum"), output_field=money),
        open_holds=Coalesce(Subquery(of_holds.annotate(n=Count("pk")).values("n")), 0, output_field=number),
    ).get()


def _money(wallet: Any) -> list[Tile]:
    tiles = [
        Tile(_("Balance"), dollars(wallet.balance), wallet.get_mode_display()),
        Tile(pgettext("money", "Held"), dollars(wallet.held), _("reserved for calls under way")),
        Tile(_("Available"), dollars(wallet.available), _("what new calls may reserve")),
    ]
    if wallet.mode == Wallet.Mode.POSTPAID:
        tiles.append(Tile(_("Credit limit"), dollars(wallet.credit_limit), _("how far below zero it may go")))
    is_open = wallet.status == Wallet.Status.OPEN
    said = _("calls are answered") if is_open else _("calls that cost money are refused")
    return [*tiles, Tile(_("Status"), wallet.get_status_display(), said)]


def _spending(wallet: Wallet) -> list[Tile]:
    """From the same figures as the front page's. One query."""
    now = timezone.now()
    month, rate, day = (now - timedelta(days=days) for days in (30, RATE_DAYS, 1))
    answer = query.figures(Wanted(wallet.workspace_id), edges=[month, rate, day, now])
    spent = {period: figures.charged_usd for (period, _key), figures in answer.figures.items()}
    today, week = spent.get(2, ZERO), spent.get(1, ZERO) + spent.get(2, ZERO)

    def tile(title: str, amount: Decimal, since: datetime) -> Tile:
        filters = urlencode({"workspace__id__exact": wallet.workspace_id, "created_at__gte": since.isoformat()})
        url = f"{reverse('admin:conversations_usagelog_changelist')}?{filters}"
        return Tile(title, dollars(amount), _("charged for calls"), url)

    tiles = [tile(_("Spent in 24 hours"), today, day), tile(_("Spent in 30 days"), spent.get(0, ZERO) + week, month)]
    lasts = days_left(wallet, week)
    if lasts is not None:
        days = formats.number_format(lasts, decimal_pos=1 if lasts < 10 else 0, force_grouping=True)
        runs_dry = _("%(days)s days") % {"days": days}
        tiles.append(
            Tile(_("Runs dry in about"), runs_dry, _("at the rate of the last %(days)s days") % {"days": RATE_DAYS})
        )
    return tiles


def _balance_check(wallet: Any) -> Check:
    last = ZERO if wallet.last_balance is None else wallet.last_balance
    if (wallet.last_seq, last) == (wallet.seq, wallet.balance):
        if not wallet.seq:
            return Check(_("The ledger has no event, and the balance is zero."), True)
        return Check(_("The newest event of the ledger leaves exactly the wallet's balance."), True)
    said = _(
        "The newest event of the ledger, number %(seq)s, leaves %(after)s; the wallet has the balance %(balance)s at number "
        "%(number)s. Run “manage.py audit_ledger”."
    )
    after, balance = dollars(last), dollars(wallet.balance)
    return Check(said % {"seq": wallet.last_seq, "after": after, "balance": balance, "number": wallet.seq}, False)


def _held_check(wallet: Any) -> Check:
    held = wallet.held_by_holds or ZERO
    if held == wallet.held:
        if not wallet.open_holds:
            return Check(_("No hold is open, and nothing is held."), True)
        return Check(_("The open holds add up to exactly what the wallet holds."), True)
    said = _("The open holds add up to %(sum)s; the wallet holds %(held)s. Run “manage.py audit_ledger”.")
    return Check(said % {"sum": dollars(held), "held": dollars(wallet.held)}, False)
