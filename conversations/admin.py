"""Back office: agents, conversations, and what was said, used and thought of it.

Messages and usage are what money was charged for: they are looked at, never edited. No list shows what people wrote.
"""

from __future__ import annotations

import json
from typing import Any, cast

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _

from conversations import attachments, feedback
from conversations.models import (
    Agent,
    Conversation,
    ConversationLLM,
    IdempotencyKey,
    Message,
    MessageFeedback,
    MessageImage,
    UsageLog,
)
from conversations.models.feedback import NEGATIVE
from synapscale.common import audit
from synapscale.common.admin import TenantAdmin, ViewOnlyAdmin
from synapscale.common.money import usd_text
from workspaces.models import User


@admin.register(Agent)
class AgentAdmin(TenantAdmin):
    """Agents are switched off, not deleted: conversations name them."""

    list_display = ("name", "workspace", "llm", "is_default", "is_active", "created_by", "created_at")
    list_filter = ("is_default", "is_active", "llm", "created_at")
    list_select_related = ("workspace", "llm", "created_by")
    list_defer = ("description", "system_prompt", "fallback_llms", "settings")
    search_fields = ("name__istartswith", "workspace__slug")
    search_help_text = "An id, the beginning of a name or a workspace's slug."
    autocomplete_fields = ("workspace", "llm")
    readonly_fields = ("created_by", "created_at", "updated_at")
    fixed_fields = ("workspace",)
    add_fields = (
        "workspace", "name", "description", "system_prompt", "llm", "fallback_llms", "temperature", "max_tokens",
        "settings", "is_default", "is_active",
    )  # fmt: skip
    fields = (*add_fields, "created_by", "created_at", "updated_at")

    def save_model(self, request: HttpRequest, obj: Agent, form: Any, change: bool) -> None:
        if not change:
            obj.created_by_id = request.user.pk
        super().save_model(request, obj, form, change)


@admin.register(Conversation)
class ConversationAdmin(TenantAdmin):
    """Conversations are given the status “deleted”, not deleted: usage and messages name them."""

    list_display = (
        "created_at", "workspace", "user", "title", "kind", "status", "is_shared", "message_count", "total_tokens",
        "total_cost", "last_message_at",
    )  # fmt: skip
    list_filter = ("status", "kind", "is_shared", "created_at")
    list_select_related = ("workspace", "user")
    list_defer = ("context", "settings")
    search_fields = ("title__istartswith", "workspace__slug", "user__email")
    search_help_text = "An id, the beginning of a title, a workspace's slug or a user's e-mail address."
    autocomplete_fields = ("workspace", "user", "agent")
    readonly_fields = ("message_count", "total_tokens", "total_cost", "last_message_at", "created_at", "updated_at")
    fixed_fields = ("workspace", "user", "kind")
    add_fields = ("workspace", "user", "agent", "title", "kind", "status", "is_shared", "context", "settings")
    fields = (*add_fields, *readonly_fields)


class StatusFilter(admin.ChoicesFieldListFilter):
    """Answers alone wait, fail or break off. To say so is to name the index of those that are open."""

    def queryset(self, request: HttpRequest, queryset: QuerySet[Message]) -> QuerySet[Message]:
        rows: QuerySet[Message] = super().queryset(request, queryset)  # type: ignore[assignment]
        is_of_answers = self.lookup_val and Message.Status.SENT not in self.lookup_val
        return rows.filter(role=Message.Role.ASSISTANT) if is_of_answers else rows


@admin.register(Message)
class MessageAdmin(ViewOnlyAdmin):
    """What a person wrote is in their conversations, and which model answered stands in the usage: both have indexes."""

    is_big = True
    list_display = (
        "created_at", "workspace", "user", "role", "status", "model_used", "tokens_used", "attempt", "error_code",
    )  # fmt: skip
    list_filter = (("status", StatusFilter), "created_at")
    list_select_related = ("workspace", "user")
    list_defer = ("content", "attachments", "tool_calls", "call", "error_message")
    search_fields = ("workspace__slug",)
    search_ids = ("pk", "workspace_id", "conversation_id")
    search_help_text = "An id, a conversation's id or a workspace's slug."
    fields = (
        "workspace", "conversation", "user", "role", "status", "content", "attached", "tool_calls", "tool_call_id",
        "reply_to", "llm", "price", "priced_at", "hold", "model_used", "tokens_used", "processing_time_ms",
        "temperature", "max_tokens", "finish_reason", "error_code", "error_message", "attempt", "call", "created_at",
        "updated_at", "id",
    )  # fmt: skip

    @admin.display(description="attachments")
    def attached(self, message: Message) -> str:
        """What is attached, without its megabytes."""
        return "\n".join(json.dumps(attachments.summary(item)) for item in message.attachments)


