from __future__ import annotations

from decimal import Decimal
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from billing.models import BillingEvent, Wallet
from synapscale.common.money import usd_text


@extend_schema_field({"type": "string", "pattern": r"^-?\d+\.\d{2,12}$", "examples": ["0.000025"]})
class UsdTextField(serializers.Field):
    """Money as an exact decimal string: JSON numbers would lose digits."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(read_only=True, **kwargs)

    def to_representation(self, value: Decimal) -> str:
        return usd_text(value)


class WalletSerializer(serializers.ModelSerializer[Wallet]):
    balance = UsdTextField()
    held = UsdTextField(help_text="Reserved for calls under way.")
    available = UsdTextField(help_text="What a new call may reserve.")
    credit_limit = UsdTextField()
    currency = serializers.SerializerMethodField()

    class Meta:
        model = Wallet
        fields = ["id", "mode", "status", "balance", "held", "available", "credit_limit", "currency", "markup_bps"]

    def get_currency(self, wallet: Wallet) -> str:
        return "USD"


class BillingEventSerializer(serializers.ModelSerializer[BillingEvent]):
    amount_usd = UsdTextField(help_text="Signed: a charge is negative.")
    balance_after = UsdTextField()
    related_message = serializers.SerializerMethodField()
    related_usage_log = serializers.SerializerMethodField()

    class Meta:
        model = BillingEvent
        fields = [
            "id",
            "seq",
            "event_type",
            "amount_usd",
            "balance_after",
            "description",
            "reference",
            "user",
            "original",
            "invoice_id",
            "payment_provider",
            "payment_transaction_id",
            "status",
            "related_usage_log",
            "related_message",
            "processed_at",
            "created_at",
        ]

    # The ledger stands below chats and knows them only by what was noted when it was charged.
    def get_related_message(self, event: BillingEvent) -> str | None:
        return _charged(event).metadata.get("message")

    def get_related_usage_log(self, event: BillingEvent) -> str | None:
        return _charged(event).metadata.get("usage_log")


def _charged(event: BillingEvent) -> BillingEvent:
    """The event itself, or for a refund or adjustment the one that it corrects. The view selects both at once."""
    return event.original or event
