"""Figures are exact: whatever is asked for, and however much of it the sums know, they are those of the calls one by one."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from analytics import query, rollups
from analytics.measures import Figures
from analytics.periods import Granularity, edges_of
from analytics.query import Wanted
from conversations.models import Agent
from conversations.windows import Window
from llm.models import LLM
from tests.analytics.usage import Call, added, write
from tests.catalogue import make_llm
from tests.people import Cast, make_cast

ZONES = ("UTC", "America/Sao_Paulo", "Europe/Berlin", "Asia/Kolkata", "Asia/Kathmandu", "Australia/Lord_Howe")
START = datetime(2026, 10, 20, 5, 17, 3, 123456, tzinfo=UTC)
"""Days before Berlin's clocks go back on the 25th."""


def moments() -> st.SearchStrategy[datetime]:
    anywhere = st.integers(0, 12 * 24 * 3600 * 1_000_000 - 1).map(lambda us: START + timedelta(microseconds=us))
    on_edges = st.integers(0, 12 * 24 * 2).map(lambda n: datetime(2026, 10, 20, tzinfo=UTC) + timedelta(minutes=30 * n))
    return anywhere | on_edges


class AnyFigures(TestCase):
    """Hypothesis rolls each example's rows back by itself."""

    @given(data=st.data())
    @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
    def test_any_question_is_answered_as_by_counting(self, data: Any) -> None:
        cast, models = make_cast(), [make_llm(), make_llm("anthropic")]
        agents = [None, *(Agent.objects.create(workspace=cast.alice.workspace, name=n, llm=models[0]) for n in "ab")]
        calls = data.draw(st.lists(some_call(cast, models, agents), max_size=40))
        later = data.draw(st.lists(some_call(cast, models, agents), max_size=10))
        write(calls)
        if data.draw(st.booleans()):
            rollups.roll_up(batch=data.draw(st.sampled_from([3, 1000])))
        write(later)
        if data.draw(st.booleans()):
            rollups.rebuild()
        everything = [*calls, *later]
        for _ in range(6):
            ask_anything(data, cast, models, agents, everything)


def some_call(cast: Cast, models: list[LLM], agents: list[Any]) -> st.SearchStrategy[Call]:
    def made(**fields: Any) -> Call:
        is_alices = fields["person"].workspace == cast.alice.workspace
        return Call(**{**fields, "agent": fields["agent"] if is_alices else None})

    return st.builds(
        made,
        at=moments(),
        person=st.sampled_from(list(cast)),
        llm=st.sampled_from(models),
        agent=st.sampled_from(agents),
        attempt=st.sampled_from([1, 1, 2]),
        status=st.sampled_from(["success", "success", "error", "lost", "interrupted"]),
        key_source=st.sampled_from(["global", "user", "workspace"]),
        tokens=st.tuples(*[st.integers(0, 1000)] * 6),
        cost=st.integers(0, 10**9),
        latency_ms=st.none() | st.integers(0, 100_000),
        first_token_ms=st.none() | st.integers(0, 1000),
    )


def ask_anything(data: Any, cast: Cast, models: list[LLM], agents: list[Any], calls: list[Call]) -> None:
    start, end = sorted([data.draw(moments()), data.draw(moments())])
    if start == end:
        return
    window = Window(start, end, ZoneInfo(data.draw(st.sampled_from(ZONES))))
    granularity = data.draw(st.sampled_from([None, "hour", "day", "week", "month"]))
    edges = [start, end] if granularity is None else edges_of(window, Granularity(granularity))
    workspace = data.draw(st.sampled_from([cast.alice.workspace, cast.charlie.workspace, None]))
    wanted = Wanted(
        workspace_id=workspace.pk if workspace else None,
        user_id=data.draw(st.sampled_from([None, None, cast.alice.user.pk, cast.bob.user.pk])),
        llm_ids=data.draw(st.sampled_from([None, None, frozenset({models[0].pk})])),
        agent_id=data.draw(st.sampled_from([None, None, agents[1].pk])),
        key_sources=data.draw(st.sampled_from([None, None, frozenset({"user", "global"})])),
        statuses=data.draw(st.sampled_from([None, None, frozenset({"error", "lost"})])),
    )
    by = tuple(data.draw(st.lists(st.sampled_from(query.DIMENSIONS[:-1]), unique=True, max_size=2)))
    counted: dict[Any, Figures] = defaultdict(Figures)
    for call in calls:
        if not start <= call.at < end or not lets_through(wanted, call):
            continue
        period = max(number for number, edge in enumerate(edges) if edge <= call.at)
        counted[period, tuple(value_of(call, name) for name in by)] += call.figures
    assert query.figures(wanted, edges=edges, by=by).figures == counted


