"""Back office: wallets, holds and the ledger. Money is looked at here; it moves by ``billing.ledger`` alone."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html

from billing.models import BillingEvent, Hold, HoldIncident, TokenSpend, Wallet
from synapscale.common.admin import TenantAdmin, ViewOnlyAdmin
from synapscale.common.money import usd_text


@admin.register(Wallet)
class WalletAdmin(TenantAdmin):
    """The rules of a wallet can be changed, its money can't. Every workspace is born with one, for good."""

    list_display = ("workspace", "mode", "status", "balance", "held", "available", "credit_limit", "markup_bps")
    list_filter = ("mode", "status", "created_at")
    list_select_related = ("workspace",)
    search_fields = ("workspace__slug",)
    search_help_text = "An id or a workspace's slug."
    readonly_fields = ("workspace", "balance", "held", "available", "seq", "created_at")
    fields = (
        "workspace", "mode", "status", "credit_limit", "markup_bps", "own_key_fee_bps", "balance", "held", "available", "seq",
        "created_at",
    )  # fmt: skip

    @admin.display(description="available")
    def available(self, wallet: Wallet) -> str:
        return usd_text(wallet.available)

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        wallet = super().get_object(request, object_id, from_field)
        if wallet is not None and request.method == "POST":
            # Its limits are judged by its balance, so until the view commits nobody else moves the balance.
            return Wallet.objects.select_for_update(no_key=True).get(workspace_id=wallet.workspace_id, pk=wallet.pk)
        return wallet

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False


@admin.register(Hold)
class HoldAdmin(ViewOnlyAdmin):
    list_display = ("created_at", "workspace", "user", "amount", "state", "charged", "lease_until", "resolved_at")
    list_filter = ("state", "is_dispatched", "created_at")
    list_select_related = ("workspace", "user")
    search_fields = ("workspace__slug", "user__email")
    search_help_text = "An id, a workspace's slug or a user's e-mail address."


@admin.register(TokenSpend)
class TokenSpendAdmin(ViewOnlyAdmin):
    list_display = ("workspace", "access_token", "period_start", "spent", "held")
    list_filter = ("period_start", "created_at")
    list_select_related = ("workspace", "access_token")
    search_fields = ("workspace__slug",)
    search_help_text = "An id or a workspace's slug."


@admin.register(HoldIncident)
class HoldIncidentAdmin(ViewOnlyAdmin):
    list_display = ("created_at", "workspace", "kind", "amount", "detail")
    list_filter = ("kind", "created_at")
    list_select_related = ("workspace",)
    search_fields = ("workspace__slug",)
    search_help_text = "An id or a workspace's slug."


@admin.register(BillingEvent)
class BillingEventAdmin(ViewOnlyAdmin):
    """The ledger. What an event was charged for is found from below, through the usage row that names it."""

    list_display = (
        "created_at", "workspace", "event_type", "amount_usd", "balance_after", "seq", "user", "reference",
        "related_usage_log", "related_message",
    )  # fmt: skip
    list_filter = ("event_type", "status", "created_at")
    list_select_related = ("workspace", "user")
    list_defer = ("metadata",)
    search_fields = (
        "reference__startswith", "payment_transaction_id", "invoice_id", "workspace__slug", "user__email",
    )  # fmt: skip
    search_help_text = (
        "An id, the beginning of a reference, a payment's transaction, an invoice, a workspace's slug or a user's "
        "e-mail address."
    )
    readonly_fields = ("related_usage_log", "related_message")
    fields = (
        "workspace", "wallet", "user", "event_type", "status", "amount_usd", "balance_after", "seq", "reference",
        "description", "related_usage_log", "related_message", "hold", "original", "actor", "payment_provider",
        "payment_transaction_id", "invoice_id", "metadata", "processed_at", "created_at", "id",
    )  # fmt: skip

    def get_queryset(self, request: HttpRequest) -> QuerySet[BillingEvent]:
        return super().get_queryset(request).prefetch_related("usage_logs", "original__usage_logs")

    @admin.display(description="usage log", empty_value="—")
    def related_usage_log(self, event: BillingEvent) -> str | None:
        log = _usage_log(event)
        return None if log is None else _link("conversations_usagelog", log.pk)

    @admin.display(description="message", empty_value="—")
    def related_message(self, event: BillingEvent) -> str | None:
        log = _usage_log(event)
        return None if log is None else _link("conversations_message", log.message_id)


def _usage_log(event: BillingEvent) -> Any:
    """The usage an event charged, or, for a refund or correction, the usage its original charged."""
    for charge in (event, event.original):
        if charge is not None:
            for log in charge.usage_logs.all():
                return log
    return None


def _link(model: str, key: Any) -> str:
    return format_html('<a href="{}">…{}</a>', reverse(f"admin:{model}_change", args=[key]), str(key)[-12:])
