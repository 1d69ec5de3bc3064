"""Reports as files: the same figures as ``analytics/usage``, in each format as its own reader reads it."""

from __future__ import annotations

import io
from datetime import timedelta
from decimal import Decimal

import pyarrow
import pyarrow.parquet as parquet
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from analytics import rollups
from analytics.measures import METRICS
from analytics.reports import calls, figures, parquet_format
from conversations.models import Agent, Message
from llm.models import LLM
from tagging.models import Tag, TagLink
from tests.analytics.reports import DAY, FORMATS, NOON, REPORTS, content, made, rows, run, same, total
from tests.analytics.usage import Call, write
from tests.catalogue import make_llm
from tests.people import Person

pytestmark = pytest.mark.django_db
WINDOW = {name: DAY[name] for name in ("start", "end")}
SUMMED = [name for name, metric in METRICS.items() if metric.unit in ("calls", "messages", "tokens", "USD, exact")]


@pytest.fixture
def used(alice: Person, bob: Person, llm: LLM) -> list[Call]:
    """A day of all kinds of call."""
    other = make_llm("anthropic")
    agent = Agent.objects.create(workspace=alice.workspace, name="=Helper", llm=llm)
    statuses = ("success", "error", "interrupted", "lost")
    made_ = [
        Call(
            NOON + timedelta(hours=n % 9, minutes=n),
            (alice, bob)[n % 2],
            (llm, other)[n % 3 == 0],
            agent=agent if n % 2 == 0 else None,
            status=statuses[n % 4],
            key_source=("global", "user", "workspace")[n % 3],
            tokens=(n, 1, 2, 3, 4 * n, 5),
            cost=n,
            latency_ms=100 * n,
            first_token_ms=n if n % 2 else None,
        )
        for n in range(1, 24)
    ]
    write(made_)
    rollups.roll_up()
    return made_


def test_figures_are_those_of_the_usage(alice: Person, used: list[Call]) -> None:
    usage = alice.get("analytics/usage", **WINDOW, granularity="hour").json()
    found = rows(alice, made(alice, definition={"granularity": "hour"}))
    assert [{name: row[name] for name in METRICS} for row in found] == [
        {name: row[name] for name in METRICS} for row in usage["series"]
    ]
    assert [(row["start"], row["end"]) for row in found] == [(row["start"], row["end"]) for row in usage["series"]]
    for name in SUMMED:
        assert total(found, name) == Decimal(usage["totals"][name]), name
    (whole,) = rows(alice, made(alice, name="Whole"))
    assert {name: whole[name] for name in METRICS} == usage["totals"]


@pytest.mark.parametrize("group_by", ["llm", "provider", "user", "agent", "status", "provider,status"])
def test_groups_are_those_of_the_usage(alice: Person, used: list[Call], group_by: str) -> None:
    names = group_by.split(",")
    usage = alice.get("analytics/usage", **WINDOW, group_by=group_by).json()
    found = rows(alice, made(alice, definition={"group_by": names}))
    assert {tuple((row[name], row[f"{name}_name"]) for name in names): row["provider_cost"] for row in found} == {
        tuple((row[name]["key"], row[name]["name"]) for name in names): row["provider_cost"] for row in usage["groups"]
    }
    assert len(found) == len(usage["groups"])


def test_calls_add_up_to_the_usage(alice: Person, used: list[Call], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "PAGE", 4)
    usage = alice.get("analytics/usage", **WINDOW).json()["totals"]
    found = rows(alice, made(alice, kind="calls"))
    assert len(found) == usage["calls"] == len(used)
    assert len({row["id"] for row in found}) == len(used)
    assert [row["created_at"] for row in found] == sorted(row["created_at"] for row in found)
    for name in set(SUMMED) & set(found[0]):
        assert total(found, name) == Decimal(usage[name]), name
    fresh = ("uncached_input_tokens", "cached_input_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens")
    assert all(sum(row[name] for name in fresh) == row["input_tokens"] for row in found)


