"""The rows of a report of calls: one for each row of ``usage_logs``, the oldest first.

They are read in pages by the time and key of the last row: each is a statement of its own, so that nothing is held in
between, and costs the same on page 1 and page 1,000.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from django.db import connection

from analytics import engine, query
from analytics.asking import Asked
from analytics.measures import ANSWERED, OF_A_CALL
from analytics.reports import call_tags
from analytics.reports.columns import Column, Pages, Row, Table, Type
from conversations.models import Agent
from llm.models import LLM
from synapscale.common.money import UsdField, usd_text
from workspaces.models import User

PAGE = 2_000
COLUMNS = (
    Column("id"),
    Column("created_at", Type.TIME),
    Column("workspace"),
    Column("conversation"),
    Column("message"),
    Column("attempt", Type.INTEGER),
    Column("user"),
    Column("user_email"),
    Column("provider"),
    Column("model"),
    Column("agent"),
    Column("agent_name"),
    Column("key_source"),
    Column("status"),
    Column("error_code"),
    Column("uncached_input_tokens", Type.INTEGER),
    Column("cached_input_tokens", Type.INTEGER),
    Column("cache_write_5m_tokens", Type.INTEGER),
    Column("cache_write_1h_tokens", Type.INTEGER),
    Column("input_tokens", Type.INTEGER),
    Column("reasoning_tokens", Type.INTEGER),
    Column("output_tokens", Type.INTEGER),
    Column("total_tokens", Type.INTEGER),
    Column("is_estimate", Type.BOOLEAN),
    Column("cost", Type.DECIMAL),
    Column("provider_cost", Type.DECIMAL),
    Column("latency_ms", Type.INTEGER),
    Column("first_token_ms", Type.INTEGER),
    Column("tags", Type.TEXTS),
)
"""What has the name of a metric is what the call adds to that metric."""
_KEYS = ("id", "created_at", "workspace_id", "conversation_id", "message_id", "user_id", "llm_id", "agent_id")
_PLAIN = ("attempt", "key_source", "status", "error_code")
_NUMBERS = {
    "uncached_input_tokens": "u.input_tokens",
    "cached_input_tokens": "u.cached_input_tokens",
    "cache_write_5m_tokens": "u.cache_write_5m_tokens",
    "cache_write_1h_tokens": "u.cache_write_1h_tokens",
    "input_tokens": OF_A_CALL["input_tokens"],
    "reasoning_tokens": "u.reasoning_tokens",
    "output_tokens": ANSWERED,
    "total_tokens": "u.total_tokens",
    "is_estimate": "u.is_estimate",
    "charged_usd": "u.charged_usd",
    "cost_usd": "u.cost_usd",
    "latency_ms": "u.latency_ms",
    "first_token_ms": "u.time_to_first_token_ms",
}
_TOKENS = tuple(name for name in _NUMBERS if name.endswith("_tokens"))
_SELECTED = ", ".join([*(f"u.{name}" for name in (*_KEYS, *_PLAIN)), *_NUMBERS.values()])
_MONEY = UsdField()

Position = tuple[datetime, uuid.UUID]
"""When the last call was made that was read, and its key."""


def table(asked: Asked) -> Table:
    return Table(COLUMNS, _pages(asked))


def _pages(asked: Asked) -> Pages:
    after: Position | None = None
    tags = [frozenset(tag.label for tag in group) for group in asked.wanted.tags]
    if not all(tags):
        return  # no tag is there that a call could have
    while True:
        found = page(asked, after)
        kept = [call for call in found if all(group.intersection(call.tags) for group in tags)]
        if kept:
            yield [call.row(asked) for call in kept]
        if len(found) < PAGE:
            return
        after = found[-1].position


@dataclass(slots=True)
class Call:
    """A call as it was read, and what its keys stand for."""

    keys: dict[str, uuid.UUID | None]
    created_at: datetime
    plain: Sequence[Any]
    numbers: dict[str, Any]
    user_email: str = ""
    llm: LLM | None = None
    agent_name: str = ""
    tags: tuple[str, ...] = ()

    @property
    def position(self) -> Position:
        key = self.keys["id"]
        assert key is not None
        return self.created_at, key

    def row(self, asked: Asked) -> Row:
        """The values of ``COLUMNS``."""
        attempt, key_source, status, error_code = self.plain
        numbers = self.numbers
        return (
            self._text("id"),
            self.created_at.astimezone(asked.window.tz),
            self._text("workspace_id"),
            self._text("conversation_id"),
            self._text("message_id"),
            attempt,
            self._text("user_id"),
            self.user_email,
            self.llm.provider if self.llm else None,
            self.llm.name if self.llm else None,
            self._text("agent_id"),
            self.agent_name,
            key_source,
            status,
            error_code,
            *(numbers[name] for name in _TOKENS),
            bool(numbers["is_estimate"]),
            usd_text(_MONEY.from_scaled(numbers["charged_usd"])),
            usd_text(_MONEY.from_scaled(numbers["cost_usd"])),
            numbers["latency_ms"],
            numbers["first_token_ms"],
            list(self.tags),
        )

    def _text(self, name: str) -> str | None:
        key = self.keys[name]
        return None if key is None else str(key)


def page(asked: Asked, after: Position | None) -> list[Call]:
    """The next calls after ``after``, in the order of time and key, whatever tags they have. At most eight queries.

    Asking the database for tags would have it look for all calls with them again for each page; here each call is read
    once, with its tags.
    """
    wanted, window = replace(asked.wanted, tags=()), asked.window
    # From the last row's time on: the index of the time serves where that of the pair can't.
    span = (after[0] if after else window.start, window.end)
    where, given = query.conditions_on_calls(wanted, (span,), "u.workspace_id")
    if after is not None:
        where.append("(u.created_at, u.id) > (%s, %s)")
        given += engine.params(after)
    sql = f"SELECT {_SELECTED} FROM usage_logs u WHERE {' AND '.join(where)} ORDER BY u.created_at, u.id LIMIT {PAGE}"
    with query.reading(wanted):
        with connection.cursor() as cursor:
            cursor.execute(sql, given)
            found = [_call(row) for row in cursor.fetchall()]
        if found:
            _name(found)
    return found


def _call(row: Sequence[Any]) -> Call:
    keys = dict(zip(_KEYS, row, strict=False))
    created_at = keys.pop("created_at")
    rest = row[len(_KEYS) :]
    return Call(
        keys={name: engine.as_uuid(value) for name, value in keys.items()},
        created_at=engine.as_time(created_at),
        plain=rest[: len(_PLAIN)],
        numbers=dict(zip(_NUMBERS, rest[len(_PLAIN) :], strict=True)),
    )


def _name(calls: list[Call]) -> None:
    """Look up what the keys of ``calls`` stand for, all of them at once."""

    def ids(name: str) -> set[Any]:
        return {call.keys[name] for call in calls} - {None}

    emails: dict[Any, str] = dict(User.objects.filter(pk__in=ids("user_id")).values_list("pk", "email"))
    llms: dict[Any, LLM] = LLM.objects.in_bulk(ids("llm_id"))
    workspaces = ids("workspace_id")
    agents: dict[Any, str] = {}
    if agent_ids := ids("agent_id"):
        rows = Agent.objects.filter(workspace_id__in=workspaces, pk__in=agent_ids)
        agents = dict(rows.values_list("pk", "name"))
    tags = call_tags.labels_of([call.keys for call in calls])
    for call, labels in zip(calls, tags, strict=True):
        call.user_email = emails.get(call.keys["user_id"], "")
        call.llm = llms.get(call.keys["llm_id"])
        call.agent_name = agents.get(call.keys["agent_id"], "")
        call.tags = labels


def count(asked: Asked) -> int:
    """How many rows there are: the same calls as in all figures, so that is read from the sums."""
    edges: Iterable[datetime] = (asked.window.start, asked.window.end)
    return query.figures(asked.wanted, edges=[edge.astimezone(UTC) for edge in edges]).total().calls
