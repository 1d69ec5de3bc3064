"""docs/analytics.md is true: each metric's definition is the code's, and its example is what the example's calls come to."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.urls import get_resolver

from analytics import health
from analytics.measures import METRICS
from conversations.models import Message, MessageFeedback
from tests.analytics.usage import Call, write
from tests.catalogue import make_llm
from tests.people import Person, fund

PAGE = (Path(__file__).resolve().parent.parent / "docs/analytics.md").read_text(encoding="utf-8")
DAY = {"start": "2026-10-01", "end": "2026-10-02"}


def table(first_column: str) -> list[dict[str, str]]:
    """The rows of the tables of the page whose first column is called that."""
    found: list[dict[str, str]] = []
    for block in re.findall(r"(?:^\|.*\n)+", PAGE, re.MULTILINE):
        rows = [[cell.strip() for cell in line.strip("|\n").split("|")] for line in block.splitlines()]
        if rows[0][0] == first_column:
            found += [dict(zip(rows[0], row, strict=True)) for row in rows[2:]]
    return found


def tokens_of(row: dict[str, str]) -> tuple[int, int, int, int, int, int]:
    fresh, cached, written, output, reasoning = (
        int(row[name]) for name in ("input", "cached", "written", "output", "reasoning")
    )
    return fresh, cached, written, 0, output, reasoning


@pytest.fixture
def example(alice: Person) -> list[Any]:
    """The calls of the page; the answer to the first one is liked, that to the third is not."""
    fund(alice.workspace, "1")
    llms = {name: make_llm(*name.split("/")) for name in ("openai/one", "google/two")}
    calls = [
        Call(
            at=datetime.fromisoformat(f"2026-10-01T{row['time']}").replace(tzinfo=UTC),
            person=alice,
            llm=llms[row["model"]],
            status=row["status"],
            key_source=row["key"],
            attempt=int(row["attempt"]),
            tokens=tokens_of(row),
            cost=int(Decimal(row["provider cost"]) * 10**6),
            charged=int(Decimal(row["charged"]) * 10**6),
            latency_ms=int(row["latency ms"]),
            first_token_ms=int(row["first token ms"]) if row["first token ms"] else None,
        )
        for row in table("time")
    ]
    logs = write(calls)
    for log, thumb in ((logs[0], "up"), (logs[2], "down")):
        Message.objects.filter(workspace=alice.workspace, pk=log.message_id).update(
            role="assistant", llm=log.llm, created_at=log.created_at
        )
        MessageFeedback.objects.create(
            workspace=alice.workspace, message_id=log.message_id, user=alice.user, thumb=thumb
        )
    return logs


def shown(value: Any) -> str:
    return f"`{value}`"


@pytest.mark.django_db
def test_each_metric_is_defined_and_its_example_is_right(alice: Person, example: list[Any]) -> None:
    totals = alice.get("analytics/usage", **DAY).json()["totals"]
    rows = [row for row in table("metric") if "unit" in row]
    written = {
        row["metric"].strip("`"): [row[name] for name in ("definition", "source", "unit", "example")] for row in rows
    }
    assert written == {
        name: [metric.definition, metric.source, metric.unit, shown(totals[name])] for name, metric in METRICS.items()
    }


@pytest.mark.django_db
def test_the_examples_of_profiles_are_right(alice: Person, example: list[Any]) -> None:
    user = alice.get("analytics/users/me", **DAY).json()
    models = alice.get("analytics/models/compare", **DAY).json()["models"]
    two = next(model for model in models if model["model"] == "google/two")
    one = next(model for model in models if model["model"] == "openai/one")
    both = [two["satisfaction"], one["satisfaction"]]
    assert both == ["0.000", "1.000"]
    written = {row["metric"]: row["example"] for row in table("metric") if "where" in row}
    assert user["favorite_model"]["name"] == "google/two"
    assert {
        "`total_messages`": shown(user["total_messages"]),
        "`total_cost`, `conversation_cost`": shown(user["total_cost"]),
        "`favorite_model`": shown(user["favorite_model"]["name"]),
        "`latency.p50`": shown(user["latency"]["p50"]),
        "`latency.p95`, `latency.p99`": shown(user["latency"]["p95"]),
        "`satisfaction`": shown(user["feedback"]["satisfaction"]),
        "`cost_per_positive`": shown(one["cost_per_positive"]),
    } == {name: text for name, text in written.items() if text}
    assert user["latency"]["p95"] == user["latency"]["p99"]


@pytest.mark.django_db
def test_each_metric_of_now_is_named(alice: Person) -> None:
    written = {name for row in table("metric") if "where" in row for name in re.findall(r"`([^`]+)`", row["metric"])}
    of_now = set(alice.get("analytics/metrics").json())
    assert of_now - written - set(METRICS) == {"at", "of", "minutes"}


def test_each_check_of_health_is_named() -> None:
    assert [row["check"].strip("`") for row in table("check")] == list(health.CHECKS)


def test_each_address_is_named() -> None:
    written = {row["address"].strip("`").partition("/{")[0] for row in table("address")}
    routes = {
        str(pattern.pattern) for one in get_resolver().url_patterns for pattern in getattr(one, "url_patterns", ())
    }
    real = {
        match[1] for route in routes if (match := re.match(r"\^analytics/([a-z/]+?)/?(?:\(|\?|/\?)", route)) is not None
    }
    assert written == {name.rstrip("/") for name in real}
