"""Back office: what calls used and cost. It is what money was charged for: looked at, never edited."""

from __future__ import annotations

from django.contrib import admin
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _

from conversations.admin.content import HoldsContent, LeadsToTranscript
from conversations.models import ConversationLLM, IdempotencyKey, UsageLog
from synapscale.common.admin import ViewOnlyAdmin
from synapscale.common.amounts import dollars


@admin.register(UsageLog)
class UsageLogAdmin(HoldsContent, LeadsToTranscript, ViewOnlyAdmin):
    content = ("error_message",)
    is_big = True
    list_display = (
        "created_at", "workspace", "user", "llm", "status", "total_tokens", "cost_usd", "charge", "key_source",
        "is_estimate", "latency_ms",
    )  # fmt: skip
    list_filter = ("status", "key_source", "is_estimate", "llm", "created_at")
    list_select_related = ("workspace", "user", "llm")
    list_defer = ("model_settings", "error_message")
    search_fields = ("provider_request_id", "workspace__slug", "user__email")
    search_help_text = _("An id, a provider's request id, a workspace's slug or a user's e-mail address.")
    export_permission = "billing.download_lists"
    export_columns = (
        "id", "created_at", "workspace_id", ("workspace", "workspace__slug"), ("user", "user__email"), "access_token_id",
        "conversation_id", "message_id", "attempt", "agent_id", ("provider", "llm__provider"), ("model", "llm__name"),
        "status", "error_code", "api_status_code", "key_source", "input_tokens", "cached_input_tokens",
        "cache_write_5m_tokens", "cache_write_1h_tokens", "output_tokens", "reasoning_tokens", "total_tokens",
        "is_estimate", "cost_usd", "charged_usd", "markup_bps", "billing_event_id", "latency_ms",
        "time_to_first_token_ms", "provider_request_id",
    )  # fmt: skip

    @admin.display(description=_("charged"), ordering="charged_usd")
    def charge(self, log: UsageLog) -> str:
        """What the wallet paid, and the way to its event, where it can be refunded."""
        if log.billing_event_id is None:
            return dollars(log.charged_usd)
        url = reverse("admin:billing_billingevent_change", args=[log.billing_event_id])
        return format_html('<a href="{}">{}</a>', url, dollars(log.charged_usd))


@admin.register(ConversationLLM)
class ConversationLLMAdmin(ViewOnlyAdmin):
    list_display = (
        "last_used_at", "workspace", "llm", "message_count", "input_tokens", "output_tokens", "total_cost",
        "first_used_at",
    )  # fmt: skip
    list_filter = ("llm", "created_at")
    list_select_related = ("workspace", "llm")
    search_fields = ("workspace__slug", "llm__name")
    search_help_text = _("An id, a workspace's slug or a model's name.")


@admin.register(IdempotencyKey)
class IdempotencyKeyAdmin(ViewOnlyAdmin):
    is_big = True
    list_display = ("created_at", "workspace", "user", "key")
    # Without the hash of the request, by which whoever guesses a question could check the guess.
    fields = ("workspace", "user", "key", "message", "created_at", "id")
    list_filter = ("created_at",)
    list_select_related = ("workspace", "user")
    search_fields = ("key__startswith", "workspace__slug", "user__email")
    search_help_text = _("An id, the beginning of a key, a workspace's slug or a user's e-mail address.")
