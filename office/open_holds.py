"""Open holds, and why each is open. What happens to a hold is told in ``docs/architecture.md``."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db.models import BooleanField, ExpressionWrapper, Q, QuerySet
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.translation import gettext as _

from billing.holds import HANGS_AFTER
from billing.models import Hold, Wallet
from conversations import settling
from conversations.models import Message
from synapscale.common import processes
from synapscale.common.amounts import dollars
from synapscale.common.processes import Condition

SHOWN = 20
LATE = HANGS_AFTER + timedelta(minutes=5)
"""By then a sweep has settled any hold, if there is one that runs."""


@dataclass(frozen=True, slots=True)
class OpenHold:
    hold: Hold
    message: Message | None
    why: str
    is_wrong: bool
    """Whether nobody looks after it any more, so that an operator should."""

    @property
    def amount(self) -> str:
        return dollars(self.hold.amount)


def of_wallet(wallet: Wallet) -> list[OpenHold]:
    """The newest ones. Two queries."""
    rows = Hold.objects.filter(workspace_id=wallet.workspace_id, wallet_id=wallet.pk, state=Hold.State.HELD)
    return _explained(wallet.workspace_id, rows)


def of_hold(hold: Hold) -> OpenHold | None:
    """None where it is settled. At most two queries."""
    if hold.state != Hold.State.HELD:
        return None
    rows = Hold.objects.filter(workspace_id=hold.workspace_id, pk=hold.pk, state=Hold.State.HELD)
    return next(iter(_explained(hold.workspace_id, rows)), None)


def _explained(workspace_id: uuid.UUID, rows: QuerySet[Hold]) -> list[OpenHold]:
    lapsed = ExpressionWrapper(Q(lease_until__lt=Now()), output_field=BooleanField())  # on the database's clock
    found: list[Any] = list(rows.select_related("user").annotate(has_lapsed=lapsed).order_by("-id")[:SHOWN])
    messages = Message.objects.filter(workspace_id=workspace_id, hold_id__in=[hold.pk for hold in found])
    # Nothing that was said is read.
    messages = messages.select_related("llm").only(
        "workspace_id", "hold_id", "status", "attempt", "llm__provider", "llm__name"
    )
    by_hold = {message.hold_id: message for message in messages} if found else {}
    return [_told(hold, by_hold.get(hold.pk), has_lapsed=hold.has_lapsed) for hold in found]


def _told(hold: Hold, message: Message | None, *, has_lapsed: bool) -> OpenHold:
    why, is_wrong = _why(hold, message, has_lapsed=has_lapsed)
    return OpenHold(hold, message, why, is_wrong)


def _why(hold: Hold, message: Message | None, *, has_lapsed: bool) -> tuple[str, bool]:
    process = processes.condition(hold.owner)
    if has_lapsed and timezone.now() - hold.lease_until > LATE:
        return _("Its lease ran out long ago and no sweep has settled it: see whether the sweep runs."), True
    if process is Condition.DEAD:
        return _("The process that made the call has died; the next sweep settles it."), True
    if has_lapsed and process is Condition.ALIVE:
        minutes = int(HANGS_AFTER.total_seconds() // 60)
        return _(
            "Its lease has run out, but the process that makes the call is alive and may renew it; after "
            "%(minutes)s minutes a sweep settles it."
        ) % {"minutes": minutes}, True
    if has_lapsed:
        return _("Its lease has run out: nobody looks after the call any more; the next sweep settles it."), True
    if message is None:
        return _("It belongs to no message: it is given back when its lease runs out."), True
    if message.is_final:
        return _("The answer is complete but not booked; a sweep books it when the lease runs out."), True
    if settling.is_spooled(message.pk):
        return _("The answer is complete and on disk; it is being booked."), False
    if not hold.is_dispatched:
        return _("The call was admitted; the provider has not been called yet."), False
    if message.status == Message.Status.STREAMING:
        return _("The answer is being written."), False
    return _("The provider has been called; nothing of the answer has been saved yet."), False
