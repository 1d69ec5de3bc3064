"""Back office: agents, conversations and messages. Messages are what money was charged for: looked at, never edited."""

from __future__ import annotations

import json
import uuid
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.decorators import action

from conversations import attachments
from conversations.admin.content import HoldsContent, LeadsToTranscript, may_read
from conversations.admin.transcripts import transcript_page
from conversations.models import Agent, Conversation, Message, MessageImage
from synapscale.common.admin import TenantAdmin, ViewOnlyAdmin, row_key


@admin.register(Agent)
class AgentAdmin(HoldsContent, TenantAdmin):
    """Agents are switched off, not deleted: conversations name them."""

    content = ("system_prompt",)
    list_display = ("name", "workspace", "llm", "is_default", "is_active", "created_by", "created_at")
    list_filter = ("is_default", "is_active", "llm", "created_at")
    list_select_related = ("workspace", "llm", "created_by")
    list_defer = ("description", "system_prompt", "fallback_llms", "settings")
    search_fields = ("name__istartswith", "workspace__slug")
    search_help_text = _("An id, the beginning of a name or a workspace's slug.")
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
class ConversationAdmin(HoldsContent, LeadsToTranscript, TenantAdmin):
    """Conversations are given the status “deleted”, not deleted: usage and messages name them. What they are called is
    content, so no list shows it; whoever may read it finds them by it.
    """

    content = ("title", "context", "settings")
    content_searches = ("title__istartswith",)
    list_display = (
        "created_at", "workspace", "user", "kind", "status", "is_shared", "message_count", "total_tokens",
        "total_cost", "last_message_at",
    )  # fmt: skip
    list_filter = ("status", "kind", "is_shared", "created_at")
    list_select_related = ("workspace", "user")
    list_defer = ("title", "context", "settings")
    search_fields = ("title__istartswith", "workspace__slug", "user__email")
    search_help_text = _("An id, a workspace's slug or a user's e-mail address.")
    autocomplete_fields = ("workspace", "user", "agent")
    readonly_fields = ("message_count", "total_tokens", "total_cost", "last_message_at", "created_at", "updated_at")
    fixed_fields = ("workspace", "user", "kind")
    add_fields = ("workspace", "user", "agent", "title", "kind", "status", "is_shared", "context", "settings")
    fields = (*add_fields, *readonly_fields)
    actions_detail = ("transcript",)

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        changes = super().get_changelist_instance(request)
        if may_read(request):
            changes.search_help_text = gettext(
                "An id, the beginning of a title, a workspace's slug or a user's e-mail address."
            )
        return changes

    @action(description=_("Read transcript"), url_path="transcript", icon="forum", permissions=["read_transcript"])
    def transcript(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return transcript_page(self, request, row_key(object_id))


class StatusFilter(admin.ChoicesFieldListFilter):
    """Answers alone wait, fail or break off. To say so is to name the index of those that are open."""

    def queryset(self, request: HttpRequest, queryset: QuerySet[Message]) -> QuerySet[Message]:
        rows: QuerySet[Message] = super().queryset(request, queryset)  # type: ignore[assignment]
        is_of_answers = self.lookup_val and Message.Status.SENT not in self.lookup_val
        return rows.filter(role=Message.Role.ASSISTANT) if is_of_answers else rows


@admin.register(Message)
class MessageAdmin(HoldsContent, LeadsToTranscript, ViewOnlyAdmin):
    """What a person wrote is in their conversations, and which model answered stands in the usage: both have indexes."""

    is_big = True
    content = ("content", "attachments", "tool_calls", "call", "error_message")
    shown_as = {"attachments": "attached"}
    list_display = (
        "created_at", "workspace", "user", "role", "status", "model_used", "tokens_used", "attempt", "error_code",
    )  # fmt: skip
    list_filter = (("status", StatusFilter), "created_at")
    list_select_related = ("workspace", "user")
    list_defer = ("content", "attachments", "tool_calls", "call", "error_message")
    search_fields = ("workspace__slug",)
    search_ids = ("pk", "workspace_id", "conversation_id")
    search_help_text = _("An id, a conversation's id or a workspace's slug.")
    fields = (
        "workspace", "conversation", "user", "role", "status", "content", "attached", "tool_calls", "tool_call_id",
        "reply_to", "llm", "price", "priced_at", "hold", "model_used", "tokens_used", "processing_time_ms",
        "temperature", "max_tokens", "finish_reason", "error_code", "error_message", "attempt", "call", "created_at",
        "updated_at", "id",
    )  # fmt: skip

    def place_of(self, row: Message) -> tuple[uuid.UUID, uuid.UUID]:
        return row.conversation_id, row.pk

    @admin.display(description=_("attachments"))
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
    search_help_text = _("An id, a message's id or a workspace's slug.")
    fields = ("workspace", "message", "position", "created_at", "id")
