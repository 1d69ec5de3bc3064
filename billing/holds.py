"""Reserving money before a call, and resolving the reservation exactly once.

A hold's row is the compare-and-set token of its call: whoever turns it from ``held`` into a terminal state finishes the
call, everybody else finds it gone. Each function here is one guarded statement; the caller owns the transaction.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection
from datetime import timedelta
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import DateTimeField, ExpressionWrapper, F, Q
from django.db.models.functions import Now

from billing.models import Hold, Wallet
from synapscale.common import metrics, processes
from synapscale.common.errors import Forbidden
from synapscale.common.money import ZERO, usd
from synapscale.common.processes import Condition
from synapscale.common.tenancy import fleet_wide
from workspaces.models import AccessToken

HANGS_AFTER = timedelta(minutes=15)
"""A process that has not renewed a lease for so long after its end hangs."""


class HoldGone(Exception):
    """The hold was resolved already, by another process or an earlier try."""


class WalletMoved(Exception):
    """The wallet no longer covers the hold: another call was faster. Roll back, look again."""


def lease_end() -> Any:
    """When a lease that starts now runs out, on the database's clock."""
    lease = timedelta(seconds=settings.HOLD_LEASE_SECONDS)
    return ExpressionWrapper(Now() + lease, output_field=DateTimeField())


def open_hold(
    *,
    wallet: Wallet,
    user_id: uuid.UUID,
    amount: Decimal,
    access_token: AccessToken | None = None,
    is_dispatched: bool = False,
) -> Hold:
    """Insert the hold's row. The money itself is reserved by ``reserve``, last in the transaction.

    ``access_token`` is the one whose spending limit the call counts against.
    """
    transaction.on_commit(metrics.HOLDS_OPENED.inc, robust=True)
    return Hold.objects.create(
        workspace_id=wallet.workspace_id,
        wallet=wallet,
        user_id=user_id,
        access_token=access_token,
        amount=amount,
        is_dispatched=is_dispatched,
        lease_until=lease_end(),
        owner=processes.own_identity(),
    )


def reserve(*, wallet: Wallet, amount: Decimal) -> None:
    """Add ``amount`` to what the wallet holds, if it covers it, in one statement. Raises WalletMoved or Forbidden."""
    rows = Wallet.objects.filter(workspace_id=wallet.workspace_id, pk=wallet.pk, status=Wallet.Status.OPEN)
    covered = Q(mode=Wallet.Mode.UNTRACKED) | Q(balance__gte=F("held") - F("credit_limit") + usd(amount))
    if amount != ZERO and rows.filter(covered).update(held=F("held") + usd(amount)) == 1:
        return
    if not rows.exists():
        raise Forbidden("The wallet is suspended.", code="wallet_suspended")
    if amount != ZERO:
        raise WalletMoved


def dispatch(*, workspace_id: uuid.UUID, hold_id: uuid.UUID) -> None:
    """Note, before the request leaves, that the provider may have been called. Raises HoldGone."""
    _while_held(workspace_id, hold_id, is_dispatched=True, lease_until=lease_end())


def renew(*, workspace_id: uuid.UUID, hold_id: uuid.UUID) -> None:
    """Keep the lease alive. Raises HoldGone: then the call must stop, somebody else has finished it."""
    _while_held(workspace_id, hold_id, lease_until=lease_end())


def resolve(*, hold: Hold, state: str, charged: Decimal) -> None:
    """Turn ``held`` into ``state`` for good. Raises HoldGone when it is not held any more."""
    _while_held(hold.workspace_id, hold.pk, state=state, charged=charged, resolved_at=Now())
    transaction.on_commit(metrics.HOLDS_RESOLVED.labels(state).inc, robust=True)


def give_back(*, hold: Hold) -> None:
    """Free a resolved hold that cost nothing. The wallet is touched here, so this comes last in the transaction."""
    if hold.amount == ZERO:
        return
    wallets = Wallet.objects.filter(workspace_id=hold.workspace_id, pk=hold.wallet_id, held__gte=hold.amount)
    if wallets.update(held=F("held") - usd(hold.amount)) != 1:
        raise AssertionError(f"wallet {hold.wallet_id} does not hold what hold {hold.pk} gives back")


def abandoned(*, running: Collection[uuid.UUID] = (), judges_others: bool = True) -> Q:
    """Open holds whose call nobody runs any more: the lease ran out, or the process is known to be dead.

    The second spares everybody the wait when a server is started again on the machine it died on. A lease also runs out
    while the database is away, with the call under way all the same. So never the holds ``running`` in this process;
    those of another process that is known to live only after a quarter of an hour, when it must hang; and those of
    processes of which nothing is known (on other machines) only where ``judges_others``.
    """
    held, lapsed = Q(state=Hold.State.HELD), Q(lease_until__lt=Now())
    with fleet_wide():
        owners = Hold.objects.filter(held).exclude(owner="").values_list("owner", flat=True).order_by().distinct()
        conditions = {owner: processes.condition(owner) for owner in owners}
    own = processes.own_identity()
    dead = [owner for owner, condition in conditions.items() if condition is Condition.DEAD]
    alive = [owner for owner, condition in conditions.items() if condition is Condition.ALIVE and owner != own]
    due = lapsed & ~Q(owner__in=alive)
    if not judges_others:
        stopped = [owner for owner, condition in conditions.items() if condition is Condition.STOPPED]
        due &= Q(owner__in=[own, *stopped])
    hangs = Q(lease_until__lt=ExpressionWrapper(Now() - HANGS_AFTER, output_field=DateTimeField()))
    return held & ~Q(pk__in=running) & (Q(owner__in=dead) | due | hangs)


def _while_held(workspace_id: uuid.UUID, hold_id: uuid.UUID, **changes: Any) -> None:
    rows = Hold.objects.filter(workspace_id=workspace_id, pk=hold_id, state=Hold.State.HELD)
    if rows.update(**changes) != 1:
        raise HoldGone
