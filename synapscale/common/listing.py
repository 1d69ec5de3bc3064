"""The back office: lists of tables that grow with every call.

Counting millions of rows takes longer than showing fifty of them, and nobody turns to the ten-thousandth: so rows are
counted up to ``COUNTED``, and where there are more the list says so, and its last page leads on to the older ones. Such a
list is sorted by time alone, which is the order of the primary keys (UUIDv7).
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

from django.contrib import messages
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import ERROR_FLAG
from django.core.paginator import Page, Paginator
from django.db import DataError
from django.db.models import Index, Model, Q, QuerySet, UniqueConstraint
from django.http import HttpRequest
from django.utils.translation import gettext as _
from unfold.views import ChangeList

from synapscale.common.amounts import whole
from synapscale.common.models import TenantModel
from synapscale.common.tenancy import fleet_wide

COUNTED = 10_000
MAX_KEYS = 100
"""A search through another table (``llm__name``), or through the columns of a big one, follows so many rows at most."""


class FleetWidePaginator(Paginator):
    """Counts so far and no further. It is also the one door through which the site's autocomplete view, which is no view of
    a model admin, reads rows.
    """

    template_name = "admin/pages_of_list.html"

    @cached_property
    def _counted(self) -> int:
        with fleet_wide():
            rows = self.object_list
            return countable(rows)[: COUNTED + 1].count() if isinstance(rows, QuerySet) else len(rows)

    @cached_property
    def count(self) -> int:
        return min(self._counted, COUNTED)

    @property
    def is_cut(self) -> bool:
        """Whether there are more rows than were counted."""
        return self._counted > COUNTED

    def page(self, number: int | str) -> Page:
        page = super().page(number)
        with fleet_wide():
            len(page.object_list)  # a lazy slice would be read after the marker is gone
        return page


def countable(rows: QuerySet[Any]) -> QuerySet[Any]:
    """``rows`` to be counted: of tenants' rows workspace by workspace, since that is what their indexes begin with."""
    rows = rows.order_by()
    if not issubclass(rows.model, TenantModel):
        return rows.values("pk")
    if rows.query.where:
        workspaces: Any = rows.model._meta.get_field("workspace").related_model
        rows = rows.filter(workspace__in=workspaces._default_manager.order_by().values("pk"))
    return rows.values("workspace_id")


@contextmanager
def asked_by_address(request: HttpRequest) -> Iterator[None]:
    """Around the first reading of rows that an address chose. Raises IncorrectLookupParameters, as Django does for what it
    finds wrong in an address before it asks the database.
    """
    try:
        yield
    except (ValueError, OverflowError, DataError) as error:  # a NUL, the year 100,000, a number beyond a column's
        if not request.GET:
            raise
        raise IncorrectLookupParameters(error) from error


class CountedChangeList(ChangeList):
    """A list that says “more than” where it has not counted to the end."""

    def get_results(self, request: HttpRequest) -> None:
        """Raises IncorrectLookupParameters."""
        with asked_by_address(request):
            super().get_results(request)
        if not self.result_count:
            self.result_list = self.queryset.none()  # looking for them once more would take as long again

    def get_ordering_field(self, field_name: Any) -> Any:
        if not self.model_admin.is_big:
            return super().get_ordering_field(field_name)
        return self.opts.pk.name if field_name == self.model_admin.time_column else None

    @property
    def is_cut(self) -> bool:
        return bool(self.paginator.is_cut)

    @property
    def count_text(self) -> str:
        """How many rows there are, in words: “120”, “more than 10,000”."""
        number = whole(self.result_count)
        return _("more than %(number)s") % {"number": number} if self.is_cut else number

    @cached_property
    def _way(self) -> str:
        """The look-up that continues after a row; empty where the list is not in the order of the keys."""
        first = next(iter(self.queryset.query.order_by), "")
        return {f"-{self.opts.pk.name}": "lt", self.opts.pk.name: "gt"}.get(str(first), "")

    @property
    def further_url(self) -> str:
        """The rows after the last page that was counted; empty where there are none."""
        rows = list(self.result_list)
        if not self.is_cut or self.page_num < self.paginator.num_pages or not self._way or not rows:
            return ""
        return self.get_query_string({f"{self.opts.pk.name}__{self._way}": rows[-1].pk})

    @property
    def begin_url(self) -> str:
        """The list from its beginning, for whoever came by ``further_url``; empty there."""
        ways = [name for name in (f"{self.opts.pk.name}__lt", f"{self.opts.pk.name}__gt") if name in self.params]
        return self.get_query_string(remove=ways) if ways else ""


class CountedLists:
    """A model admin whose list is counted so far and no further."""

    paginator = FleetWidePaginator
    is_big = False
    """Whether the table grows with every call: such a list is sorted by time alone."""
    time_column = "created_at"
    """Of a big list: the column that tells when a row was made."""

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        response = super().changelist_view(request, extra_context)  # type: ignore[misc]
        if request.GET.keys() == {ERROR_FLAG} and "cl" in (getattr(response, "context_data", None) or {}):
            # Django has led here from an address that made no sense to it, and says nothing of that.
            said = _(
                "The address asked for something that this list can't filter by: the filters were left out, and all rows "
                "are shown."
            )
            messages.warning(request, said)
        return response

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type:
        return CountedChangeList

    def get_sortable_by(self, request: HttpRequest) -> Any:
        return (self.time_column,) if self.is_big else super().get_sortable_by(request)  # type: ignore[misc]


def found_by_key(model: type[Model], names: tuple[str, ...], key: uuid.UUID) -> Q:
    """The rows that have ``key`` in a column of ``names``. A key is one row's, so where that is a row of another table, only
    what points at it is looked for: an OR of them all would read the whole table.
    """
    found = Q(pk__in=[])
    for name in names:
        field = None if name == "pk" else model._meta.get_field(name)
        if field is None or not field.is_relation:
            found |= Q(**{name: key})
            continue
        there: Any = field.related_model
        columns = ["pk", "workspace_id"] if issubclass(there, TenantModel) else ["pk"]
        if target := there._default_manager.filter(pk=key).values_list(*columns).first():
            return Q(**{name: key}, **({"workspace_id": target[1]} if len(target) > 1 else {}))
    return found


def found_here(model: type[Model], condition: Q) -> Q:
    """``condition`` on a big table as the keys of the rows it is true of, if they are few: an OR with columns of other
    tables would otherwise read the whole of it, and more than once.
    """
    keys = list(model._default_manager.filter(condition).order_by().values_list("pk", flat=True)[: MAX_KEYS + 1])
    return condition if len(keys) > MAX_KEYS else Q(pk__in=keys)


def has_index(model: type[Model], field: str) -> bool:
    """Whether rows of a tenant's table are found by ``field``: an index has it right after the workspace."""
    options = model._meta
    rules = [*options.indexes, *(rule for rule in options.constraints if isinstance(rule, UniqueConstraint))]
    return field == "workspace" or any(_begins_with(rule, field) for rule in rules)


def _begins_with(rule: Index | UniqueConstraint, field: str) -> bool:
    is_for_all = rule.condition is None or rule.condition == Q(**{f"{field}__isnull": False})
    return is_for_all and [name.lstrip("-") for name in rule.fields][:2] == ["workspace", field]
