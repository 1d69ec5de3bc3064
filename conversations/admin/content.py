"""Back office: what customers wrote is shown to whoever has the permission to read it, and each reading is noted."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from functools import cache
from typing import Any, ClassVar
from urllib.parse import urlencode

from django.contrib import admin
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.decorators import action

from synapscale.common import audit
from synapscale.common.admin import OperatorAdmin, row_key

READ_CONTENT = "conversations.read_content"


def may_read(request: HttpRequest) -> bool:
    return request.user.has_perm(READ_CONTENT)


def may_open_transcripts(request: HttpRequest) -> bool:
    return request.user.has_perms((READ_CONTENT, "conversations.view_conversation"))


@cache
def _hidden(name: str, label: Any) -> Callable[[Any], SafeString]:
    @admin.display(description=label)
    def column(row: Any) -> SafeString:
        return format_html('<em class="office-hidden">{}</em>', _("hidden: needs the permission to read content"))

    column.__name__ = name
    return column


class HoldsContent(OperatorAdmin):
    """Rows with something in them that a customer wrote (``content``, the names of their columns).

    Without the permission these are not shown, typed over, searched or filtered by; a form that is saved leaves them as
    they are. With it, opening the page of a row that has any of them is noted first: if that fails, nothing is shown.
    """

    content: ClassVar[tuple[str, ...]]
    shown_as: ClassVar[dict[str, str]] = {}
    """What a page shows in place of a column."""
    content_searches: ClassVar[tuple[str, ...]] = ()
    """Those of ``search_fields`` that look into content."""

    # Pages

    def _hides(self, request: HttpRequest, obj: Any) -> bool:
        """What somebody types into the form of a new row is their own."""
        return obj is not None and not may_read(request)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        names = super().get_readonly_fields(request, obj)
        return [*names, *self._hidden_columns().values()] if self._hides(request, obj) else names

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        fieldsets = super().get_fieldsets(request, obj)
        if not self._hides(request, obj):
            return fieldsets
        hidden = self._hidden_columns()

        def present(name: Any) -> Any:
            return hidden.get(getattr(name, "__name__", name), name)

        return [
            (title, {**options, "fields": [present(name) for name in options["fields"]]})
            for title, options in fieldsets
        ]

    def _hidden_columns(self) -> dict[str, Callable[[Any], SafeString]]:
        return {
            self.shown_as.get(name, name): _hidden(name, self.opts.get_field(name).verbose_name)
            for name in self.content
        }

    def render_change_form(self, request: HttpRequest, *args: Any, obj: Any = None, **kwargs: Any) -> HttpResponse:
        if obj is not None and may_read(request) and any(getattr(obj, name) for name in self.content):
            audit.record_reading(request, obj)
        response: HttpResponse = super().render_change_form(request, *args, obj=obj, **kwargs)
        return response

    # Lists

    def get_search_fields(self, request: HttpRequest) -> tuple[str, ...]:
        names = tuple(super().get_search_fields(request))
        return names if may_read(request) else tuple(name for name in names if name not in self.content_searches)

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest | None = None) -> bool:
        # Not for anybody: an address that a list is asked for is no way of reading.
        return lookup.partition("__")[0] not in self.content and super().lookup_allowed(lookup, value, request)


class LeadsToTranscript(OperatorAdmin):
    """Rows of a conversation: their pages lead to its transcript, to the place where they belong."""

    actions_detail: ClassVar[tuple[str, ...]] = ("read_transcript",)

    def has_read_transcript_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        return may_open_transcripts(request)

    @action(
        description=gettext_lazy("Read transcript"),
        url_path="transcript",
        icon="forum",
        permissions=["read_transcript"],
    )
    def read_transcript(self, request: HttpRequest, object_id: str) -> HttpResponse:
        row = self.get_object(request, str(row_key(object_id)))
        if row is None:
            raise Http404
        return HttpResponseRedirect(address(*self.place_of(row)))

    def place_of(self, row: Any) -> tuple[uuid.UUID, uuid.UUID | None]:
        """The keys of the conversation and the message."""
        return row.conversation_id, row.message_id


def address(conversation_id: uuid.UUID, message_id: uuid.UUID | None = None) -> str:
    """Where a transcript is read: from its beginning, or from a message on."""
    url = reverse("admin:conversations_conversation_transcript", args=[conversation_id])
    return url if message_id is None else f"{url}?{urlencode({'from': message_id})}#message-{message_id}"
