"""Every page of the back office makes at most 15 queries, and as many for many rows as for few.

The pages are found by walking the URL patterns, so one that is added later is held to it as well. What stands in its address
besides a row's key is named in ``ARGUMENTS``; the walk fails where it doesn't know what to put there.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.contenttypes.models import ContentType
from django.db import connection
from django.db.models import Model
from django.test.utils import CaptureQueriesContext

from benchmarks import office_pages
from benchmarks.office_pages import Page
from conversations.models import Conversation
from tests.admin.rows import Office, answer_in, make_workplace, newest, our_models
from tests.people import Person, join
from workspaces.models import User

LIMIT = 15
WALKS = {
    "lists": ("^list:", 30),
    "lists, filtered": ("^list, filtered:", 50),
    "lists, searched": ("^list, searched:", 80),
    "lists in other ways": ("^(list, (sorted|further pages)|autocomplete):", 80),
    "rows": ("^(row|history):", 60),
    "all others": ("^(?!list|autocomplete|row:|history:)", 60),
}
"""Which pages, and how many there are at least."""
KINDS = {"list, filtered": 2, "list, searched": 4, "list, sorted": 2, "autocomplete": 2}
"""Of lists in other ways, and of what choosers ask for, so many of each model are opened."""


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Pages that nobody may open are a part of the walk, and each would be a traceback in the log."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def arguments(owner: Person) -> dict[str, list[Any]]:
    """What stands in addresses and is no row's key."""
    return {"workspace_id": [owner.workspace.pk]}


def walk(root: User, owner: Person, rows: dict[type[Model], Any], pattern: str) -> list[Page]:
    def rows_of(model: type[Model]) -> Iterator[tuple[str, Any]]:
        yield "", rows[model]

    found = [*office_pages.pages(rows_of, arguments(owner))]
    taken: dict[tuple[str, str], int] = {}
    for page in (*office_pages.lists(root, rows_of), *office_pages.autocompletes(rows_of)):
        group = (page.kind, page.name.partition(":")[0])
        taken[group] = taken.get(group, 0) + 1
        if taken[group] <= KINDS.get(page.kind, 1):
            found.append(page)
    return office_pages.matching(found, pattern)


def counts(office: Office, pages: list[Page]) -> dict[str, int]:
    found = {}
    for page in pages:
        with CaptureQueriesContext(connection) as captured:
            response = office.client.get(page.path)
            b"".join(response) if response.streaming else None
        assert response.status_code < 500, page
        found[f"{page} {page.path}"] = len(captured)
    return found


def grow(owner: Person, others: range) -> None:
    """More workplaces, and more in the first one's conversation."""
    conversation = Conversation.objects.get(workspace=owner.workspace)
    llm = conversation.agent.llm  # type: ignore[union-attr]
    for number in others:
        make_workplace(number)
        join(owner.workspace, f"colleague-{number}", "member")
        answer_in(conversation, owner, llm)


@pytest.mark.parametrize(("pattern", "at_least"), WALKS.values(), ids=WALKS)
def test_every_page_makes_at_most_15_queries_and_as_many_for_twice_the_rows(
    office: Office, root: User, pattern: str, at_least: int
) -> None:
    owner = make_workplace(1)
    rows = {model: newest(model) for model in our_models()}
    grow(owner, range(2, 4))
    pages = walk(root, owner, rows, pattern)
    ContentType.objects.get_for_models(*our_models())  # they are remembered
    few = counts(office, pages)
    grow(owner, range(4, 7))
    many = counts(office, pages)

    assert len(pages) >= at_least
    assert {page: count for page, count in few.items() if count > LIMIT} == {}
    assert {page: (count, many[page]) for page, count in few.items() if many[page] != count} == {}


def test_the_walk_asks_what_to_put_into_an_address(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(office_pages, "OBJECT", set())

    with pytest.raises(LookupError, match=r"what is \w*id\?"):
        list(office_pages.pages(lambda model: [], {"workspace_id": []}))