def test_a_call(alice: Person, llm: LLM) -> None:
    agent = Agent.objects.create(workspace=alice.workspace, name="Helper", llm=llm)
    call = Call(NOON, alice, llm, agent=agent, tokens=(1, 2, 3, 4, 5, 6), cost=7, latency_ms=8, first_token_ms=2)
    (log,) = write([call])
    (row,) = rows(alice, made(alice, kind="calls", tz="America/Sao_Paulo"))
    assert row == {
        "id": str(log.pk),
        "created_at": "2026-10-25T09:00:00-03:00",
        "workspace": str(alice.workspace.pk),
        "conversation": str(log.conversation_id),
        "message": str(log.message_id),
        "attempt": 1,
        "user": str(alice.user.pk),
        "user_email": "alice@example.org",
        "provider": "openai",
        "model": "openai-test",
        "agent": str(agent.pk),
        "agent_name": "Helper",
        "key_source": "global",
        "status": "success",
        "error_code": "",
        "uncached_input_tokens": 1,
        "cached_input_tokens": 2,
        "cache_write_5m_tokens": 3,
        "cache_write_1h_tokens": 4,
        "input_tokens": 10,
        "reasoning_tokens": 6,
        "output_tokens": 11,
        "total_tokens": 21,
        "is_estimate": False,
        "cost": "0.00",
        "provider_cost": "0.000007",
        "latency_ms": 8,
        "first_token_ms": 2,
        "tags": [],
    }


def test_a_call_has_the_tags_that_it_counts_for(alice: Person, bob: Person, llm: LLM) -> None:
    first, second = write([Call(NOON, alice, llm), Call(NOON, bob, llm)])
    question = Message.objects.create(
        workspace=alice.workspace, conversation=first.conversation, user=alice.user, role="user"
    )
    Message.objects.filter(workspace=alice.workspace, pk=first.message_id).update(reply_to=question)
    targets = {
        "answer": ("message", first.message_id),
        "question": ("message", question.pk),
        "talk": ("conversation", first.conversation_id),
        "asker": ("user", alice.user.pk),
        "all": ("workspace", alice.workspace.pk),
    }
    for name, (target_type, target_id) in targets.items():
        tag = Tag.objects.create(workspace=alice.workspace, name=name)
        TagLink.objects.create(workspace=alice.workspace, tag=tag, target_type=target_type, target_id=target_id)
    report = made(alice, kind="calls")
    tags = {row["id"]: row["tags"] for row in rows(alice, report)}
    assert tags == {str(first.pk): sorted(targets), str(second.pk): ["all"]}
    for name, count in (("question", 1), ("all", 2)):
        of_tag = made(alice, name=name, kind="calls", definition={"tag": name})
        assert len(rows(alice, of_tag)) == count
    both = made(alice, name="both", kind="calls", definition={"tag": ["question", "all"]})
    assert [row["id"] for row in rows(alice, both)] == [str(first.pk)]
    assert run(alice, both)["rows"] == 1
    for name, tag in (("none", "nothing:*"), ("one of none", ["all", "nothing:*"])):
        none = made(alice, name=name, kind="calls", definition={"tag": tag})
        assert (rows(alice, none), run(alice, none)["rows"]) == ([], 0)
    lines = rows(alice, report, format="csv")
    assert [row["tags"] for row in lines if row["id"] == str(first.pk)] == ["all, answer, asker, question, talk"]


@pytest.mark.parametrize("kind", ["figures", "calls"])
def test_every_format_says_the_same(
    alice: Person, used: list[Call], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls, "PAGE", 5)
    monkeypatch.setattr(figures, "PERIODS_AT_ONCE", 5)
    monkeypatch.setattr(parquet_format, "ROWS_OF_A_GROUP", 7)
    definition = {} if kind == "calls" else {"granularity": "hour", "group_by": ["llm", "agent"]}
    report = made(alice, kind=kind, definition=definition, tz="Europe/Berlin")
    (first, *others) = [
        [{name: same(value) for name, value in row.items()} for row in rows(alice, report, format=format_)]
        for format_ in FORMATS
    ]
    assert len(first) >= 15
    for other in others:
        assert other == first


def test_the_types_of_parquet(alice: Person, used: list[Call], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "PAGE", 5)
    monkeypatch.setattr(parquet_format, "ROWS_OF_A_GROUP", 10)
    data = content(alice.get(f"{REPORTS}/{made(alice, kind='calls')['id']}/download", format="parquet"))
    file = parquet.ParquetFile(io.BytesIO(data))
    assert [file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)] == [10, 10, 3]
    types = {field.name: field.type for field in file.schema_arrow}
    assert types["cost"] == types["provider_cost"] == pyarrow.decimal128(38, 12)
    assert types["created_at"] == pyarrow.timestamp("us", tz="UTC")
    assert types["total_tokens"] == pyarrow.int64()
    assert types["tags"] == pyarrow.list_(pyarrow.string())