def value_of(call: Call, name: str) -> Any:
    return {
        "workspace": call.person.workspace.pk,
        "user": call.person.user.pk,
        "llm": call.llm.pk,
        "agent": call.agent.pk if call.agent else None,
        "key_source": call.key_source,
        "status": call.status,
    }[name]


def lets_through(wanted: Wanted, call: Call) -> bool:
    if wanted.workspace_id not in (None, call.person.workspace.pk):
        return False
    return all(value_of(call, name) in values for name, values in wanted.conditions())


HOURS = [datetime(2026, 10, 20, hour, tzinfo=UTC) for hour in range(24)]


@pytest.mark.django_db
def test_the_sums_are_read_where_they_serve(cast: Cast, llm: LLM) -> None:
    write(Call(at=hour + timedelta(minutes=30), person=cast.alice, llm=llm) for hour in HOURS)
    rollups.roll_up()
    edges = [HOURS[0] + timedelta(minutes=45), HOURS[-1] + timedelta(minutes=15)]
    with CaptureQueriesContext(
        connection,
    ) as queries:
        answer = query.figures(Wanted(cast.alice.workspace.pk), edges=edges, by=("llm",))
    assert len(queries) == 1
    assert "usage_hours s WHERE" in queries[0]["sql"]
    assert answer.total() == added([Call(at=HOURS[0], person=cast.alice, llm=llm)] * 22)


@pytest.mark.django_db
def test_of_days_that_the_window_cuts_the_hours_are_read(cast: Cast, llm: LLM) -> None:
    calls = [
        Call(at=hour + timedelta(days=day, minutes=30), person=person, llm=llm)
        for day in range(3)
        for hour in HOURS
        for person in (cast.alice, cast.charlie)
    ]
    write(calls)
    rollups.roll_up()
    edges = [HOURS[12] + timedelta(minutes=45), HOURS[12] + timedelta(days=2, minutes=15)]
    with CaptureQueriesContext(connection) as queries:
        answer = query.figures(Wanted(None), edges=edges, by=("workspace",))
    assert len(queries) == 1
    assert "usage_days s WHERE" in queries[0]["sql"]
    assert "usage_hours s WHERE" in queries[0]["sql"]
    # From 12:45 on the first day to 12:15 on the third: what the calls of two whole days are.
    expected = added([Call(at=HOURS[0], person=cast.alice, llm=llm)] * 47)
    assert set(answer.figures.values()) == {expected}
    assert {key for _, (key,) in answer.figures} == {cast.alice.workspace.pk, cast.charlie.workspace.pk}


@pytest.mark.django_db
def test_calls_without_an_agent_are_one_group_wherever_they_are_read_from(cast: Cast, llm: LLM) -> None:
    calls = [Call(at=hour + timedelta(minutes=30), person=cast.alice, llm=llm) for hour in HOURS]
    write(calls[:20])
    rollups.roll_up()
    write(calls[20:])
    edges = [HOURS[0] + timedelta(minutes=15), HOURS[-1] + timedelta(minutes=45)]
    answer = query.figures(Wanted(cast.alice.workspace.pk), edges=edges, by=("agent",))
    assert answer.figures == {(0, (None,)): added(calls)}
