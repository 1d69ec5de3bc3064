"""What calls used and cost, one row for each day, model, provider, user, workspace or tag.

The figures are those of ``analytics.tables``, so they are the same as on every other screen.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Any
from zoneinfo import ZoneInfo

from django.utils.text import slugify
from django.utils.translation import gettext as _
from rest_framework.serializers import ValidationError

from analytics.asking import MAX_TAGS, Asked
from analytics.measures import METRICS
from analytics.periods import Granularity, midnight
from analytics.query import MAX_ROWS, Wanted
from analytics.reports import csv_format
from analytics.reports.columns import Column, Row, Table, Type
from analytics.tables import table_of
from conversations.windows import Window
from synapscale.common.errors import Unprocessable
from tagging import vocabulary
from tagging.models import Tag
from tagging.names import NotATag, parse_pattern
from workspaces.models import Membership, User, Workspace

METRIC_NAMES = (
    *(
        "calls",
        "messages",
        "failed",
        "interrupted",
        "error_rate",
        "input_tokens",
        "cached_input_tokens",
        "output_tokens",
    ),
    *("reasoning_tokens", "total_tokens", "cost", "provider_cost", "own_key_share", "average_latency_ms"),
)
"""Those of ``docs/analytics.md``."""
_COUNTS = frozenset(name for name in METRIC_NAMES if METRICS[name].unit in ("calls", "messages", "tokens"))


class By(StrEnum):
    DAY = "day"
    MODEL = "model"
    PROVIDER = "provider"
    USER = "user"
    WORKSPACE = "workspace"
    TAG = "tag"


class Format(StrEnum):
    TABLE = "table"
    CSV = "csv"
    JSON = "json"


CONTENT_TYPES = {
    Format.TABLE: "text/plain; charset=utf-8",
    Format.CSV: "text/csv; charset=utf-8",
    Format.JSON: "application/json",
}
_GROUPS = {By.MODEL: "llm", By.PROVIDER: "provider", By.USER: "user", By.WORKSPACE: "workspace", By.TAG: "tag"}
"""What each is called where figures are asked for."""


class _House:
    """Who asks: the house itself, which sees everything."""

    @property
    def user(self) -> User:
        return User(is_staff=True, is_superuser=True)

    @property
    def workspace(self) -> Workspace:
        raise LookupError("The house is no workspace.")

    @property
    def membership(self) -> Membership:
        raise LookupError("The house is a member of nothing.")


@dataclass(frozen=True, slots=True)
class UsageReport:
    """``rows`` have the key of a group and its name (days: the day alone), then the metrics; so have ``totals``, with each
    call once.
    """

    by: By
    first: date
    before: date
    tz: ZoneInfo
    workspace: Workspace | None
    rows: list[Row]
    totals: Row

    @property
    def columns(self) -> tuple[Column, ...]:
        head = (Column("day"),) if self.by == By.DAY else (Column(self.by), Column(f"{self.by}_name"))
        return (*head, *(Column(name, Type.INTEGER if name in _COUNTS else Type.DECIMAL) for name in METRIC_NAMES))

    @property
    def file_stem(self) -> str:
        of = slugify(self.workspace.slug) if self.workspace else "all"
        return f"usage_{of}_by_{self.by}_{self.first}_{self.before}"


def usage_report(
    *, first: date, before: date, by: By, tz: ZoneInfo, workspace: Workspace | None = None, tag: str = ""
) -> UsageReport:
    """The calls from the beginning of ``first`` on and before that of ``before``, both days of ``tz``; the dearest group
    first, days in order, also those without calls.

    ``tag`` narrows the groups by tag: a tag, or the beginning of some, like “customer:*”. Raises Unprocessable, which
    says what to do and in its details names the option.
    """
    if first >= before:
        raise _refusal("to", _("The end must be later than the beginning; the last day is not in the report."))
    if by == By.TAG and workspace is None:
        raise _refusal("workspace", _("Tags are a workspace's: say of which."))
    if tag and by != By.TAG:
        raise _refusal("tag", _("Tags can be chosen only where the report is by tag."))
    is_by_day = by == By.DAY
    asked = Asked(
        who=_House(),
        window=Window(midnight(first, tz), midnight(before, tz), tz),
        wanted=Wanted(workspace_id=workspace.pk if workspace else None),
        workspace=workspace,
        granularity=Granularity.DAY if is_by_day else None,
        group_by=() if is_by_day else (_GROUPS[by],),
        tags=_tags(workspace.pk, tag) if by == By.TAG and workspace else (),
        limit=MAX_ROWS,
    )
    try:
        body = table_of(asked, names=METRIC_NAMES)
    except ValidationError as error:
        raise _refusal("to", " ".join(str(said) for texts in error.detail.values() for said in texts)) from None  # type: ignore[union-attr]
    totals = _values(body["totals"])
    if is_by_day:
        rows: list[Row] = [(period["start"][:10], *_values(period)) for period in body["series"]]
        return UsageReport(by, first, before, tz, workspace, rows, ("total", *totals))
    rows = [(*_named(group[_GROUPS[by]]), *_values(group)) for group in body["groups"]]
    return UsageReport(by, first, before, tz, workspace, rows, ("total", "", *totals))


def write(report: UsageReport, format_: Format) -> Iterator[bytes]:
    """The report as a file, in pieces."""
    match format_:
        case Format.CSV:
            # No totals: whoever adds up a column of a file would count everything twice.
            yield from csv_format.write(Table(report.columns, iter([report.rows])))
        case Format.JSON:
            yield json.dumps(_as_json(report), indent=2).encode() + b"\n"
        case Format.TABLE:
            yield "".join(f"{line}\n" for line in _lines(report)).encode()


def _refusal(option: str, said: str) -> Unprocessable:
    return Unprocessable(said, details={option: [said]})


def _tags(workspace_id: uuid.UUID, text: str) -> tuple[Tag, ...]:
    rows = Tag.objects.filter(workspace_id=workspace_id)
    if text:
        try:
            rows = vocabulary.narrowed(rows, [parse_pattern(text)])
        except NotATag as error:
            raise _refusal("tag", str(error)) from None
    found = tuple(rows.order_by("label")[: MAX_TAGS + 1])
    if len(found) > MAX_TAGS:
        said = _("That is more than %(number)s tags: name fewer, for example “customer:*”.")
        raise _refusal("tag", said % {"number": MAX_TAGS})
    return found


def _values(metrics: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(metrics[name] for name in METRIC_NAMES)


def _named(group: dict[str, Any]) -> tuple[str | None, str]:
    return group["key"], group["name"]


def _as_json(report: UsageReport) -> dict[str, Any]:
    names = [column.name for column in report.columns]
    return {
        "from": report.first.isoformat(),
        "to": report.before.isoformat(),
        "tz": report.tz.key,
        "by": report.by,
        "workspace": report.workspace.slug if report.workspace else None,
        "rows": [dict(zip(names, row, strict=True)) for row in report.rows],
        "totals": dict(zip(METRIC_NAMES, report.totals[-len(METRIC_NAMES) :], strict=True)),
    }


_SHOWN = ("calls", "failed", "error_rate", "total_tokens", "cost", "provider_cost", "average_latency_ms")
"""What fits on a screen."""


def _lines(report: UsageReport) -> Iterator[str]:
    """Columns that line up, numbers to the right; without the ids, which are for programs."""
    places = [place for place, column in enumerate(report.columns) if column.name in _SHOWN]
    name = 0 if report.by == By.DAY else 1
    total = list(report.totals)
    total[name] = "total"
    rows = [[_cell(row[place]) for place in (name, *places)] for row in (*report.rows, total)]
    table = [[str(report.by), *(report.columns[place].name for place in places)], *rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = [
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in table
    ]
    rule = "-" * len(lines[0])
    yield from (lines[0], rule, *lines[1:-1], *([rule] if report.rows else []), lines[-1])
    if not report.totals[-len(METRIC_NAMES)]:
        yield "Nothing was called in this time."


def _cell(value: Any) -> str:
    """One line of text that takes no control of the terminal it is shown on."""
    return "-" if value is None else "".join(letter if letter.isprintable() else "�" for letter in str(value)) or "-"
