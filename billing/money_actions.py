"""What operators do with money: what each asks for, what it would do, and doing it. ``billing.money_page`` shows them.

Each is done once for a reference that is made with the form, so a form that is sent twice moves nothing twice.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, ClassVar

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.widgets import UnfoldAdminDecimalFieldWidget, UnfoldAdminTextareaWidget, UnfoldAdminTextInputWidget

from billing import ledger, wallet_ledger
from billing.models import BillingEvent, Wallet
from synapscale.common.models import new_id
from synapscale.common.money import ZERO, usd_text
from workspaces.models import User

Effect = list[tuple[str, str]]


def new_reference() -> str:
    return f"office:{new_id()}"


class ReasonForm(forms.Form):
    reason = forms.CharField(
        max_length=300,
        label=gettext_lazy("Reason"),
        help_text=gettext_lazy("Kept with the movement; the customer may read it."),
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}),
    )


class AmountForm(ReasonForm):
    amount = forms.DecimalField(
        max_digits=19,
        decimal_places=12,
        label=gettext_lazy("Amount, USD"),
        widget=UnfoldAdminDecimalFieldWidget(),
    )
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
class MoneyAction(ABC):
    """One of the things below, on ``wallet``."""

    wallet: Wallet

    title: ClassVar[Any]
    button: ClassVar[Any]
    form: ClassVar[type[forms.Form]] = AmountForm
    permission: ClassVar[str]

    def initial(self) -> dict[str, Any]:
        return {}

    def facts(self) -> Effect:
        """What is worth knowing before."""
        return [
            (_("Balance"), usd_text(self.wallet.balance)),
            (_("Held for calls under way"), usd_text(self.wallet.held)),
            (_("Available"), usd_text(self.wallet.available)),
        ]

    def moves(self, given: dict[str, Any]) -> Decimal:
        """What is added to the balance (USD)."""
        return Decimal(given["amount"])

    def effect(self, given: dict[str, Any]) -> Effect:
        moved = self.moves(given)
        return [
            (_("Moves"), f"{'+' if moved > 0 else ''}{usd_text(moved)}"),
            (_("Balance"), f"{usd_text(self.wallet.balance)} → {usd_text(self.wallet.balance + moved)}"),
            (_("Available"), f"{usd_text(self.wallet.available)} → {usd_text(self.wallet.available + moved)}"),
        ]

    @abstractmethod
    def do(self, given: dict[str, Any], *, reference: str, actor: User) -> tuple[str, bool]:
        """Do it, in the caller's transaction: what was done in words for the history, and whether it is new.

        Raises a Refusal.
        """


class TopUp(MoneyAction):
    title = gettext_lazy("Top up")
    button = gettext_lazy("Top up")
    form = TopUpForm
    permission = "billing.top_up_wallet"

    def do(self, given: dict[str, Any], *, reference: str, actor: User) -> tuple[str, bool]:
        event, is_new = ledger.credit(
            workspace=self.wallet.workspace,
            amount=given["amount"],
            reference=reference,
            description=given["reason"],
            actor=actor,
            payment_transaction_id=given["payment"],
        )
        return f"Topped up by {usd_text(event.amount_usd)} USD", is_new


class Adjust(MoneyAction):
    title = gettext_lazy("Adjust the balance")
    button = gettext_lazy("Adjust")
    permission = "billing.adjust_wallet"

    def do(self, given: dict[str, Any], *, reference: str, actor: User) -> tuple[str, bool]:
        event, is_new = ledger.adjust(
            workspace=self.wallet.workspace,
            amount=given["amount"],
            reference=reference,
            description=given["reason"],
            actor=actor,
        )
        return f"Adjusted by {usd_text(event.amount_usd)} USD", is_new


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
        return {"amount": usd_text(self.left)}

    def facts(self) -> Effect:
        return [
            (_("Charged"), usd_text(-self.original.amount_usd)),
            (_("Refunded so far"), usd_text(-self.original.amount_usd - self.left)),
            (_("At most"), usd_text(self.left)),
            *super().facts(),
        ]

    def do(self, given: dict[str, Any], *, reference: str, actor: User) -> tuple[str, bool]:
        event, is_new = ledger.refund(
            original=self.original,
            amount=given["amount"],
            reference=reference,
            description=given["reason"],
            actor=actor,
        )
        return f"Refunded {usd_text(event.amount_usd)} USD of the charge {self.original.reference}", is_new


class _Switch(MoneyAction):
    form = ReasonForm
    permission = "billing.suspend_wallet"
    to: ClassVar[str]

    def moves(self, given: dict[str, Any]) -> Decimal:
        return ZERO

    def do(self, given: dict[str, Any], *, reference: str, actor: User) -> tuple[str, bool]:
        rows = Wallet.objects.filter(workspace_id=self.wallet.workspace_id, pk=self.wallet.pk)
        is_new = bool(rows.exclude(status=self.to).update(status=self.to))
        return "Suspended" if self.to == Wallet.Status.SUSPENDED else "Opened again", is_new


class Suspend(_Switch):
    title = gettext_lazy("Suspend the wallet")
    button = gettext_lazy("Suspend")
    to = Wallet.Status.SUSPENDED

    def effect(self, given: dict[str, Any]) -> Effect:
        return [
            (_("New calls that cost money"), _("refused from now on")),
            (_("Calls under way"), _("finish, and are charged: %(held)s held") % {"held": usd_text(self.wallet.held)}),
            (_("Balance"), _("%(balance)s, stays") % {"balance": usd_text(self.wallet.balance)}),
        ]


class Reopen(_Switch):
    title = gettext_lazy("Open the wallet again")
    button = gettext_lazy("Open again")
    to = Wallet.Status.OPEN

    def effect(self, given: dict[str, Any]) -> Effect:
        return [
            (_("New calls"), _("answered again")),
            (_("Available"), usd_text(self.wallet.available)),
        ]
