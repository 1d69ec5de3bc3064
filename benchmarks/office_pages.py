"""All pages of the back office that GET opens, found by walking its URL patterns, so that a page added later is in by itself,
and the preview of a new price, which a form is posted for.

The benchmark times them, a test counts their queries.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest
from django.test import RequestFactory
from django.urls import URLPattern, URLResolver, get_resolver, reverse

from synapscale.common.admin import OperatorAdmin
from synapscale.common.models import new_id
from synapscale.common.tenancy import fleet_wide

PREFIX = "admin/"
SKIPPED = {
    "set_language": "changes something, by POST",
    "admin:logout": "changes something, by POST",
    "admin:login": "for those who are not signed in",
    "admin:autocomplete": "see autocompletes()",
    "admin:view_on_site": "no row has a page of its own outside",
    "admin:llm_llm_llama": "asks another host",
    "admin:llm_providerconnection_models": "asks another host",
}
OBJECT = {"object_id", "id", "pk"}
"""Names of what stands for a row in the URL of a model's page."""

RowsOf = Callable[[type[Model]], Iterable[tuple[str, Model]]]
"""The rows of a model whose pages are to be opened, each with what is special about it."""


@dataclass(frozen=True)
class Page:
    kind: str
    name: str
    path: str
    posted: tuple[tuple[str, str], ...] = ()
    """The form, where one is posted; it must change nothing, for it is posted again and again."""

    def __str__(self) -> str:
        return f"{self.kind}: {self.name}"


@dataclass(frozen=True)
class _Found:
    name: str
    route: str
    parameters: tuple[str, ...]

    @property
    def model(self) -> type[Model] | None:
        for model in admin.site._registry:
            if self.route.startswith(f"{PREFIX}{model._meta.app_label}/{model._meta.model_name}/"):
                return model
        return None


def pages(rows_of: RowsOf, arguments: Mapping[str, Sequence[Any]] | None = None) -> Iterator[Page]:
    """Each page that a URL pattern stands for. ``arguments`` are the values of parameters that are no row's key."""
    known: dict[str, Sequence[Any]] = {
        "app_label": sorted({model._meta.app_label for model in admin.site._registry}),
        **(arguments or {}),
    }
    for found in _patterns(get_resolver().url_patterns):
        if found.name in SKIPPED:
            continue
        model = found.model
        kind, label = _kind(found, model), found.name.removeprefix("admin:")
        if model is not None and kind not in {"row, other page", "other"}:
            label = model._meta.label
        choices: list[tuple[str, dict[str, Any]]] = [("", {})]
        for parameter in found.parameters:
            if model is not None and parameter in OBJECT:
                values = [(note, row.pk) for note, row in rows_of(model)]
            elif parameter in known:
                values = [(str(value), value) for value in known[parameter]]
            else:
                raise LookupError(f"{found.route}: what is {parameter}? Say so in `arguments`, or skip {found.name}.")
            choices = [
                (f"{note} {more}".strip(), {**chosen, parameter: value})
                for note, chosen in choices
                for more, value in values
            ]
        for note, chosen in choices:
            path = reverse(found.name, kwargs=chosen) if chosen else reverse(found.name)
            yield Page(kind, f"{label}{f' ({note})' if note else ''}", path)


def _kind(found: _Found, model: type[Model] | None) -> str:
    if model is None:
        return "other"
    page = found.name.removeprefix(f"admin:{model._meta.app_label}_{model._meta.model_name}_")
    usual = {"changelist": "list", "change": "row", "add": "add", "history": "history", "delete": "delete"}
    return usual.get(page) or ("row, other page" if found.parameters else "other")


def _patterns(patterns: Iterable[Any], route: str = "", spaces: tuple[str, ...] = ()) -> Iterator[_Found]:
    for one in patterns:
        here = route + str(one.pattern)
        if isinstance(one, URLResolver) and (here.startswith(PREFIX) or PREFIX.startswith(here)):
            yield from _patterns(one.url_patterns, here, (*spaces, *([one.namespace] if one.namespace else [])))
        elif isinstance(one, URLPattern) and here.startswith(PREFIX):
            if one.name is None:
                # Django's own two: a row's old address, and whatever there is nothing at.
                if not here.endswith("<path:object_id>/") and not here.endswith("(?P<url>.*)$"):
                    raise LookupError(f"{here} has no name.")
                continue
            parameters = tuple(one.pattern.regex.groupindex)
            yield _Found(":".join((*spaces, one.name)), here, parameters)


