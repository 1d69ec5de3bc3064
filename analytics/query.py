"""Figures of any calls, exact to the last one: the sums where they serve, and the calls themselves where they don't.

One statement adds up three parts: the sums of whole days and hours; the calls of these that the sums don't know yet (the
tail); and the calls of hours that the window cuts. It reads one snapshot, so no call is in two parts, or in none.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db import connection

from analytics import engine
from analytics.measures import OF_A_CALL, Figures, sums_sql
from analytics.models import AgentHour, FleetHour, UsageDay, UsageHour, UserDay
from analytics.spans import DAY, HOUR, Cover, Span, cover, loose, whole_units
from conversations import tag_usage
from synapscale.common.tenancy import fleet_wide
from tagging.models import Tag

DIMENSIONS = ("workspace", "user", "llm", "agent", "key_source", "status", "tag")
"""By what calls can be told apart; a provider is told from its models (``analytics.groups``)."""
MAX_ROWS = 100_000


class TooManyFigures(Exception):
    """So many groups in so many periods that nobody could read them."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which calls: those of ``workspace_id`` (None: of all, for operators) that each of the others lets through."""

    workspace_id: uuid.UUID | None
    user_id: uuid.UUID | None = None
    llm_ids: frozenset[uuid.UUID] | None = None
    agent_id: uuid.UUID | None = None
    conversation_id: uuid.UUID | None = None
    key_sources: frozenset[str] | None = None
    statuses: frozenset[str] | None = None
    tags: tuple[tuple[Tag, ...], ...] = ()
    """A call must have a tag of each."""

    def conditions(self) -> list[tuple[str, Sequence[Any]]]:
        """Dimensions and the values that are let through."""
        given: list[tuple[str, Sequence[Any] | None]] = [
            ("user", None if self.user_id is None else [self.user_id]),
            ("llm", None if self.llm_ids is None else sorted(self.llm_ids)),
            ("agent", None if self.agent_id is None else [self.agent_id]),
            ("conversation", None if self.conversation_id is None else [self.conversation_id]),
            ("key_source", None if self.key_sources is None else sorted(self.key_sources)),
            ("status", None if self.statuses is None else sorted(self.statuses)),
        ]
        return [(name, values) for name, values in given if values is not None]


@dataclass(frozen=True, slots=True)
class Source:
    """A table of sums of one ``unit`` each, and what it can tell apart."""

    table: str
    time: str
    unit: timedelta
    columns: dict[str, str]
    is_fleets: bool = False


_COMMON = {"key_source": "key_source", "status": "status"}
_BY_MODEL = {"workspace": "workspace_id", "llm": "llm_id", **_COMMON}
_SOURCES = (
    Source(FleetHour._meta.db_table, "hour", HOUR, {"llm": "llm_id", **_COMMON}, is_fleets=True),
    Source(UsageDay._meta.db_table, "day", DAY, _BY_MODEL),
    Source(UsageHour._meta.db_table, "hour", HOUR, _BY_MODEL),
    Source(AgentHour._meta.db_table, "hour", HOUR, {"workspace": "workspace_id", "agent": "agent_key", **_COMMON}),
    Source(UserDay._meta.db_table, "day", DAY, {"workspace": "workspace_id", "user": "user_id", **_COMMON}),
)
"""The smallest first: the first that tells apart what is asked for is read."""
_OF_A_CALL = {
    "workspace": "u.workspace_id",
    "user": "u.user_id",
    "llm": "u.llm_id",
    "agent": "u.agent_id",
    "conversation": "u.conversation_id",
    "key_source": "u.key_source",
    "status": "u.status",
    "tag": "u.tag_id",
}
_READ = ", ".join(
    f"u.{column}"
    for column in (
        *(
            "id",
            "created_at",
            "workspace_id",
            "user_id",
            "conversation_id",
            "agent_id",
            "llm_id",
            "key_source",
            "status",
        ),
        *("attempt", "input_tokens", "cached_input_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens"),
        *("output_tokens", "reasoning_tokens", "total_tokens", "charged_usd", "cost_usd"),
        *("latency_ms", "time_to_first_token_ms"),
    )
)
"""All that figures read of a call."""
_ALWAYS = ("key_source", "status")

Key = tuple[Any, ...]


@dataclass(slots=True)
class Answer:
    """``figures`` by the number of the period (0 where there is one only) and the values of what it is grouped by."""

    figures: dict[tuple[int, Key], Figures] = field(default_factory=dict)

    def total(self) -> Figures:
        """Of everything; grouped by tags, a call counts under each of them, so this is not how many calls there are."""
        return Figures.total(self.figures.values())


