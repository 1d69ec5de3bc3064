"""What carries a tag costs: the calls that count for tags, each once, whatever it is that carries them.

A call counts for a tag that is on its answer, on the question it answers, on its conversation, on its user, or on the whole
workspace. Under each of its tags it counts in full; in a total it counts once.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db import connection
from django.db.models import F, Q, QuerySet
from django.db.models.expressions import RawSQL
from django.db.models.fields import DateTimeField, UUIDField

from conversations.feedback_figures import Figures, Said, figures_of
from conversations.models import MessageFeedback
from llm.models import LLM
from synapscale.common.money import ZERO, UsdField
from tagging.models import Tag


@dataclass(slots=True)
class Usage:
    """Sums over calls. ``cost`` is what the wallet paid, ``provider_cost`` what the providers ask, in USD."""

    calls: int = 0
    failed: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    total_tokens: int = 0
    cost: Decimal = ZERO
    provider_cost: Decimal = ZERO

    def __iadd__(self, other: Usage) -> Usage:
        for one in fields(self):
            setattr(self, one.name, getattr(self, one.name) + getattr(other, one.name))
        return self


@dataclass(slots=True)
class ByModel:
    """Calls in all and by model (“provider/name”), the dearest first."""

    total: Usage = field(default_factory=Usage)
    models: dict[str, Usage] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Asked:
    """Whose calls, of when: from ``start`` on, before ``end``; with ``user_id`` only that user's, and of what people think
    of them only that user's own word and what is public.
    """

    workspace_id: uuid.UUID
    start: datetime
    end: datetime
    user_id: uuid.UUID | None = None


# From what is tagged to its calls. Each goes by an index of the calls, so what carries no tag is not read.
_WAYS = (
    ("message", "", "u.message_id = l.target_id"),
    (
        "message",
        "JOIN messages m ON m.workspace_id = l.workspace_id AND m.reply_to_id = l.target_id",
        "u.message_id = m.id",
    ),
    ("conversation", "", "u.conversation_id = l.target_id"),
    ("user", "", "u.user_id = l.target_id"),
    ("workspace", "", "u.workspace_id = l.target_id"),
)
_COLUMNS = (
    "u.id, u.message_id, u.llm_id, u.status, u.total_tokens, u.charged_usd, u.cost_usd, "
    "u.input_tokens + u.cached_input_tokens + u.cache_write_5m_tokens + u.cache_write_1h_tokens AS tokens_in, "
    "u.output_tokens + u.reasoning_tokens AS tokens_out"
)
_SUMS = (
    "COUNT(*), SUM(CASE WHEN status IN ('error', 'lost') THEN 1 ELSE 0 END), SUM(tokens_in), SUM(tokens_out), "
    "SUM(total_tokens), SUM(charged_usd), SUM(cost_usd)"
)


def usage_of(tags: Sequence[Tag], asked: Asked) -> ByModel:
    """The calls that count for any of ``tags``, each once. Two queries."""
    if not tags:
        return ByModel()
    pairs, params = pairs_sql(tags, asked)
    distinct = (
        "SELECT DISTINCT id, llm_id, status, total_tokens, charged_usd, cost_usd, tokens_in, tokens_out FROM pairs"
    )
    rows = _fetch(f"WITH pairs AS ({pairs}) SELECT llm_id, {_SUMS} FROM ({distinct}) calls GROUP BY llm_id", params)
    return _by_model([(llm_id, _usage(numbers)) for llm_id, *numbers in rows])


def usage_by_tag(tags: Sequence[Tag], asked: Asked) -> dict[uuid.UUID, ByModel]:
    """The calls of each of ``tags``; one with two of them counts under both. Two queries."""
    if not tags:
        return {}
    pairs, params = pairs_sql(tags, asked)
    rows = _fetch(f"WITH pairs AS ({pairs}) SELECT tag_id, llm_id, {_SUMS} FROM pairs GROUP BY tag_id, llm_id", params)
    names = _names({llm_id for _, llm_id, *_ in rows})
    found: dict[uuid.UUID, list[tuple[Any, Usage]]] = {tag.pk: [] for tag in tags}
    for tag_id, llm_id, *numbers in rows:
        found[_uuid(tag_id)].append((llm_id, _usage(numbers)))
    return {tag_id: _by_model(usages, names) for tag_id, usages in found.items()}


def feedback_on(tags: Sequence[Tag], asked: Asked) -> QuerySet[MessageFeedback]:
    """What people think of the answers whose calls count for any of ``tags``."""
    pairs, params = pairs_sql(tags, asked)
    answers = RawSQL(f"SELECT message_id FROM ({pairs}) pairs", params)  # noqa: S611  # of our own constants
    rows = MessageFeedback.objects.filter(workspace_id=asked.workspace_id, message_id__in=answers)
    return rows.filter(Q(user_id=asked.user_id) | Q(is_public=True)) if asked.user_id else rows


def feedback_by_tag(rows: QuerySet[MessageFeedback], *, workspace_id: uuid.UUID) -> dict[uuid.UUID, Figures]:
    """What ``rows`` of feedback say, by the tags that the answers count for; whatever has no tag is left out. One query."""
    said = rows.order_by().values(
        "pk",
        "thumb",
        "stars",
        "category",
        answer=F("message_id"),
        question=F("message__reply_to_id"),
        talk=F("message__conversation_id"),
        asker=F("message__user_id"),
        space=F("workspace_id"),
    )
    sql, params = said.query.sql_with_params()
    columns = "pk, thumb, stars, category, answer, question, talk, asker, space"
    halves = [
        f"SELECT l.tag_id, f.pk, f.thumb, f.stars, f.category FROM f JOIN tag_links l ON l.target_id = f.{column} "
        f"WHERE l.workspace_id = %s AND l.state = 'applied' AND l.target_type = '{target_type}'"
        for target_type, column in (
            ("message", "answer"),
            ("message", "question"),
            ("conversation", "talk"),
            ("user", "asker"),
            ("workspace", "space"),
        )
    ]
    groups = _fetch(
        f"WITH f ({columns}) AS ({sql}) SELECT tag_id, thumb, stars, category, COUNT(*) "
        f"FROM ({' UNION '.join(halves)}) pairs GROUP BY tag_id, thumb, stars, category",
        [*params, *[_param(workspace_id)] * len(halves)],
    )
    return _figures_by_tag(groups)


def _figures_by_tag(groups: Iterable[tuple[Any, ...]]) -> dict[uuid.UUID, Figures]:
    found: dict[uuid.UUID, list[Said]] = defaultdict(list)
    for tag_id, *said in groups:
        found[_uuid(tag_id)].append(Said(*said))
    return {tag_id: figures_of(groups) for tag_id, groups in found.items()}


def feedback_of(tags: Sequence[Tag], asked: Asked) -> dict[uuid.UUID, Figures]:
    """What people think of the answers of each of ``tags``. One query."""
    if not tags:
        return {}
    pairs, params = pairs_sql(tags, asked)
    whose = " AND (f.user_id = %s OR f.is_public)" if asked.user_id else ""
    rows = _fetch(
        f"SELECT p.tag_id, f.thumb, f.stars, f.category, COUNT(*) "
        f"FROM (SELECT DISTINCT tag_id, message_id FROM ({pairs}) calls) p "
        f"JOIN message_feedbacks f ON f.message_id = p.message_id AND f.workspace_id = %s{whose} "
        "GROUP BY p.tag_id, f.thumb, f.stars, f.category",
        [*params, _param(asked.workspace_id), *([_param(asked.user_id)] if asked.user_id else [])],
    )
    return _figures_by_tag(rows)


def pairs_sql(tags: Iterable[Tag], asked: Asked, *, columns: str = _COLUMNS) -> tuple[str, list[Any]]:
    """The query of which call counts for which tag: every pair once, UNION sees to that. And its parameters.

    ``columns`` is SQL: what is selected of a call ``u`` beside ``tag_id``; its ``id`` must be among it.
    """
    ids = [_param(tag.pk) for tag in tags]
    marks = ", ".join(["%s"] * len(ids))
    whose = " AND u.user_id = %s" if asked.user_id else ""
    halves, params = [], []
    for target_type, join, condition in _WAYS:
        halves.append(
            f"SELECT l.tag_id, {columns} FROM tag_links l {join} "
            f"JOIN usage_logs u ON u.workspace_id = l.workspace_id AND {condition} "
            f"WHERE l.workspace_id = %s AND u.workspace_id = %s AND l.tag_id IN ({marks}) AND l.state = 'applied' "
            f"AND l.target_type = '{target_type}' AND u.created_at >= %s AND u.created_at < %s{whose}"
        )
        workspace = _param(asked.workspace_id)
        params += [workspace, workspace, *ids, _time(asked.start), _time(asked.end)]
        params += [_param(asked.user_id)] if asked.user_id else []
    return " UNION ".join(halves), params


def _fetch(sql: str, params: list[Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return cursor.fetchall()


def _usage(numbers: Sequence[Any]) -> Usage:
    # PostgreSQL's SUM of BIGINT is NUMERIC: all of them are whole numbers.
    calls, failed, tokens_in, tokens_out, total, cost, provider_cost = map(int, numbers)
    money = UsdField()
    return Usage(calls, failed, tokens_in, tokens_out, total, money.from_scaled(cost), money.from_scaled(provider_cost))


def _by_model(usages: Sequence[tuple[Any, Usage]], names: dict[uuid.UUID, str] | None = None) -> ByModel:
    names = _names({llm_id for llm_id, _ in usages}) if names is None else names
    found = ByModel()
    for llm_id, usage in sorted(usages, key=lambda pair: (-pair[1].cost, names[_uuid(pair[0])])):
        found.models[names[_uuid(llm_id)]] = usage
        found.total += usage
    return found


def _names(llm_ids: set[Any]) -> dict[uuid.UUID, str]:
    return {llm.pk: str(llm) for llm in LLM.objects.filter(pk__in=llm_ids)}


def _uuid(value: Any) -> uuid.UUID:
    return value if isinstance(value, uuid.UUID) else uuid.UUID(value)


def _param(value: uuid.UUID) -> Any:
    return UUIDField().get_db_prep_value(value, connection)


def _time(value: datetime) -> Any:
    return DateTimeField().get_db_prep_value(value, connection)