@admin.register(MessageImage)
class MessageImageAdmin(ViewOnlyAdmin):
    """That there is one; what it shows is its user's."""

    list_display = ("created_at", "workspace", "position")
    list_filter = ("created_at",)
    list_select_related = ("workspace",)
    list_defer = ("data",)
    search_ids = ("pk", "message_id")
    search_fields = ("workspace__slug",)
    search_help_text = "An id, a message's id or a workspace's slug."
    fields = ("workspace", "message", "position", "created_at", "id")


@admin.register(UsageLog)
class UsageLogAdmin(ViewOnlyAdmin):
    is_big = True
    list_display = (
        "created_at", "workspace", "user", "llm", "status", "total_tokens", "cost_usd", "charge", "key_source",
        "is_estimate", "latency_ms",
    )  # fmt: skip
    list_filter = ("status", "key_source", "is_estimate", "llm", "created_at")
    list_select_related = ("workspace", "user", "llm")
    list_defer = ("model_settings", "error_message")
    search_fields = ("provider_request_id", "workspace__slug", "user__email")
    search_help_text = "An id, a provider's request id, a workspace's slug or a user's e-mail address."
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
            return usd_text(log.charged_usd)
        url = reverse("admin:billing_billingevent_change", args=[log.billing_event_id])
        return format_html('<a href="{}">{}</a>', url, usd_text(log.charged_usd))


@admin.register(ConversationLLM)
class ConversationLLMAdmin(ViewOnlyAdmin):
    list_display = (
        "last_used_at", "workspace", "llm", "message_count", "input_tokens", "output_tokens", "total_cost",
        "first_used_at",
    )  # fmt: skip
    list_filter = ("llm", "created_at")
    list_select_related = ("workspace", "llm")
    search_fields = ("workspace__slug", "llm__name")
    search_help_text = "An id, a workspace's slug or a model's name."


@admin.register(MessageFeedback)
class MessageFeedbackAdmin(TenantAdmin):
    """What users think. The review queue is this list, filtered by “open”; only the note of a review is written here."""

    list_display = (
        "created_at", "workspace", "user", "thumb", "stars", "category", "is_public", "review_status", "reviewed_at",
    )  # fmt: skip
    list_filter = ("review_status", "thumb", "category", "is_public", "created_at")
    list_select_related = ("workspace", "user")
    list_defer = ("text", "suggestion", "review_note")
    search_ids = ("pk", "workspace_id", "message_id")
    search_fields = ("workspace__slug", "user__email")
    search_help_text = "An id, a message's id, a workspace's slug or a user's e-mail address."
    readonly_fields = (
        "workspace", "message", "user", "thumb", "stars", "category", "text", "suggestion", "is_public", "review_status",
        "reviewed_by", "reviewed_at", "alerted_at", "created_at", "updated_at", "id",
    )  # fmt: skip
    fields = (*readonly_fields[:12], "review_note", *readonly_fields[12:])
    actions = ("mark_as_reviewed", "open_again")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def changed_columns(self, form: Any) -> list[str]:
        # Not the time of change: that is its author's.
        return [name for name in super().changed_columns(form) if name == "review_note"]

    @admin.action(description="Mark as reviewed", permissions=["change"])
    def mark_as_reviewed(self, request: HttpRequest, rows: QuerySet[MessageFeedback]) -> None:
        waiting = self._logged(rows.filter(review_status="open"), "Reviewed.", ("open", "done"))
        count = feedback.close_reviews(waiting, by=cast(User, request.user))
        messages.success(request, f"Reviewed: {count}.")

    @admin.action(description="Open the review again", permissions=["change"])
    def open_again(self, request: HttpRequest, rows: QuerySet[MessageFeedback]) -> None:
        done = self._logged(rows.filter(NEGATIVE, review_status="done"), "Review opened again.", ("done", "open"))
        messages.success(request, f"Opened again: {feedback.reopen_reviews(done)}.")

    def _logged(self, rows: QuerySet[MessageFeedback], what: str, status: tuple[str, str]) -> QuerySet[MessageFeedback]:
        """Those of ``rows`` that there are now, noted in their histories."""
        found = MessageFeedback.objects.filter(pk__in=list(rows.order_by().values_list("pk", flat=True)))
        for row in found:
            audit.record(row, what=what, changes={"review_status": status})
        return found


@admin.register(IdempotencyKey)
class IdempotencyKeyAdmin(ViewOnlyAdmin):
    is_big = True
    list_display = ("created_at", "workspace", "user", "key")
    list_filter = ("created_at",)
    list_select_related = ("workspace", "user")
    search_fields = ("key__startswith", "workspace__slug", "user__email")
    search_help_text = "An id, the beginning of a key, a workspace's slug or a user's e-mail address."
