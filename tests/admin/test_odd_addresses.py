"""Whatever is typed into an address of the back office: it is refused, or passed over, and is no fault of ours."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import pytest
from auditlog.models import LogEntry
from django.contrib import admin
from django.contrib.contenttypes.models import ContentType
from django.db import transaction
from django.db.models import Model
from django.urls import reverse

from benchmarks import office_pages
from conversations.models import Message
from tests.admin.rows import Office, make_workplace, newest, our_models
from tests.admin.test_query_counts import arguments
from tests.people import Person
from workspaces.models import User

pytestmark = pytest.mark.django_db
ODD = ["x", "-1", "9" * 40, "\x00", "2026-99-99", "٣", "00000000-0000-0000-0000-00000000000x"]
FEW = ["x", "9" * 40, "\x00", "2026-99-99"]
OF_LISTS = ["p", "o", "q", "all", "e", "page", "_facets", "_popup", "_to_field", "workspace"]
"""What Django, unfold and we read in the address of any list."""
LOOKUPS = ["pk__lt", "pk__in", "id__exact", "workspace__id__exact", "created_at__gte", "created_at__year", "nonsense"]
OF_OTHERS = ["s", "page", "term", "next", "language", "tz", "by", "tag", "format", "month", "from", "to", "extended"]


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.fixture
def owner(db: None) -> Person:
    return make_workplace(1)


def rows_of(model: type[Model]) -> Iterator[tuple[str, Any]]:
    yield "", newest(model)


def faults(office: Office, paths: Iterable[str]) -> list[str]:
    """The addresses at which something broke. What the database refuses spoils a transaction, so each has one of its own."""
    office.client.raise_request_exception = False
    found = []
    for path in paths:
        with transaction.atomic():
            response = office.client.get(path)
            if response.status_code >= 500 or not is_whole(response):
                found.append(path)
            transaction.set_rollback(True)
    return found


def is_whole(response: Any) -> bool:
    """Whether it comes to its end: what is made piece by piece can break after its status was sent."""
    try:
        for _ in response if response.streaming else ():
            pass
    except Exception:
        return False
    return True


def asked(path: str, names: Iterable[str], values: Iterable[str] = ODD) -> Iterator[str]:
    """Each name with each odd value."""
    return (f"{path}?{urlencode({name: odd})}" for name in names for odd in values)


@pytest.mark.parametrize("model", [User, Message, LogEntry])
def test_what_any_list_reads(office: Office, owner: Person, model: type[Model]) -> None:
    assert faults(office, asked(office.url(model, "changelist"), OF_LISTS)) == []


@pytest.mark.parametrize("model", our_models(), ids=lambda model: model._meta.label)
def test_what_its_filters_read(office: Office, owner: Person, root: User, model: type[Model]) -> None:
    names = set(LOOKUPS)
    for page in office_pages.lists(root, rows_of, only=lambda one: one is model):
        if page.kind == "list, filtered":
            names |= {name for name, _ in parse_qsl(urlsplit(page.path).query)}
    assert len(names) > len(LOOKUPS) or not admin.site._registry[model].list_filter
    pages = ["changelist", "export"] if getattr(admin.site._registry[model], "export_columns", ()) else ["changelist"]
    odd = [path for page in pages for path in asked(office.url(model, page), sorted(names), FEW)]
    assert faults(office, odd) == []


def test_keys_of_rows_that_are_none(office: Office, owner: Person) -> None:
    """On the pages of rows, their histories, and what can be done to them."""
    keys = {str(newest(model).pk) for model in our_models()}
    paths = [page.path for page in office_pages.pages(rows_of, arguments(owner))]
    parts = [(path, key) for path in paths for key in keys if f"/{key}/" in path]
    assert len(parts) > 100
    odd = [path.replace(f"/{key}/", f"/{quote(other, safe='')}/") for path, key in parts for other in FEW]
    assert faults(office, odd) == []


def test_all_other_pages(office: Office, owner: Person) -> None:
    pages = [page for page in office_pages.pages(rows_of, arguments(owner)) if page.kind != "list"]
    odd = [f"{page.path}?{urlencode(dict.fromkeys([*OF_LISTS, *OF_OTHERS], odd))}" for page in pages for odd in FEW]
    assert len(odd) > 300
    assert faults(office, odd) == []


def test_the_search_of_the_whole_house(office: Office, owner: Person) -> None:
    url = reverse("admin:search")
    asking = [f"{url}?s=works&page={quote(odd)}" for odd in (*ODD, "0", "2", "last", "1.5", "")]
    asking += [f"{url}?s={quote(odd)}&extended=1" for odd in ODD]
    assert faults(office, [*asking, *asked(reverse("admin:login"), ["next"])]) == []
    assert office.client.get(url, {"s": "works"}).status_code == 200
    assert office.client.get(url, {"s": "works", "page": "x"}).status_code == 404


def test_choosers(office: Office, owner: Person) -> None:
    url = reverse("admin:autocomplete")
    found = [dict(parse_qsl(urlsplit(page.path).query)) for page in office_pages.autocompletes(rows_of)]
    fields = [given for given in found if "term" not in given]
    assert len(fields) > 10
    names = (*fields[0], "term", "page", "workspace")
    odd = [f"{url}?{urlencode({**given, name: odd})}" for given in fields for name in names for odd in FEW]
    assert faults(office, odd) == []


def test_no_row_has_a_page_outside(office: Office, owner: Person) -> None:
    """Django's address for such pages: it looks rows up by whatever it is given."""
    kinds = [ContentType.objects.get_for_model(model) for model in our_models()]
    paths = [f"/admin/r/{kind.pk}/{key}/" for kind in kinds for key in ("1", "x", newest(kind.model_class()).pk)]
    paths += [f"/admin/r/{odd}/{odd}/" for odd in ("1", "x", "9" * 40, "%00")]
    assert {path for path in paths if office.client.get(path).status_code != 404} == set()
