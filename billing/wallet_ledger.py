"""A wallet's ledger as operators read it: the newest event first, and whether each continues the one before it."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.db.models import Sum

from billing.models import BillingEvent, Wallet
from synapscale.common import stored_words
from synapscale.common.amounts import dollars
from synapscale.common.money import ZERO


@dataclass(frozen=True, slots=True)
class Line:
    """One event, and what there is to know of it."""

    event: BillingEvent
    refunded: Decimal
    """Of a charge, what was given back so far."""
    continues: bool
    """Whether its number and its balance follow from the event before it."""

    @property
    def amount(self) -> str:
        return f"{'+' if self.event.amount_usd > 0 else ''}{dollars(self.event.amount_usd)}"

    @property
    def description(self) -> str:
        return stored_words.said(self.event, "description")

    @property
    def balance_after(self) -> str:
        return dollars(self.event.balance_after)

    @property
    def refunded_so_far(self) -> str:
        return dollars(self.refunded) if self.refunded else ""

    @property
    def is_refundable(self) -> bool:
        """A charge of which something is left to give back."""
        return -self.event.amount_usd > self.refunded

    @property
    def who(self) -> str:
        """The operator who did it; else whose call it was."""
        somebody = self.event.actor or self.event.user
        return somebody.email if somebody else ""

    @property
    def usage(self) -> Any:
        """What was charged, or, for a refund or correction, what its original charged; None where that is no call."""
        return usage_of(self.event)


@dataclass(frozen=True, slots=True)
class Page:
    lines: list[Line]
    newer: int | None
    """Below which number the page of newer events begins; None on the first page."""
    older: int | None
    """The same of older ones; None on the last page."""
    total: int

    @property
    def is_unbroken(self) -> bool:
        return all(line.continues for line in self.lines)


def usage_of(event: BillingEvent) -> Any:
    """The usage an event charged, or, for a refund or correction, the usage its original charged."""
    for charge in (event, event.original):
        if charge is not None:
            for log in charge.usage_logs.all():
                return log
    return None


def page(wallet: Wallet, *, size: int, before: int | None = None) -> Page:
    """So many events below number ``before``, or the newest. Numbers have no gaps, so nothing is counted. Four queries."""
    events = BillingEvent.objects.filter(workspace_id=wallet.workspace_id, wallet_id=wallet.pk)
    events = events.select_related("user", "actor", "original").defer("metadata", "original__metadata")
    if before is not None:
        events = events.filter(seq__lt=before)
    # One more than is shown, for the last one to continue.
    found = list(events.prefetch_related("usage_logs", "original__usage_logs").order_by("-seq")[: size + 1])
    shown = found[:size]
    given_back = _refunded(wallet.workspace_id, shown)
    lines = [
        Line(
            event,
            given_back.get(event.pk, ZERO),
            _continues(event, found[place + 1] if place + 1 < len(found) else None),
        )
        for place, event in enumerate(shown)
    ]
    is_first = not shown or before is None or shown[0].seq >= wallet.seq
    return Page(
        lines=lines,
        newer=None if is_first else shown[0].seq + size + 1,
        older=shown[-1].seq if len(found) > size else None,
        total=wallet.seq,
    )


def _continues(event: BillingEvent, previous: BillingEvent | None) -> bool:
    seq, balance = (previous.seq, previous.balance_after) if previous else (0, ZERO)
    return event.seq == seq + 1 and event.balance_after == balance + event.amount_usd


def refunded(charge: BillingEvent) -> Decimal:
    """What was given back of ``charge`` so far, in USD."""
    return _refunded(charge.workspace_id, [charge]).get(charge.pk, ZERO)


def _refunded(workspace_id: uuid.UUID, events: Iterable[BillingEvent]) -> dict[Any, Decimal]:
    charges = [event.pk for event in events if event.amount_usd < 0]
    if not charges:
        return {}
    refunds = BillingEvent.objects.filter(
        workspace_id=workspace_id, original_id__in=charges, event_type=BillingEvent.Type.REFUND
    )
    return dict(refunds.order_by().values_list("original_id").annotate(Sum("amount_usd")))
