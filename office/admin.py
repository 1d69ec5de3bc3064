"""Back office: the audit log, to look at."""

from __future__ import annotations

from typing import Any

from auditlog.models import LogEntry
from auditlog.registry import auditlog
from django.contrib import admin
from django.contrib.contenttypes.models import ContentType
from django.db.models import QuerySet
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.utils.html import format_html
from django.utils.text import capfirst
from django.utils.translation import gettext_lazy as _

from synapscale.common import history
from synapscale.common.admin import ViewOnlyAdmin

admin.site.unregister(LogEntry)


class KindFilter(admin.SimpleListFilter):
    """Of the kinds of rows that are tracked."""

    title = _("kind of row")
    parameter_name = "kind"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        models = sorted(auditlog.get_models(), key=lambda model: str(model._meta.verbose_name))
        return [(model._meta.label_lower, capfirst(str(model._meta.verbose_name))) for model in models]

    def queryset(self, request: HttpRequest, queryset: QuerySet[LogEntry]) -> QuerySet[LogEntry]:
        label = self.value()
        if not label:
            return queryset
        found = [model for model in auditlog.get_models() if model._meta.label_lower == label]
        kinds = [ContentType.objects.get_for_model(model).pk for model in found]
        return queryset.filter(content_type__in=kinds)


@admin.register(LogEntry)
class AuditEntryAdmin(ViewOnlyAdmin):
    """Who changed or read what. Entries are written once."""

    is_big = True
    time_column = "timestamp"
    list_display = ("timestamp", "actor_email", "what", "kind", "row", "fields_changed")
    list_display_links = ("timestamp",)
    list_filter = ("action", KindFilter, "timestamp")
    list_select_related = ("content_type",)
    list_defer = ("serialized_data", "changes_text")
    search_ids = ("object_pk",)
    search_fields = ("actor__email",)
    search_help_text = _("The id of a row, or the e-mail address of who changed it.")
    readonly_fields = ("what", "kind", "row", "details", "request_id")
    fields = ("timestamp", "actor", "actor_email", "what", "kind", "row", "details", "remote_addr", "request_id")

    @admin.display(description=_("what"))
    def what(self, entry: LogEntry) -> str:
        return history.what(entry)

    @admin.display(description=_("kind of row"))
    def kind(self, entry: LogEntry) -> str:
        model = entry.content_type.model_class()
        return capfirst(str(model._meta.verbose_name)) if model else str(entry.content_type)

    @admin.display(description=_("row"))
    def row(self, entry: LogEntry) -> str:
        model = entry.content_type.model_class()
        url, name = history.url_of(model, entry.object_pk), history.called(model, entry.object_repr)
        if not url or entry.action == LogEntry.Action.DELETE:
            return format_html("<bdi>{}</bdi>", name)
        return format_html('<a href="{}"><bdi>{}</bdi></a>', url, name)

    @admin.display(description=_("fields"))
    def fields_changed(self, entry: LogEntry) -> str:
        return ", ".join(change.label for change in history.changes(entry)) or "—"

    @admin.display(description=_("changes"))
    def details(self, entry: LogEntry) -> str:
        return render_to_string("admin/audit_changes.html", {"described": history.described(entry)}) or "—"

    @admin.display(description=_("request"))
    def request_id(self, entry: LogEntry) -> str:
        return entry.cid or "—"
