"""What operators do with money, each confirmed before it is done, and with the password where it is much.

Each is done once for a reference that is made with the form, so a double click, a reload or a form that is sent again moves
nothing twice.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, ClassVar

from django import forms
from django.contrib import messages
from django.db import transaction
from django.utils import formats, timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.widgets import UnfoldAdminTextInputWidget

from billing import ledger, passwords, recent_moves, wallet_ledger
from billing.models import BillingEvent, Wallet
from billing.passwords import PasswordForm
from synapscale.common import audit
from synapscale.common.amounts import dollars
from synapscale.common.confirming import Deed, Facts, OnceField, Said, reason_field
from synapscale.common.money import ZERO, usd_text
from synapscale.common.presenting import MoneyInput
from workspaces.models import User


class ReasonForm(forms.Form):
    reference = OnceField()
    reason = reason_field(gettext_lazy("Kept with the movement; the customer may read it."))


class AmountForm(ReasonForm):
    amount = MoneyInput(max_digits=19, decimal_places=12, label=gettext_lazy("Amount, USD"))
    field_order: Iterable[str] | None = ("amount", "reason")


class TopUpForm(AmountForm):
    payment = forms.CharField(
        required=False,
        max_length=100,
        label=gettext_lazy("Payment"),
        help_text=gettext_lazy("The payment's number at the bank or the payment provider, if there is one."),
        widget=UnfoldAdminTextInputWidget(),
    )
    field_order = ("amount", "payment", "reason")


@dataclass(frozen=True)
class Done:
    """What was done: in words for the history, in a sentence for whoever did it, and whether it is new."""

    what: Any
    said: str
    is_new: bool
    facts: dict[str, Any] = field(default_factory=dict)
    """Written down in the history."""


@dataclass(frozen=True)
class MoneyAction(Deed):
    """One of the things below, on ``wallet``."""

    wallet: Wallet

    form: ClassVar[type[forms.Form]] = AmountForm

    @property
    def subject(self) -> str:
        return self.wallet.workspace.name

    def facts(self) -> Facts:
        return [
            (_("Balance"), dollars(self.wallet.balance)),
            (_("Held for calls under way"), dollars(self.wallet.held)),
            (_("Available"), dollars(self.wallet.available)),
        ]

    def moves(self, given: Mapping[str, Any]) -> Decimal:
        """What is added to the balance (USD)."""
        return Decimal(given["amount"])

    def effect(self, given: Mapping[str, Any]) -> Facts:
        moved = self.moves(given)
        return [
            (_("Moves"), f"{'+' if moved > 0 else ''}{dollars(moved)}"),
            (_("Balance"), f"{dollars(self.wallet.balance)} → {dollars(self.wallet.balance + moved)}"),
            (_("Available"), f"{dollars(self.wallet.available)} → {dollars(self.wallet.available + moved)}"),
        ]

    def proof(self, given: Mapping[str, Any], data: Any, *, user: User) -> PasswordForm | None:
        asks = self._asks(given, user)
        return PasswordForm(data, user=user, asks=asks) if asks else None

    @contextmanager
    def alone(self, user: User) -> Iterator[None]:
        with transaction.atomic():
            passwords.one_after_another(user)
            yield

    def _asks(self, given: Mapping[str, Any], user: User) -> str:
        return passwords.reason_to_ask(user, self.moves(given), wallet=self.wallet.pk, reference=given["reference"])

    def do(self, given: Mapping[str, Any], *, actor: User) -> Said:
        wallets = Wallet.objects.filter(workspace_id=self.wallet.workspace_id, pk=self.wallet.pk)
        with transaction.atomic():
            before = wallets.select_for_update(no_key=True).get()  # what the audit log says was before
            before.workspace = self.wallet.workspace  # whose name the audit log says
            asked = self._asks(given, actor)  # whoever comes here has given what was asked for
            done = self.move(given, actor=actor)
            if not done.is_new:
                return Said(_("This was done already; nothing was done twice."), messages.WARNING)
            audit.record(
                before,
                what=done.what,
                changes=_moved(before, wallets.get()),
                actor=actor,
                reason=given["reason"],
                reference=given["reference"],
                **({recent_moves.PASSWORD: True} if asked else {}),
                **done.facts,
            )
        return Said(done.said)

    @abstractmethod
    def move(self, given: Mapping[str, Any], *, actor: User) -> Done:
        """Do it, in the caller's transaction. Raises a Refusal."""


def _moved(before: Wallet, now: Wallet) -> dict[str, audit.Change]:
    changes: dict[str, audit.Change] = {"balance": (usd_text(before.balance), usd_text(now.balance))}
    changes["status"] = (before.status, now.status)
    return {name: (old, new) for name, (old, new) in changes.items() if old != new}


