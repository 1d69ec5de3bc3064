"""The back office: the history of a row, told by the audit log."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from auditlog.models import LogEntry
from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.contrib.auth.models import Group
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import FieldDoesNotExist, PermissionDenied
from django.db.models import Field, Model
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import NoReverseMatch, reverse
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, pgettext

from synapscale.common import audit
from synapscale.common.amounts import dollars
from synapscale.common.models import TenantModel
from synapscale.common.money import UsdField

SHOWN = 100
"""A history shows so many entries; the audit log has them all."""
_ACTIONS = {
    LogEntry.Action.CREATE: gettext_lazy("Created."),
    LogEntry.Action.UPDATE: gettext_lazy("Changed."),
    LogEntry.Action.DELETE: gettext_lazy("Deleted."),
    LogEntry.Action.ACCESS: gettext_lazy("Read what was written."),
}

_FACTS = {
    "charge": gettext_lazy("Charge"),
    "filters": gettext_lazy("Filters"),
    "lent": gettext_lazy("How much more"),
    "list": gettext_lazy("List"),
    "model": gettext_lazy("Model"),
    "note": gettext_lazy("Note"),
    "password_given": gettext_lazy("With the password"),
    "reason": gettext_lazy("Reason"),
    "reference": gettext_lazy("Reference"),
    "result": gettext_lazy("Result"),
    "workspace": gettext_lazy("Workspace"),
}
"""What else entries say, by the names that it is stored under: those of ``billing.recent_moves`` among them."""
_AMOUNTS = {"lent"}
"""Of these, the amounts in USD."""


@dataclass(frozen=True)
class FieldChange:
    """A field, before and after; for lists ``added`` and ``removed``."""

    label: str
    before: str = ""
    after: str = ""
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    before_url: str = ""
    after_url: str = ""


def what(entry: LogEntry) -> str:
    """What was done, in a sentence."""
    said = (entry.additional_data or {}).get("what")
    return _(said) if said else str(_ACTIONS[entry.action])


def facts(entry: LogEntry) -> list[tuple[str, Any]]:
    """What else was written down: a reason, a reference."""
    return [
        (str(_FACTS.get(name, capfirst(name))), _fact(name, value))
        for name, value in (entry.additional_data or {}).items()
        if name != "what"
    ]


def _fact(name: str, value: Any) -> Any:
    if value is True:
        return _("yes")
    return dollars(Decimal(value)) if name in _AMOUNTS else value


def changes(entry: LogEntry) -> list[FieldChange]:
    model = entry.content_type.model_class()
    return [_change(model, name, values) for name, values in sorted((entry.changes or {}).items())]


def _change(model: type[Model] | None, name: str, values: Any) -> FieldChange:
    field = _field(model, name)
    label = capfirst(str(getattr(field, "verbose_name", name.replace("_", " "))))
    if isinstance(values, dict):
        objects = tuple(called(getattr(field, "related_model", None), one) for one in values.get("objects", ()))
        is_added = values.get("operation") == "add"
        return FieldChange(label, added=objects if is_added else (), removed=() if is_added else objects)
    before, after = values
    return FieldChange(
        label,
        _value(field, before),
        _value(field, after),
        before_url=_url_of(field, before),
        after_url=_url_of(field, after),
    )


def called(model: type[Model] | None, text: str) -> str:
    """``text``, as the log names a row of ``model``, in the reader's language where the name is ours."""
    return pgettext("role", text) if model is Group else text


def _field(model: type[Model] | None, name: str) -> Any:
    try:
        return model._meta.get_field(name) if model else None
    except FieldDoesNotExist:
        return None  # there was such a field once


def _value(field: Field | None, value: str) -> str:
    if value == "None":
        return "—"
    if isinstance(field, UsdField):
        return dollars(Decimal(value))
    choices = dict(field.flatchoices) if field is not None and field.choices else {}
    if value in choices:
        return str(choices[value])
    return {"True": _("yes"), "False": _("no")}.get(value, value)


def _url_of(field: Any, value: str) -> str:
    """Where the row is that a foreign key names."""
    if field is None or not field.is_relation or value == "None":
        return ""
    return url_of(field.related_model, value)


def url_of(model: type[Model] | None, key: str) -> str:
    if model is None:
        return ""
    try:
        return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_change", args=[key])
    except NoReverseMatch:
        return ""


def of_row(row: Model) -> Any:
    """The entries about ``row``, newest first."""
    kind = ContentType.objects.get_for_model(row)
    return LogEntry.objects.filter(content_type=kind, object_pk=str(row.pk)).select_related("actor", "content_type")


class Audited:
    """A model admin whose rows have their history in the audit log, and not once more in Django's own."""

    model: type[Model]
    opts: Any
    admin_site: admin.AdminSite

    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> None:
        return None

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> None:
        return None

    def log_deletions(self, request: HttpRequest, queryset: Any) -> None:
        if issubclass(self.model, TenantModel):  # the deletions of others are noted by themselves
            for row in queryset:
                audit.record(row, what=gettext_lazy("Deleted."), action=LogEntry.Action.DELETE)

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        row = self.get_object(request, unquote(object_id))  # type: ignore[attr-defined]
        if row is None:
            return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)  # type: ignore[attr-defined]
        if not self.has_view_or_change_permission(request, row):  # type: ignore[attr-defined]
            raise PermissionDenied
        entries = list(of_row(row).order_by("-pk")[: SHOWN + 1])
        context = {
            **self.admin_site.each_context(request),
            "title": _("History of %(row)s") % {"row": audit.name_of(row)},
            "subtitle": None,
            "entries": [described(entry) for entry in entries[:SHOWN]],
            "has_more": len(entries) > SHOWN,
            "log_url": f"{reverse('admin:auditlog_logentry_changelist')}?q={row.pk}",
            "may_see_log": request.user.has_perm("auditlog.view_logentry"),
            "object": row,
            "opts": self.opts,
            **(extra_context or {}),
        }
        return TemplateResponse(request, "admin/object_history.html", context)


def described(entry: LogEntry) -> dict[str, Any]:
    """An entry as the templates show it."""
    return {
        "entry": entry,
        "what": what(entry),
        "who": entry.actor_email or "",
        "facts": facts(entry),
        "changes": changes(entry),
    }
