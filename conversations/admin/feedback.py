"""Back office: what users think of answers, and its review."""

from __future__ import annotations

import uuid
from typing import Any, cast

from django.contrib import admin, messages
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from conversations import feedback
from conversations.admin.content import HoldsContent, LeadsToTranscript
from conversations.models import MessageFeedback
from conversations.models.feedback import NEGATIVE
from synapscale.common import audit
from synapscale.common.admin import TenantAdmin
from workspaces.models import User


@admin.register(MessageFeedback)
class MessageFeedbackAdmin(HoldsContent, LeadsToTranscript, TenantAdmin):
    """What users think. The review queue is this list, filtered by “open”; only the note of a review is written here."""

    content = ("text", "suggestion")
    list_display = (
        "created_at", "workspace", "user", "thumb", "stars", "category", "is_public", "review_status", "reviewed_at",
    )  # fmt: skip
    list_filter = ("review_status", "thumb", "category", "is_public", "created_at")
    list_select_related = ("workspace", "user")
    list_defer = ("text", "suggestion", "review_note")
    search_ids = ("pk", "workspace_id", "message_id")
    search_fields = ("workspace__slug", "user__email")
    search_help_text = _("An id, a message's id, a workspace's slug or a user's e-mail address.")
    readonly_fields = (
        "workspace", "message", "user", "thumb", "stars", "category", "text", "suggestion", "is_public", "review_status",
        "reviewed_by", "reviewed_at", "alerted_at", "created_at", "updated_at", "id",
    )  # fmt: skip
    fields = (*readonly_fields[:12], "review_note", *readonly_fields[12:])
    actions = ("mark_as_reviewed", "open_again")

    def place_of(self, row: MessageFeedback) -> tuple[uuid.UUID, uuid.UUID]:
        return row.message.conversation_id, row.message_id

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def changed_columns(self, form: Any) -> list[str]:
        # Not the time of change: that is its author's.
        return [name for name in super().changed_columns(form) if name == "review_note"]

    @admin.action(description=_("Mark as reviewed"), permissions=["change"])
    def mark_as_reviewed(self, request: HttpRequest, rows: QuerySet[MessageFeedback]) -> None:
        with transaction.atomic():
            waiting = self._logged(rows.filter(review_status="open"), "Reviewed.", ("open", "done"))
            count = feedback.close_reviews(waiting, by=cast(User, request.user))
        messages.success(request, _("Reviewed: %(number)s.") % {"number": count})

    @admin.action(description=_("Open the review again"), permissions=["change"])
    def open_again(self, request: HttpRequest, rows: QuerySet[MessageFeedback]) -> None:
        with transaction.atomic():
            done = self._logged(rows.filter(NEGATIVE, review_status="done"), "Review opened again.", ("done", "open"))
            count = feedback.reopen_reviews(done)
        messages.success(request, _("Opened again: %(number)s.") % {"number": count})

    def _logged(self, rows: QuerySet[MessageFeedback], what: str, status: tuple[str, str]) -> QuerySet[MessageFeedback]:
        """Those of ``rows`` that there are now, noted in their histories, and nobody else's until they are written."""
        locked = rows.select_related(None).select_for_update(no_key=True, of=("self",)).order_by("pk")
        found = MessageFeedback.objects.filter(pk__in=list(locked.values_list("pk", flat=True)))
        for row in found:
            audit.record(row, what=what, changes={"review_status": status})
        return found