def figures(
    wanted: Wanted,
    *,
    edges: Sequence[datetime],
    by: tuple[str, ...] = (),
    tags: Sequence[Tag] = (),
    uses_sums: bool = True,
    max_rows: int | None = None,
) -> Answer:
    """The figures of ``wanted`` in the periods between ``edges`` (UTC, ascending), grouped by some of ``DIMENSIONS``.

    Grouped by ``tag``, only ``tags`` are groups, and a call counts under each that it has. Without ``uses_sums``, every
    call is read: the proof of the sums. One query. Raises TooManyFigures where there are more rows than ``max_rows``
    (otherwise ``MAX_ROWS``).
    """
    most = MAX_ROWS if max_rows is None else max_rows
    summed, values = rows_sql(wanted, edges=edges, by=by, tags=tags, uses_sums=uses_sums)
    names = [f"d{number}" for number in range(len(by))]
    one_period = len(edges) == 2
    period = "1" if one_period else engine.number_among("x.ts", "timestamptz")
    columns = ", ".join(["period", *names])
    sql = (
        f"SELECT {columns}, {sums_sql()} FROM (SELECT {period} AS period, x.* FROM ({summed}) x) x "
        f"GROUP BY {columns} LIMIT {most + 1}"
    )
    given = [*([] if one_period else [engine.edges(edges)]), *values]
    with reading(wanted), connection.cursor() as cursor:
        cursor.execute(sql, given)
        rows = cursor.fetchall()
    if len(rows) > most:
        raise TooManyFigures
    found = Answer()
    for number, *rest in rows:
        place = number - 1, tuple([_read(name, value) for name, value in zip(by, rest, strict=False)])
        row = Figures.of(rest[len(by) :])
        # Sums say all zeros where calls say nothing: both are calls without an agent.
        found.figures[place] = found.figures[place] + row if place in found.figures else row
    return found


def rows_sql(
    wanted: Wanted, *, edges: Sequence[datetime], by: tuple[str, ...], tags: Sequence[Tag] = (), uses_sums: bool = True
) -> tuple[str, list[Any]]:
    """SQL of rows that add up to ``wanted``, and its parameters: the stored sums, as in ``OF_A_CALL``, with ``ts``, key
    source, status, and what it is grouped ``by`` as ``d0``, ``d1`` and so on.
    """
    asked = {*by, *(name for name, _ in wanted.conditions())}
    source, covered = _source(wanted, edges, asked) if uses_sums else (None, loose(edges))
    parts: list[tuple[str, list[Any]]] = []
    left = covered.loose
    if source is not None and covered.whole is not None:
        parts.append(_from_sums(source, wanted, covered.whole, covered.cut, by))
        parts.append(_from_tail(source, wanted, (covered.whole,), by, covered.cut))
        if (finer := _finer(source, wanted, asked)) is not None:
            whole, left = whole_units(left, edges, finer.unit)
            if whole:
                parts += [_from_finer_sums(finer, wanted, span, by) for span in whole]
                parts.append(_from_tail(finer, wanted, whole, by))
    if left:
        parts.append(_from_calls(wanted, left, by, tags))
    return " UNION ALL ".join(part for part, _ in parts), [value for _, values in parts for value in values]


def reading(wanted: Wanted) -> AbstractContextManager[None]:
    """Around what reads the rows of ``wanted``: without a workspace it is operators' code."""
    return nullcontext() if wanted.workspace_id is not None else fleet_wide()


def _source(wanted: Wanted, edges: Sequence[datetime], asked: set[str]) -> tuple[Source | None, Cover]:
    if not wanted.tags:
        for source in _serving(wanted, asked):
            if (covered := cover(edges, source.unit)).is_worthwhile:
                return source, covered
    return None, loose(edges)


def _finer(source: Source, wanted: Wanted, asked: set[str]) -> Source | None:
    """The hours for days that the window cuts: of all workspaces together, such a day may be most of what is read."""
    return next((other for other in _serving(wanted, asked) if other.unit < source.unit), None)


def _serving(wanted: Wanted, asked: set[str]) -> Iterator[Source]:
    for source in _SOURCES:
        if asked <= set(source.columns) and not (source.is_fleets and wanted.workspace_id is not None):
            yield source


def _from_sums(
    source: Source, wanted: Wanted, whole: Span, cut: Sequence[datetime], by: tuple[str, ...]
) -> tuple[str, list[Any]]:
    columns = {name: f"s.{column}" for name, column in source.columns.items()}
    selected = _selected(columns, by, f"s.{source.time}", {name: f"s.{name}" for name in OF_A_CALL})
    where, given = _where(columns, wanted, "s.workspace_id")
    where += [f"s.{source.time} >= %s", f"s.{source.time} < %s"]
    given += engine.params(whole)
    if cut:
        condition, values = engine.among(f"s.{source.time}", cut)
        where.append(f"NOT ({condition})")
        given += values
    return f"SELECT {selected} FROM {source.table} s WHERE {' AND '.join(where)}", given


