"""How long the pages of the back office take over a million calls: ``python -m benchmarks.office``. See
``benchmarks/README.md``.
"""

from __future__ import annotations

import argparse
import html
import logging
import os
import re
import statistics
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from benchmarks import harness
from benchmarks.harness import Case

LIMIT_MS = 300.0
LIMIT_QUERIES = 15
RUNS = 4
"""The first of which warms caches."""


class Timed(Case):
    """A page that is opened again and again; what it answered, and the statements that it made the last time."""

    def __init__(self, page: Any, client: Any, runs: int) -> None:
        super().__init__(str(page), self._open, runs=runs)
        self.page, self.client = page, client
        self.queries: list[tuple[float, str]] = []
        self.answer: Any = None

    def _open(self) -> None:
        from django.db import connection

        self.queries = []
        with connection.execute_wrapper(self._note):
            if self.page.posted:
                self.answer = self.client.post(self.page.path, dict(self.page.posted))
            else:
                self.answer = self.client.get(self.page.path)
            if self.answer.streaming:
                next(iter(self.answer.streaming_content), None)

    def _note(self, execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        start = time.perf_counter()
        try:
            return execute(sql, params, many, context)
        finally:
            self.queries.append(((time.perf_counter() - start) * 1000, sql))

    @property
    def is_page(self) -> bool:
        """Not a download, an address that leads elsewhere, or what nobody may do."""
        is_file = "attachment" in self.answer.get("Content-Disposition", "")
        return self.answer.status_code == harness.OK and not is_file

    @property
    def _is_refused(self) -> bool:
        """Whether a form that was posted came back with errors, instead of what it would do."""
        return bool(self.page.posted) and 'name="confirmed"' not in self.answer.text

    @property
    def is_over(self) -> bool:
        """Over a limit, or broken."""
        if self.answer.status_code >= harness.SERVER_ERROR or self._is_refused:
            return True
        return self.is_page and (self.median > LIMIT_MS or len(self.queries) > LIMIT_QUERIES)


def rows_of(model: Any) -> Iterator[tuple[str, Any]]:
    """The newest row of a model, and those that have most to show."""
    from benchmarks.office_calls import run
    from synapscale.common.tenancy import fleet_wide

    busiest = "SELECT llm_id FROM bench_calls GROUP BY 1 ORDER BY count(*) DESC LIMIT 1"
    heavy = {
        "workspaces.Workspace": [("largest", "SELECT workspace_id FROM bench_spaces WHERE rank = 1")],
        "billing.Wallet": [("largest", "SELECT wallet_id FROM bench_spaces WHERE rank = 1")],
        "conversations.Conversation": [("longest", "SELECT id FROM bench_talks WHERE n = 1")],
        "conversations.Message": [("answer", "SELECT answer_id FROM bench_calls WHERE status = 'success' LIMIT 1")],
        "workspaces.User": [("busiest", "SELECT users[1] FROM bench_spaces WHERE rank = 1")],
        "workspaces.AccessToken": [("busiest", "SELECT tokens[1] FROM bench_spaces WHERE rank = 1")],
        "conversations.Agent": [("busiest", "SELECT agents[1] FROM bench_spaces WHERE rank = 1")],
        "llm.LLM": [("busiest", busiest)],
        "llm.PriceProposal": [("busiest", f"SELECT id FROM price_proposals WHERE llm_id = ({busiest})")],
        "billing.BillingEvent": [
            ("charge", "SELECT event_id FROM bench_calls WHERE charged > 0 AND NOT is_open LIMIT 1")
        ],
        "tagging.Tag": [("busiest", "SELECT tag_id FROM tag_links GROUP BY 1 ORDER BY count(*) DESC LIMIT 1")],
        "tagging.TagRule": [
            (
                "busiest",
                "SELECT rule_id FROM tag_links WHERE rule_id IS NOT NULL GROUP BY 1 ORDER BY count(*) DESC LIMIT 1",
            )
        ],
    }
    with fleet_wide():
        newest = model._default_manager.order_by("-pk").first()
        if newest is not None:
            yield "", newest
        for note, sql in heavy.get(model._meta.label, ()):
            ((key,),) = run(sql)
            yield note, model._default_manager.get(pk=key)


def arguments() -> dict[str, list[Any]]:
    """Values of what stands in URLs and is no row's key."""
    from benchmarks.office_calls import run

    ((largest,),) = run("SELECT workspace_id FROM bench_spaces WHERE rank = 1")
    return {"workspace_id": [largest]}


def pages(pattern: str) -> list[Any]:
    from benchmarks import office_pages
    from benchmarks.office_rows import ROOT
    from llm.models import LLM
    from workspaces.models import User

    root = User.objects.get(email=ROOT)
    kept: dict[Any, list[tuple[str, Any]]] = {}

    def rows(model: Any) -> list[tuple[str, Any]]:
        if model not in kept:
            kept[model] = list(rows_of(model))
        return kept[model]

    def all_of_them() -> Iterable[Any]:
        yield from office_pages.pages(rows, arguments())
        yield from office_pages.lists(root, rows)
        yield from office_pages.autocompletes(rows)
        for _, llm in [row for row in rows(LLM) if row[0] == "busiest"]:
            yield from office_pages.previews(llm)

    return office_pages.matching(all_of_them(), pattern)


def measure(pattern: str, *, runs: int, is_verbose: bool) -> int:
    """The tables; 1 when a page is over a limit."""
    from django.test import Client

    from benchmarks.office_pages import Page
    from benchmarks.office_rows import ROOT
    from workspaces.models import User

    logging.disable(logging.CRITICAL)  # pages that nobody may open are part of the walk
    client = Client(raise_request_exception=False)
    client.force_login(User.objects.get(email=ROOT))
    trip = Case("SELECT 1", harness.round_trip, runs=200)
    trip.measure()
    jobs = Timed(Page("row", "a row by its key", "/admin/common/periodicjob/job%200/change/"), client, 15)
    jobs.measure()
    found = pages(pattern)
    print(f"{len(found)} pages; SELECT 1: {trip.median:.2f} ms; a row by its key: {jobs.median:.1f} ms")
    timed: list[Timed] = []
    for page in _and_their_links(found, timed):
        one = Timed(page, client, runs)
        one.measure()
        timed.append(one)
        if is_verbose or one.is_over:
            _tell(one)
    _print_summary(timed, jobs.median)
    return 1 if any(one.is_over for one in timed) else 0


def _and_their_links(found: list[Any], timed: list[Timed]) -> Iterator[Any]:
    """The pages, and then the lists that pages of rows and figures lead to, narrowed by those rows."""
    from benchmarks.office_pages import Page

    yield from found
    known = {page.path for page in found}
    for one in [one for one in timed if one.page.kind in {"row", "other"} and one.is_page]:
        for link in re.findall(r'href="(/admin/[^"?]*\?[^"]*)"', one.answer.text):
            path = html.unescape(link)
            if path not in known:
                known.add(path)
                yield Page("list, linked", f"{path.split('/')[3]} of {one.page.name}", path)


def _tell(one: Timed) -> None:
    mark = " (!)" if one.is_over else ""
    took = f"{one.median:7.1f} ms (best {min(one.times):.1f}), {len(one.queries):2} queries"
    print(f"{took}, {one.answer.status_code}{mark}: {one.page} {one.page.path}", flush=True)
    if one.is_over:
        for ms, sql in sorted(one.queries, reverse=True)[:3]:
            if ms > LIMIT_MS / 10:
                print(f"          {ms:.0f} ms: {sql[:1500]}")


def _print_summary(timed: list[Timed], fetch: float) -> None:
    print("\n| pages | how many | queries | ms, median | ms, slowest | × one by key | the slowest |")
    print("|---|---:|---:|---:|---:|---:|---|")
    opened = [one for one in timed if one.is_page]
    for kind in dict.fromkeys(one.page.kind for one in opened):
        group = [one for one in opened if one.page.kind == kind]
        queries = [len(one.queries) for one in group]
        slowest = max(group, key=lambda one: one.median)
        middle = statistics.median(one.median for one in group)
        print(
            f"| {kind} | {len(group)} | {min(queries)} to {max(queries)} | {middle:.0f} | {slowest.median:.0f} "
            f"| {slowest.median / fetch:.1f} | {slowest.page.name} |"
        )
    over = sum(one.is_over for one in timed)
    print(f"\n{over} of {len(opened)} pages are over {LIMIT_MS:.0f} ms or {LIMIT_QUERIES} queries.")


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, help="calls to make")
    parser.add_argument("--conversations", type=int, help="conversations that they are made in")
    parser.add_argument("--models", type=int, help="models that they are made to")
    parser.add_argument("--database", help="a database beside that of DATABASE_URL, filled when it is new, and kept")
    parser.add_argument("--pages", default="", help="a regular expression: only these")
    parser.add_argument(
        "--runs", type=int, default=RUNS, help="how often a page is opened; the first time is not counted"
    )
    parser.add_argument("--verbose", action="store_true", help="tell of each page")
    asked = parser.parse_args()
    if asked.database:
        base = os.environ.get("DATABASE_URL", "")
        harness.make_database(base, asked.database)
        os.environ["DATABASE_URL"] = urlunsplit(urlsplit(base)._replace(path=f"/{asked.database}"))
    harness.set_up()
    from benchmarks import office_rows

    database: AbstractContextManager[None]
    database = harness.migrated_database() if asked.database else harness.scratch_database()
    with database:
        if not office_rows.is_filled():
            start = time.perf_counter()
            office_rows.fill(
                rows=asked.rows or office_rows.ROWS,
                talks=asked.conversations or office_rows.TALKS,
                models=asked.models or office_rows.MODELS,
            )
            print(f"made in {time.perf_counter() - start:.0f} s")
        return measure(asked.pages, runs=asked.runs, is_verbose=asked.verbose)


if __name__ == "__main__":
    sys.exit(main())