# --- What lists offer -------------------------------------------------------------------------------------------------


def request_of(user: Any, path: str = "/") -> HttpRequest:
    """A request that a model admin can be asked with."""
    request = RequestFactory().get(path)
    request.user = user
    return request


def lists(user: Any, rows_of: RowsOf, *, only: Callable[[type[Model]], bool] = lambda model: True) -> Iterator[Page]:
    """The lists again, with each choice of each filter, sorted by each column, searched, and further pages."""
    for model, model_admin in admin.site._registry.items():
        if not only(model):
            continue
        path = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
        with fleet_wide():
            changelist = model_admin.get_changelist_instance(request_of(user, path))
            filters = [
                (f"{spec.title} = {choice['display']}", str(choice["query_string"]).removeprefix("?"))
                for spec in changelist.filter_specs
                for choice in list(spec.choices(changelist))[1:]  # the first is “all”
                if "query_string" in choice
            ]
            terms = sorted({term for _, row in rows_of(model) for term in _terms(model_admin, row)})
            columns = [
                number
                for number, name in enumerate(changelist.list_display)
                if changelist.get_ordering_field(name)
                and (changelist.sortable_by is None or name in changelist.sortable_by)
            ]
            last = changelist.paginator.num_pages
        label = model._meta.label
        for title, query in filters:
            yield Page("list, filtered", f"{label}: {title}", f"{path}?{query}")
        for term in [*terms, "no such thing"] if model_admin.search_fields else ():
            yield Page("list, searched", f"{label}: {term}", f"{path}?{urlencode({'q': term})}")
        for number in columns:
            for order in (f"{number}", f"-{number}"):
                yield Page("list, sorted", f"{label}: {order}", f"{path}?o={order}")
        for number in sorted({2, min(100, last), last} - {1}):
            if number <= last:
                yield Page("list, further pages", f"{label}: {number}", f"{path}?p={number}")


def _terms(model_admin: Any, row: Model) -> Iterator[str]:
    """One term for each way in which the list can be searched, which finds ``row``."""
    if isinstance(model_admin, OperatorAdmin):
        for name in model_admin.search_ids:
            if key := getattr(row, name):
                yield str(key)
    for name in model_admin.search_fields:
        value: Any = row
        *path, last = name.split("__")
        beginning = last in {"startswith", "istartswith", "icontains"}
        for part in path if beginning else [*path, last]:
            value = getattr(value, part, None)
        if value:
            yield str(value)[:6] if beginning else str(value)


def autocompletes(rows_of: RowsOf) -> Iterator[Page]:
    """What choosers ask for: of each field, without a term, and for the beginning of a name."""
    for model, model_admin in admin.site._registry.items():
        for name in model_admin.autocomplete_fields:
            target: Any = model._meta.get_field(name).related_model
            terms = {term for _, row in rows_of(target) for term in _terms(admin.site._registry[target], row)}
            for term in ["", *sorted(terms), "no such thing"]:
                query = {
                    "app_label": model._meta.app_label,
                    "model_name": model._meta.model_name,
                    "field_name": name,
                    "term": term,
                }
                path = f"{reverse('admin:autocomplete')}?{urlencode(query)}"
                yield Page("autocomplete", f"{model._meta.label}.{name}: {term}", path)


def previews(llm: Model) -> Iterator[Page]:
    """What the calls of ``llm`` would have cost: at one price, with rates for long prompts, and by the hour of the day."""
    rates = {"input": "1.5", "output": "2.5"}
    prices = {
        "one price": {"request_fee_usd": "0.001"},
        "long prompts": {"tiers": json.dumps([{"above_input_tokens": 200_000, **rates}])},
        "long prompts, of 1,000 tokens": {"tiers": json.dumps([{"above_input_tokens": 1000, **rates}])},
        "times of day": {"windows": json.dumps([{"start": "22:00", "end": "06:30", **rates}])},
    }
    for name, price in prices.items():
        form = {
            "reference": str(new_id()),
            "begins": "now",
            "input_usd_per_mtok": "1",
            "output_usd_per_mtok": "2",
            **price,
        }
        yield Page("preview", name, reverse("admin:llm_llm_new_price", args=[llm.pk]), tuple(form.items()))


def matching(found: Iterable[Page], pattern: str) -> list[Page]:
    """Those whose description matches, each path once."""
    kept: dict[Any, Page] = {}
    for page in found:
        if re.search(pattern, str(page), re.IGNORECASE):
            kept.setdefault((page.path, page.posted), page)
    return list(kept.values())
