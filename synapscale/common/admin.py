"""The back office: what the admin pages of every app have in common.

Operators look at the whole fleet, so these views read across tenants on purpose; and they look at tables of hundreds of
thousands of rows, so a list makes a fixed number of queries, is ordered by its primary key (UUIDv7: newest first), and
never offers a drop-down of another big table.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any, ClassVar
from urllib.parse import urlencode

from django import forms
from django.contrib import admin
from django.contrib.admin.utils import flatten_fieldsets
from django.contrib.admin.widgets import AutocompleteSelect
from django.db import models
from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.template.response import SimpleTemplateResponse
from django.urls import URLPattern, reverse
from django.utils.html import format_html_join
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.admin import ModelAdmin, TabularInline
from unfold.forms import ActionForm
from unfold.widgets import UnfoldAdminSelectWidget

from synapscale.common import panels
from synapscale.common.exporting import Exports
from synapscale.common.history import Audited
from synapscale.common.listing import (
    MAX_KEYS,
    CountedLists,
    found_by_key,
    found_here,
    has_index,
)
from synapscale.common.models import TenantFK, TenantModel
from synapscale.common.presenting import Presents, read, shown
from synapscale.common.tenancy import fleet_wide

admin.site.index_title = "SynapScale"


# --- Reading across tenants -----------------------------------------------------------------------------------------


def across_tenants(view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
    """``view``, marked as fleet-wide up to its last query: a template response is lazy, so it is rendered in here."""

    @wraps(view)
    def marked(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        with fleet_wide():
            response = view(request, *args, **kwargs)
            return response.render() if isinstance(response, SimpleTemplateResponse) else response

    return marked


# --- Forms ----------------------------------------------------------------------------------------------------------


class OperatorForm(forms.ModelForm):
    """A form that knows of tenants: rows it points at are of the same workspace, and the workspace stays what it is."""

    def clean(self) -> dict[str, Any]:
        super().clean()
        cleaned: dict[str, Any] = self.cleaned_data
        workspace = cleaned.get("workspace")
        workspace_id = workspace.pk if workspace else getattr(self.instance, "workspace_id", None)
        for name, row in list(cleaned.items()):
            if isinstance(row, TenantModel) and row.workspace_id != workspace_id:
                self.add_error(name, _("This belongs to another workspace."))
        return self.cleaned_data

    def _get_validation_exclusions(self) -> set[str]:
        exclude: set[str] = super()._get_validation_exclusions()  # type: ignore[misc]
        if not self.instance._state.adding:
            # It can't be typed into an existing row, but unique constraints that begin with it must be looked at.
            exclude.discard("workspace")
        return exclude


class ChooseAction(ActionForm):
    """With a box of the usual colours: unfold's white on light green is too pale to read."""

    action = forms.ChoiceField(
        label="", widget=UnfoldAdminSelectWidget({"aria-label": _("Select action to run"), "x-model": "action"})
    )


class _SameWorkspaceSelect(AutocompleteSelect):
    """Offers the rows of one workspace."""

    workspace_id: uuid.UUID

    def get_url(self) -> str:
        return f"{super().get_url()}?workspace={self.workspace_id}"


# --- Model admins ---------------------------------------------------------------------------------------------------