def _from_finer_sums(source: Source, wanted: Wanted, span: Span, by: tuple[str, ...]) -> tuple[str, list[Any]]:
    sql, given = _from_sums(source, wanted, span, (), by)
    if wanted.workspace_id is None and "workspace" in source.columns:
        # A few hours of each workspace, by the index that begins with it.
        sql += " AND s.workspace_id IN (SELECT id FROM workspaces)"
    return sql, given


def _from_tail(
    source: Source, wanted: Wanted, spans: Sequence[Span], by: tuple[str, ...], cut: Sequence[datetime] = ()
) -> tuple[str, list[Any]]:
    where, given = conditions_on_calls(wanted, spans, "u.workspace_id", "t.workspace_id")
    if cut:
        unit = engine.hour_of("u.created_at") if source.unit == HOUR else engine.day_of("u.created_at")
        condition, values = engine.among(unit, cut)
        where.append(f"NOT ({condition})")
        given += values
    tail = "usage_tail t JOIN usage_logs u ON u.workspace_id = t.workspace_id AND u.id = t.usage_log_id"
    return f"SELECT {_of_calls(by)} FROM {tail} WHERE {' AND '.join(where)}", given


def _from_calls(
    wanted: Wanted, spans: Sequence[Span], by: tuple[str, ...], tags: Sequence[Tag]
) -> tuple[str, list[Any]]:
    where, given = conditions_on_calls(wanted, spans, "u.workspace_id")
    joined: list[Any] = []
    table = "usage_logs u"
    if "tag" in by:
        pairs, joined = _calls_with(tags, wanted, (spans[0][0], spans[-1][1]), columns=_READ)
        table = f"({pairs}) u"
    return f"SELECT {_of_calls(by)} FROM {table} WHERE {' AND '.join(where)}", [*joined, *given]


def conditions_on_calls(wanted: Wanted, spans: Sequence[Span], *workspace: str) -> tuple[list[str], list[Any]]:
    """SQL: what a call ``u`` must be to be one of ``wanted`` in ``spans``, and its parameters. ``workspace`` are the
    columns that say whose a row is.
    """
    where, given = _where(_OF_A_CALL, wanted, *workspace)
    for group in wanted.tags:
        pairs, values = _calls_with(group, wanted, (spans[0][0], spans[-1][1]), columns="u.id")
        where.append(f"u.id IN (SELECT id FROM ({pairs}) tagged)")
        given += values
    where.append(f"({' OR '.join(['u.created_at >= %s AND u.created_at < %s'] * len(spans))})")
    given += [engine.param(moment) for span in spans for moment in span]
    return where, given


def _calls_with(tags: Sequence[Tag], wanted: Wanted, span: Span, *, columns: str) -> tuple[str, list[Any]]:
    """SQL: the pairs of ``tags`` and the calls that have them: ``tag_id`` and ``columns``."""
    assert wanted.workspace_id is not None  # tags are a workspace's
    asked = tag_usage.Asked(wanted.workspace_id, span[0], span[1], wanted.user_id)
    if not tags:
        nothing = f"SELECT u.id AS tag_id, {columns} FROM usage_logs u WHERE u.workspace_id = %s AND 1 = 0"
        return nothing, [engine.param(wanted.workspace_id)]
    return tag_usage.pairs_sql(tags, asked, columns=columns)


def _where(columns: dict[str, str], wanted: Wanted, *workspace: str) -> tuple[list[str], list[Any]]:
    where: list[str] = []
    given: list[Any] = []
    for column in workspace:
        if wanted.workspace_id is not None:
            where.append(f"{column} = %s")
            given.append(engine.param(wanted.workspace_id))
        elif wanted.user_id is not None and "workspace" in columns:
            # The indexes of users begin with the workspace: look into each.
            where.append(f"{column} IN (SELECT id FROM workspaces)")
    is_of_all_calls = wanted.workspace_id is None and columns is _OF_A_CALL
    for name, values in wanted.conditions():
        condition, values = engine.among(columns[name], values)
        if is_of_all_calls and name != "user":
            # Not for an index that begins with the workspace: PostgreSQL would read all of it.
            condition = f"({condition}) IS TRUE"
        where.append(condition)
        given += values
    return where or ["1 = 1"], given


def _of_calls(by: tuple[str, ...]) -> str:
    return _selected(_OF_A_CALL, by, "u.created_at", OF_A_CALL)


def _selected(columns: dict[str, str], by: tuple[str, ...], time: str, sums: dict[str, str]) -> str:
    return ", ".join(
        [
            f"{time} AS ts",
            *(f"{columns[name]} AS d{number}" for number, name in enumerate(by)),
            *(f"{columns[name]} AS {name}" for name in _ALWAYS),
            *(f"{sql} AS {name}" for name, sql in sums.items()),
        ]
    )


def _read(name: str, value: Any) -> Any:
    if name in _ALWAYS:
        return value
    found = engine.as_uuid(value)
    return None if found == engine.NO_AGENT else found