class TopUp(MoneyAction):
    title = gettext_lazy("Top up")
    button = gettext_lazy("Top up")
    form = TopUpForm
    permission = "billing.top_up_wallet"

    def move(self, given: Mapping[str, Any], *, actor: User) -> Done:
        event, is_new = ledger.credit(
            workspace=self.wallet.workspace,
            amount=given["amount"],
            reference=given["reference"],
            description=given["reason"],
            actor=actor,
            payment_transaction_id=given["payment"],
        )
        said = _("Topped up by %(amount)s.") % {"amount": dollars(event.amount_usd)}
        return Done(gettext_lazy("Topped up."), said, is_new)


class Adjust(MoneyAction):
    title = gettext_lazy("Adjust the balance")
    button = gettext_lazy("Adjust")
    permission = "billing.adjust_wallet"

    def move(self, given: Mapping[str, Any], *, actor: User) -> Done:
        event, is_new = ledger.adjust(
            workspace=self.wallet.workspace,
            amount=given["amount"],
            reference=given["reference"],
            description=given["reason"],
            actor=actor,
        )
        said = _("Adjusted by %(amount)s.") % {"amount": dollars(event.amount_usd)}
        return Done(gettext_lazy("Adjusted."), said, is_new)


@dataclass(frozen=True)
class Refund(MoneyAction):
    original: BillingEvent

    title = gettext_lazy("Refund a charge")
    button = gettext_lazy("Refund")
    permission = "billing.refund_billingevent"

    @property
    def left(self) -> Decimal:
        return -self.original.amount_usd - wallet_ledger.refunded(self.original)

    def initial(self) -> dict[str, Any]:
        return {"amount": self.left}

    @property
    def _charge(self) -> Facts:
        """Which one it is: beside it in the ledger stand others that look the same."""
        event, somebody = self.original, self.original.user
        at = formats.date_format(timezone.localtime(event.created_at), "SHORT_DATETIME_FORMAT", use_l10n=True)
        found: Facts = [(_("Charge"), _("number %(number)s of %(time)s") % {"number": event.seq, "time": at})]
        if somebody:
            found.append((_("Whose call"), somebody.email))
        if event.description:
            found.append((_("What for"), event.description))
        return found

    def facts(self) -> Facts:
        return [
            *self._charge,
            (_("Charged"), dollars(-self.original.amount_usd)),
            (_("Refunded so far"), dollars(-self.original.amount_usd - self.left)),
            (_("At most"), dollars(self.left)),
            *super().facts(),
        ]

    def effect(self, given: Mapping[str, Any]) -> Facts:
        return [*self._charge, *super().effect(given)]

    def move(self, given: Mapping[str, Any], *, actor: User) -> Done:
        event, is_new = ledger.refund(
            original=self.original,
            amount=given["amount"],
            reference=given["reference"],
            description=given["reason"],
            actor=actor,
        )
        said = _("Refunded %(amount)s of the charge %(charge)s.") % {
            "amount": dollars(event.amount_usd),
            "charge": self.original.reference,
        }
        return Done(gettext_lazy("Refunded a charge."), said, is_new, {"charge": self.original.reference})


class _Switch(MoneyAction):
    form = ReasonForm
    permission = "billing.suspend_wallet"
    to: ClassVar[str]
    what: ClassVar[Any]

    def moves(self, given: Mapping[str, Any]) -> Decimal:
        return ZERO

    def move(self, given: Mapping[str, Any], *, actor: User) -> Done:
        rows = Wallet.objects.filter(workspace_id=self.wallet.workspace_id, pk=self.wallet.pk)
        is_new = bool(rows.exclude(status=self.to).update(status=self.to))
        return Done(self.what, str(self.what), is_new)


class Suspend(_Switch):
    title = gettext_lazy("Suspend the wallet")
    button = gettext_lazy("Suspend")
    to = Wallet.Status.SUSPENDED
    what = gettext_lazy("Suspended.")
    is_dangerous = True

    def effect(self, given: Mapping[str, Any]) -> Facts:
        return [
            (_("New calls that cost money"), _("refused from now on")),
            (_("Calls under way"), _("finish, and are charged: %(held)s held") % {"held": dollars(self.wallet.held)}),
            (_("Balance"), _("%(balance)s, stays") % {"balance": dollars(self.wallet.balance)}),
        ]


class Reopen(_Switch):
    title = gettext_lazy("Open the wallet again")
    button = gettext_lazy("Open again")
    to = Wallet.Status.OPEN
    what = gettext_lazy("Opened again.")

    def effect(self, given: Mapping[str, Any]) -> Facts:
        return [
            (_("New calls"), _("answered again")),
            (_("Available"), dollars(self.wallet.available)),
        ]