def as_uuid(text: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(text)
    except ValueError:
        return None


def row_key(object_id: str | None) -> uuid.UUID:
    """The key in the address of a page. Raises Http404 for what is none."""
    key = as_uuid(object_id or "")
    if key is None:
        raise Http404
    return key


class OperatorAdmin(Audited, Exports, CountedLists, Presents, ModelAdmin):
    """The base of all model admins of the project.

    Search takes an id (``search_ids``), a look-up in the model's own columns (``title__istartswith``), or one in
    another table (``user__email``): that is resolved to keys first, because an OR over joined tables reads all rows.
    """

    form: type[forms.ModelForm] = OperatorForm
    action_form = ChooseAction
    ordering: ClassVar[tuple[str, ...]] = ("-id",)
    change_form_outer_before_template = "admin/panels.html"
    list_per_page = 50
    list_max_show_all = 200
    list_select_related: ClassVar[tuple[str, ...]] = ()
    show_full_result_count = False  # a second COUNT of the whole table
    show_facets = admin.ShowFacets.NEVER  # a COUNT for every choice of every filter
    search_ids: tuple[str, ...] = ("pk",)
    add_fields: tuple[str, ...] = ()
    """What the form of a new row asks for; ``fields`` are those of an existing one."""
    fixed_fields: tuple[str, ...] = ()
    """What can't be changed any more once the row exists."""
    list_defer: tuple[str, ...] = ()
    """Long columns that no list shows."""
    is_deletable = False
    """Most rows are referred to by money or by many others; they are closed, retired or suspended instead."""

    # Views

    def get_urls(self) -> list[URLPattern]:
        patterns = super().get_urls()
        for pattern in patterns:
            pattern.callback = across_tenants(pattern.callback)
        return patterns

    def render_change_form(self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any) -> HttpResponse:
        row = context.get("original")
        if row is not None:
            context["panels"] = panels.panels_of(request, row)
            own = [one for one in context.get("actions_detail", ()) if self.offers(row, _last_part(one.get("path")))]
            context["actions_detail"] = [*own, *panels.tools_of(request, row)]
        return super().render_change_form(request, context, *args, **kwargs)

    def offers(self, row: Any, action: str) -> bool:
        """Whether the page of ``row`` shows the button of the action with this ``url_path``: there is something to do."""
        return True

    # Rows

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows = super().get_queryset(request)
        match = request.resolver_match
        if self.list_defer and match and (match.url_name or "").endswith(("_changelist", "autocomplete")):
            rows = rows.defer(*self.list_defer)
        return rows

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        workspace = request.GET.get("workspace")  # see _SameWorkspaceSelect
        if workspace and issubclass(self.model, TenantModel):
            queryset = queryset.filter(workspace_id=as_uuid(workspace))
        term = search_term.strip()
        if not term:
            return queryset, False
        if "\x00" in term:  # no column of PostgreSQL's has one, nor may it be asked for one
            return queryset.none(), False
        key = as_uuid(term)
        if key is not None:
            return queryset.filter(found_by_key(self.model, self.search_ids, key)), False
        names = self.get_search_fields(request)
        here = [name for name in names if not self._is_elsewhere(name)]
        elsewhere = [name for name in names if self._is_elsewhere(name)]
        found = _any(Q(**{name: term}) for name in here)
        if self.is_big and here:
            found = found_here(self.model, found)
        return queryset.filter(found | _any(self._search(name, term) for name in elsewhere)), False

    def _is_elsewhere(self, name: str) -> bool:
        return self.opts.get_field(name.partition("__")[0]).is_relation

    def _search(self, name: str, term: str) -> Q:
        column, _, lookup = name.partition("__")
        # What is looked up in other tables (slugs, e-mail addresses) is kept in lower case.
        relation: Any = self.opts.get_field(column)
        others = relation.related_model._default_manager.filter(**{lookup: term.lower()}).order_by()
        if relation.one_to_many:
            # By their keys here: a join would show a row once for each of its rows there.
            return Q(pk__in=list(others.values_list(relation.field.attname, flat=True).distinct()[:MAX_KEYS]))
        return Q(**{f"{column}__in": list(others.values_list("pk", flat=True)[:MAX_KEYS])})

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest | None = None) -> bool:
        return self._is_shown(lookup.partition("__")[0]) and super().lookup_allowed(lookup, value, request)

    def _is_shown(self, name: str) -> bool:
        """Whether rows may be filtered by ``name`` in the address: what no page shows (digests, ciphertexts) would be told by
        the rows that are found, letter by letter.
        """
        field = next((field for field in self.opts.concrete_fields if field.name == name), None)
        if field is None or field.primary_key or field.is_relation:
            return True  # looks into other tables, which Django refuses
        if isinstance(field, models.BinaryField):
            return False
        named = flatten_fieldsets(self.fieldsets) if self.fieldsets else self.fields
        filters = [one[0] if isinstance(one, tuple) else one for one in self.list_filter]
        return named is None or name in {*named, *self.add_fields, *self.list_display, *filters}

    # Fields

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        if obj is None and self.add_fields:
            return self.add_fields
        return super().get_fields(request, obj)

    def get_list_display(self, request: HttpRequest) -> list[Any]:
        return [shown(self.model, name) for name in super().get_list_display(request)]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        names = super().get_readonly_fields(request, obj)
        if obj is None:
            return names
        return [*names, *(read(self.model, name) for name in self.fixed_fields), "related_lists"]

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        fieldsets = super().get_fieldsets(request, obj)
        if obj is not None and self._relations:
            fieldsets = [*fieldsets, (_("Related"), {"fields": ["related_lists"]})]
        return fieldsets

    @property
    def _relations(self) -> list[Any]:
        return [
            relation
            for relation in self.opts.related_objects
            if relation.one_to_many
            and self.admin_site.is_registered(relation.related_model)
            and self._is_found(relation)
        ]

    def _is_found(self, relation: Any) -> bool:
        """Whether the rows of the relation are found without reading the whole of a big table."""
        there = self.admin_site.get_model_admin(relation.related_model)
        return not getattr(there, "is_big", False) or has_index(relation.related_model, relation.field.name)

    @admin.display(description=_("Lists"))
    def related_lists(self, obj: models.Model) -> SafeString:
        """Links to the lists of the rows that point here, narrowed by the workspace first, as their indexes are."""

        def link(relation: Any) -> tuple[str, str, str]:
            there = relation.related_model._meta
            query = {f"{relation.field.name}__id__exact": str(obj.pk)}
            if isinstance(obj, TenantModel):
                query = {"workspace__id__exact": str(obj.workspace_id), **query}
            url = reverse(f"{self.admin_site.name}:{there.app_label}_{there.model_name}_changelist")
            return url, urlencode(query), _name_of_rows(relation)

        return format_html_join(" · ", '<a href="{}?{}">{}</a>', map(link, self._relations))

    # Writing

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form = super().get_form(request, obj, change=change, **kwargs)
        if isinstance(obj, TenantModel):
            for field in self.opts.concrete_fields:
                if isinstance(field, TenantFK) and field.name in form.base_fields:
                    choice: Any = form.base_fields[field.name]
                    choice.queryset = choice.queryset.filter(workspace_id=obj.workspace_id)
                    choice.widget.widget = _SameWorkspaceSelect(field, self.admin_site)
                    choice.widget.widget.workspace_id = obj.workspace_id
        return form

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Write an existing row's changed columns and no others: counters and balances move while a form is open."""
        if not change:
            obj.save()
            return
        changed = self.changed_columns(form)
        if changed:
            obj.save(update_fields=changed)

    def changed_columns(self, form: Any) -> list[str]:
        """The columns a submitted form changes, and the ones that Django stamps with every change."""
        fields = [field for field in self.opts.concrete_fields if field.name in form.changed_data]
        if not fields:
            return []
        stamps = [field for field in self.opts.concrete_fields if getattr(field, "auto_now", False)]
        return [field.name for field in [*fields, *stamps]]

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.is_deletable and super().has_delete_permission(request, obj)


