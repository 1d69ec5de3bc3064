"""Money: wallets, holds and the ledger. Balances are written by ``billing.ledger`` alone."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator
from django.db import models
from django.db.models import F, Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.utils.translation import gettext_noop, pgettext_lazy

from synapscale.common.amounts import dollars
from synapscale.common.models import TenantFK, TenantModel
from synapscale.common.money import MAX_USD, UsdField


class Wallet(TenantModel):
    """A workspace's money. ``available = balance + credit_limit - held``."""

    class Mode(models.TextChoices):
        PREPAID = "prepaid", _("Prepaid: never below zero")
        POSTPAID = "postpaid", _("Postpaid: down to the credit limit")
        UNTRACKED = "untracked", _("Untracked: metered, not charged")

    class Status(models.TextChoices):
        OPEN = "open", _("Open")
        SUSPENDED = "suspended", pgettext_lazy("wallet", "Suspended")

    mode = models.CharField(max_length=20, choices=Mode, default=Mode.PREPAID)
    status = models.CharField(max_length=20, choices=Status, default=Status.OPEN)
    balance = UsdField(default=0, editable=False)
    held = UsdField(default=0, editable=False, help_text=_("Reserved for calls under way."))
    credit_limit = UsdField(default=0, help_text=_("How far below zero a postpaid balance may go, in USD."))
    seq = models.PositiveBigIntegerField(default=0, editable=False, help_text=_("Number of the last ledger event."))
    markup_bps = models.PositiveIntegerField(
        default=0,
        validators=[MaxValueValidator(100_000)],
        help_text=_("Added to the provider's price, in hundredths of a percent (250 = 2.5 %)."),
    )
    own_key_fee_bps = models.PositiveIntegerField(
        default=0,
        validators=[MaxValueValidator(100_000)],
        help_text=_(
            "Platform fee of calls on own keys: this part of the provider's price, in hundredths of a percent."
        ),
    )

    class Meta:
        db_table = "wallets"
        permissions = [
            ("top_up_wallet", gettext_noop(gettext_noop("Can top up a wallet"))),
            ("adjust_wallet", gettext_noop(gettext_noop("Can adjust a balance"))),
            ("suspend_wallet", gettext_noop(gettext_noop("Can suspend a wallet and open it again"))),
        ]
        constraints = [
            *TenantModel.Meta.constraints,
            models.UniqueConstraint(fields=["workspace"], name="wallets_one_per_workspace"),
            models.CheckConstraint(condition=Q(held__gte=0), name="wallets_held_not_negative"),
            models.CheckConstraint(
                condition=Q(balance__gte=F("held") - F("credit_limit")) | Q(mode="untracked"),
                name="wallets_not_overdrawn",
            ),
            models.CheckConstraint(
                condition=Q(credit_limit=0) | Q(mode="postpaid", credit_limit__gte=0, credit_limit__lte=MAX_USD),
                name="wallets_credit_is_postpaid",
            ),
            models.CheckConstraint(condition=Q(balance__lte=MAX_USD, balance__gte=-MAX_USD), name="wallets_bounded"),
        ]

    def __str__(self) -> str:
        return _("Wallet of %(workspace)s: %(balance)s") % {
            # By name where that was read already: to say who it is asks for nothing.
            "workspace": self.workspace if "workspace" in self._state.fields_cache else self.workspace_id,
            "balance": dollars(self.balance),
        }

    @property
    def available(self) -> Decimal:
        """What a new call may reserve, in USD."""
        return self.balance + self.credit_limit - self.held

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save the wallet's rules. Its money is the ledger's: a copy read some time ago must not bring it back."""
        if not self._state.adding and kwargs.get("update_fields") is None:
            kwargs["update_fields"] = [
                field.attname for field in self._meta.concrete_fields if field.editable and not field.primary_key
            ]
        super().save(*args, **kwargs)

    def clean(self) -> None:
        if self.mode != self.Mode.POSTPAID and self.credit_limit:
            raise ValidationError({"credit_limit": _("Only a postpaid wallet has a credit limit.")})
        if self.mode != self.Mode.UNTRACKED and self.available < 0:
            field = "credit_limit" if self.mode == self.Mode.POSTPAID else "mode"
            raise ValidationError({field: _("The wallet already uses more than this would allow.")})


class Hold(TenantModel):
    """Money reserved for one call, and the token that decides who may finish it.

    ``held`` turns once into ``settled``, ``released`` or ``expired``; a trigger freezes it then. While held, the
    lease is renewed by the process that runs the call; when it runs out, the sweeper finishes the call.
    """

    class State(models.TextChoices):
        HELD = "held", _("Held")
        SETTLED = "settled", _("Settled")
        RELEASED = "released", _("Released")
        EXPIRED = "expired", _("Expired")

    wallet = TenantFK(Wallet, related_name="holds")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="holds", db_index=False)
    access_token = models.ForeignKey(
        "workspaces.AccessToken",
        null=True,
        on_delete=models.PROTECT,
        related_name="+",
        db_index=False,
        help_text=_("The token whose spending limit it counts against, where it has one."),
    )
    amount = UsdField(help_text=_("The most this call can be charged."))
    state = models.CharField(max_length=10, choices=State, default=State.HELD)
    is_dispatched = models.BooleanField(default=False, help_text=_("Whether the provider may have been called."))
    charged = UsdField(null=True, help_text=_("What the wallet paid in the end."))
    lease_until = models.DateTimeField(help_text=_("On the database's clock."))
    owner = models.CharField(
        max_length=120,
        blank=True,
        editable=False,
        help_text=_("The process that runs the call, where it can be named."),
    )
    resolved_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "holds"
        constraints = [
            *TenantModel.Meta.constraints,
            models.CheckConstraint(condition=Q(amount__gte=0), name="holds_amount_not_negative"),
            models.CheckConstraint(
                condition=Q(state="held", charged__isnull=True, resolved_at__isnull=True)
                # Not null is said apart: a comparison with NULL would let the row pass.
                | (
                    ~Q(state="held")
                    & Q(charged__isnull=False, charged__gte=0, charged__lte=F("amount"), resolved_at__isnull=False)
                ),
                name="holds_charged_when_resolved",
            ),
            models.CheckConstraint(condition=~Q(state="released") | Q(charged=0), name="holds_released_free"),
        ]
        indexes = [
            # Not on the lease: renewing it stays cheap (a heap-only update).
            models.Index(fields=["workspace", "id"], condition=Q(state="held"), name="holds_open"),
            models.Index(fields=["workspace", "-created_at", "-id"], name="holds_by_time"),
            # For operators, who look at all workspaces at once; costs a hold that is settled nothing.
            models.Index(fields=["id", "state"], condition=Q(state__in=["released", "expired"]), name="holds_unusual"),
        ]

    def __str__(self) -> str:
        return _("Hold of %(amount)s, %(state)s") % {"amount": dollars(self.amount), "state": self.get_state_display()}


class TokenSpend(TenantModel):
    """What the calls of an access token with a spending limit have cost in its present period, and what they reserve."""

    access_token = models.ForeignKey(
        "workspaces.AccessToken", on_delete=models.PROTECT, related_name="+", db_index=False
    )
    period_start = models.DateField(null=True, help_text=_("Of the period that ``spent`` is of; empty: it has no end."))
    spent = UsdField(default=0)
    held = UsdField(default=0)

    class Meta:
        db_table = "token_spends"
        constraints = [
            *TenantModel.Meta.constraints,
            models.UniqueConstraint(fields=["workspace", "access_token"], name="token_spends_once"),
            models.CheckConstraint(condition=Q(held__gte=0, spent__gte=0), name="token_spends_not_negative"),
        ]

    def __str__(self) -> str:
        return _("%(spent)s of token %(token)s") % {"spent": dollars(self.spent), "token": self.access_token_id}


class HoldIncident(TenantModel):
    """Something about a hold that an operator must see: money the customer was not charged. Append-only."""

    class Kind(models.TextChoices):
        OVERRUN = "overrun", _("The call cost more than its hold")
        LATE_RESULT = "late_result", _("An answer came after the hold had been resolved")

    hold = TenantFK(Hold, related_name="incidents", null=True)
    kind = models.CharField(max_length=20, choices=Kind)
    amount = UsdField(help_text=_("What the house bears."))
    detail = models.CharField(max_length=300, blank=True)

    class Meta:
        db_table = "hold_incidents"
        constraints = [
            *TenantModel.Meta.constraints,
            models.UniqueConstraint(fields=["workspace", "hold", "kind"], name="hold_incidents_once"),
            models.CheckConstraint(condition=Q(amount__gte=0), name="hold_incidents_amount_not_negative"),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()}: {dollars(self.amount)}"


class BillingEvent(TenantModel):
    """One movement of a wallet, for good: corrections are new events that name their ``original``.

    ``seq`` counts from 1 without a gap and ``balance_after`` continues the previous one, so a wallet's history is a
    chain that shows any missing or changed link.
    """

    class Type(models.TextChoices):
        USAGE = "usage", _("Usage")
        CREDIT = "credit", _("Credit")
        REFUND = "refund", pgettext_lazy("movement", "Refund")
        ADJUSTMENT = "adjustment", _("Adjustment")
        SUBSCRIPTION = "subscription", _("Subscription")
        FEE = "fee", _("Fee")

    class Status(models.TextChoices):
        POSTED = "posted", _("Posted")

    wallet = TenantFK(Wallet, related_name="events")
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="billing_events", db_index=False
    )
    event_type = models.CharField(max_length=20, choices=Type)
    amount_usd = UsdField(help_text=_("Signed: a charge is negative."))
    seq = models.PositiveBigIntegerField()
    balance_after = UsdField()
    reference = models.CharField(max_length=200, help_text=_("What it is for; posted once per workspace."))
    description = models.CharField(max_length=300, blank=True)
    hold = TenantFK(Hold, null=True, related_name="billing_events")
    original = TenantFK("self", null=True, related_name="corrections")
    invoice_id = models.CharField(max_length=100, blank=True)
    payment_provider = models.CharField(max_length=50, blank=True)
    payment_transaction_id = models.CharField(max_length=200, blank=True)
    status = models.CharField(max_length=20, choices=Status, default=Status.POSTED)
    metadata = models.JSONField(default=dict, blank=True)
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        on_delete=models.PROTECT,
        related_name="+",
        db_index=False,
        help_text=_("Who did it, where a person did."),
    )
    processed_at = models.DateTimeField(default=timezone.now)

    class Meta:
        db_table = "billing_events"
        permissions = [
            ("refund_billingevent", gettext_noop(gettext_noop("Can refund a charge"))),
            ("download_lists", gettext_noop(gettext_noop("Can download the ledger, wallets, holds and usage"))),
        ]
        constraints = [
            *TenantModel.Meta.constraints,
            models.UniqueConstraint(fields=["workspace", "wallet", "seq"], name="billing_events_chain"),
            models.UniqueConstraint(fields=["workspace", "reference"], name="billing_events_reference_once"),
            models.UniqueConstraint(
                fields=["workspace", "hold"], condition=Q(event_type="usage"), name="billing_events_hold_charged_once"
            ),
            models.CheckConstraint(condition=~Q(amount_usd=0), name="billing_events_not_zero"),
            models.CheckConstraint(
                condition=Q(event_type__in=["usage", "fee", "subscription"], amount_usd__lt=0)
                | Q(event_type__in=["credit", "refund"], amount_usd__gt=0)
                | Q(event_type="adjustment"),
                name="billing_events_sign",
            ),
            models.CheckConstraint(
                condition=~Q(event_type="refund") | Q(original__isnull=False), name="billing_events_refund_of_what"
            ),
        ]
        indexes = [
            models.Index(fields=["workspace", "-created_at", "-id"], name="billing_events_by_time"),
            models.Index(fields=["workspace", "user", "-created_at", "-id"], name="billing_events_by_user"),
            models.Index(fields=["workspace", "original"], name="billing_events_by_original"),
            # For operators, who look at all workspaces at once; costs a charge for a call nothing.
            models.Index(fields=["id", "event_type"], condition=~Q(event_type="usage"), name="billing_events_unusual"),
        ]

    def __str__(self) -> str:
        return f"#{self.seq} {self.get_event_type_display()} {dollars(self.amount_usd)}"
