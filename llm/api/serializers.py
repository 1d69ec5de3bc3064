from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from llm.models import LLM, RATE_FIELDS
from synapscale.common.money import usd_text


class PriceSerializer(serializers.Serializer[Any]):
    """For the schema: USD per million tokens, as decimal strings; null where a kind has no price of its own."""

    id = serializers.UUIDField()
    input_usd_per_mtok = serializers.CharField()
    cached_input_usd_per_mtok = serializers.CharField(allow_null=True)
    cache_write_5m_usd_per_mtok = serializers.CharField(allow_null=True)
    cache_write_1h_usd_per_mtok = serializers.CharField(allow_null=True)
    output_usd_per_mtok = serializers.CharField()
    request_fee_usd = serializers.CharField()
    tiers = serializers.ListField(child=serializers.DictField())
    windows = serializers.ListField(child=serializers.DictField())
    effective_from = serializers.DateTimeField()


class LLMSerializer(serializers.ModelSerializer[LLM]):
    """A model and its price now (USD per million tokens, as decimal strings); ``price`` is null when it has none."""

    model = serializers.CharField(source="__str__", read_only=True, help_text="“provider/name”, as messages name it.")
    price = serializers.SerializerMethodField()
    is_available = serializers.SerializerMethodField(help_text="Whether a call would find a price and a key.")

    class Meta:
        model = LLM
        fields = [
            "id",
            "model",
            "provider",
            "name",
            "display_name",
            "version",
            "context_window",
            "max_output_tokens",
            "supports_streaming",
            "supports_function_calling",
            "supports_vision",
            "supports_structured_output",
            "supports_reasoning",
            "supports_prompt_caching",
            "price",
            "is_available",
        ]

    @extend_schema_field(PriceSerializer(allow_null=True))
    def get_price(self, llm: LLM) -> dict[str, Any] | None:
        price = self.context["prices"].get(llm.pk)
        if price is None:
            return None
        rates = {field: getattr(price, field) for field in RATE_FIELDS.values()}
        return {
            "id": str(price.pk),
            **{field: None if rate is None else usd_text(rate) for field, rate in rates.items()},
            "request_fee_usd": usd_text(price.request_fee_usd),
            "tiers": price.tiers,
            "windows": price.windows,
            "effective_from": price.effective_from,
        }

    def get_is_available(self, llm: LLM) -> bool:
        return llm.pk in self.context["prices"] and llm.provider in self.context["providers"]


class ProviderSerializer(serializers.Serializer[Any]):
    name = serializers.CharField()
    display_name = serializers.CharField()
    models = serializers.IntegerField(help_text="Models that the workspace may call.")
    is_configured = serializers.BooleanField(help_text="Whether the house has a key for it.")
    circuit = serializers.ChoiceField(
        choices=["closed", "open", "half_open"],
        help_text="Open: it keeps failing, and fallbacks are used where there are any. Half open: about to be probed.",
    )


class ProviderListSerializer(serializers.Serializer[Any]):
    results = ProviderSerializer(many=True)