def _last_part(path: str | None) -> str:
    return (path or "").rstrip("/").rpartition("/")[2]


def _name_of_rows(relation: Any) -> str:
    """The rows that point here, named after their model, and by what they point with where there are several ways."""
    there, field = relation.related_model, relation.field
    others = [other for other in there._meta.concrete_fields if other.related_model is relation.model]
    name = capfirst(str(there._meta.verbose_name_plural))
    if len(others) == 1:
        return name
    return gettext("%(rows)s by “%(field)s”") % {"rows": name, "field": field.verbose_name}


def _any(conditions: Iterable[Q]) -> Q:
    found = Q(pk__in=[])
    for condition in conditions:
        found |= condition
    return found


class TenantAdmin(OperatorAdmin):
    """A table that belongs to tenants. A workspace's id or slug finds its rows, by the index that starts with it."""

    search_ids: tuple[str, ...] = ("pk", "workspace_id")


class _ViewOnly:
    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class ViewOnlyAdmin(_ViewOnly, TenantAdmin):
    """Rows that only the message road and the ledger write. Nobody edits them here, superusers included."""

    actions = None

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        if self.fields:
            return self.fields
        return [field.name for field in self.opts.concrete_fields]


class PresentingInline(Presents, TabularInline):
    """Rows of another table on a page."""

    extra = 0

    def formfield_for_dbfield(self, db_field: models.Field, request: HttpRequest, **kwargs: Any) -> Any:
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if field is not None:
            # In a table the label is the column's heading, which names no box for whoever can't see it.
            getattr(field.widget, "widget", field.widget).attrs["aria-label"] = capfirst(field.label)
        return field

    def _is_editable(self, request: HttpRequest, obj: Any) -> bool:
        return self.has_change_permission(request, obj) or self.has_add_permission(request, obj)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).order_by("-id")