@pytest.mark.parametrize("format_", FORMATS)
def test_nothing_is_a_file_too(alice: Person, format_: str) -> None:
    assert rows(alice, made(alice, kind="calls"), format=format_) == []
    grouped = made(alice, name="Grouped", definition={"group_by": "llm"})
    assert rows(alice, grouped, format=format_) == []
    (row,) = rows(alice, made(alice, name="Whole"), format=format_)
    assert (same(row["calls"]), same(row["cost"]), same(row["error_rate"])) == (0, 0, None)


def test_a_download_says_what_it_is(alice: Person, llm: LLM) -> None:
    report = made(alice, name='Müller: "costs"\\/..', format="csv", tz="America/Sao_Paulo")
    types = {
        "csv": "text/csv; charset=utf-8",
        "json": "application/json",
        "jsonl": "application/x-ndjson",
        "parquet": "application/vnd.apache.parquet",
    }
    for format_, content_type in types.items():
        response = alice.get(f"{REPORTS}/{report['id']}/download", format=format_)
        assert response["Content-Type"] == content_type
        name = f"m%C3%BCller-costs_2026-10-25_2026-10-25.{format_}"
        assert response["Content-Disposition"] == f"attachment; filename*=utf-8''{name}"
        assert (response["Cache-Control"], response["X-Content-Type-Options"]) == ("no-store", "nosniff")
    assert alice.get(f"{REPORTS}/{report['id']}/download")["Content-Type"] == types["csv"]  # its own
    plain = alice.get(f"{REPORTS}/{made(alice, name='???')['id']}/download")
    assert plain["Content-Disposition"] == 'attachment; filename="report_2026-10-25_2026-10-25.csv"'


def test_long_windows_are_read_in_spans(alice: Person, llm: LLM, monkeypatch: pytest.MonkeyPatch) -> None:
    """More periods than are shown at once are no matter: a week has 10,080 minutes."""
    write([Call(NOON, alice, llm), Call(NOON + timedelta(minutes=1), alice, llm)])
    monkeypatch.setattr(figures, "PERIODS_AT_ONCE", 3_000)
    week = {"period": "fixed", "start": "2026-10-20", "end": "2026-10-27"}
    report = made(alice, **week, definition={"granularity": "minute"})
    found = rows(alice, report)
    assert (len(found), total(found, "calls")) == (7 * 24 * 60, 2)
    assert run(alice, report)["rows"] is None  # nobody counts them twice


def test_too_many_groups_are_read_in_halves(alice: Person, llm: LLM, monkeypatch: pytest.MonkeyPatch) -> None:
    write(
        Call(NOON + timedelta(hours=n), alice, make_llm(name=f"m{m}"))
        for n in range(4)
        for m in range(3 * n, 3 * n + 3)
    )
    monkeypatch.setattr("analytics.query.MAX_ROWS", 5)
    report = made(alice, definition={"granularity": "hour", "group_by": "llm"})
    assert total(rows(alice, report), "calls") == 12
    monkeypatch.setattr("analytics.query.MAX_ROWS", 2)
    failed = run(alice, report)
    assert failed["state"] == "failed"
    assert failed["error"].startswith("There are too many groups in one period")


def test_pages_take_few_queries(alice: Person, used: list[Call], monkeypatch: pytest.MonkeyPatch) -> None:
    Tag.objects.create(workspace=alice.workspace, name="unused")
    report = made(alice, kind="calls")

    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            assert len(rows(alice, report)) == len(used)
        return len(captured)

    queries()
    whole = queries()
    monkeypatch.setattr(calls, "PAGE", 8)
    assert queries() - whole == 2 * 5  # the calls, users, models, agents, whether there are tags


@pytest.mark.parametrize("format_", FORMATS)
def test_the_first_piece_comes_before_anything_is_read(alice: Person, used: list[Call], format_: str) -> None:
    response = alice.get(f"{REPORTS}/{made(alice, kind='calls')['id']}/download", format=format_)
    with CaptureQueriesContext(connection) as captured:
        next(iter(response.streaming_content))
    assert len(captured) == 0


def test_tags_are_asked_for_once_a_call(alice: Person, used: list[Call], monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages without a call that has the tag are passed over, and the ones behind them are read."""
    monkeypatch.setattr(calls, "PAGE", 2)
    everything = rows(alice, made(alice, kind="calls"))
    tag = Tag.objects.create(workspace=alice.workspace, name="late")
    for row in everything[-3:]:
        TagLink.objects.create(workspace=alice.workspace, tag=tag, target_type="message", target_id=row["message"])
    found = rows(alice, made(alice, name="Late", kind="calls", definition={"tag": "late"}))
    assert [row["id"] for row in found] == [row["id"] for row in everything[-3:]]
