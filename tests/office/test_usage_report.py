"""``manage.py usage_report`` as an operator meets it: the figures of the analytics pages, to the digit."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from analytics.measures import shown
from llm.models import LLM
from office.usage_report import METRIC_NAMES
from tagging.links import Target
from tests.analytics.usage import Call, added, write
from tests.catalogue import make_llm
from tests.people import Cast, fund
from tests.tagging.tagged import make_link, make_tag

pytestmark = pytest.mark.django_db
OCTOBER = ("--from", "2026-10-01", "--to", "2026-11-01")


def at(day: int, hour: int = 12) -> datetime:
    return datetime(2026, 10, day, hour, tzinfo=UTC)


@pytest.fixture
def calls(cast: Cast, llm: LLM) -> list[Call]:
    other = make_llm("anthropic", "claude")
    for person in (cast.alice, cast.charlie):
        fund(person.workspace, "5")
    found = [
        Call(at(1, 0), cast.alice, llm, cost=10, charged=12),
        Call(at(1, 23), cast.bob, llm, cost=10, charged=12, status="interrupted"),
        Call(at(2), cast.bob, other, cost=700, charged=800, latency_ms=400),
        Call(at(2), cast.charlie, llm, cost=3, status="error"),
        Call(at(31, 23), cast.charlie, other, cost=5, key_source="user"),
        Call(datetime(2026, 11, 1, tzinfo=UTC), cast.alice, llm, cost=1, charged=1),  # the month after
        Call(datetime(2026, 9, 30, 23, 59, 59, tzinfo=UTC), cast.alice, llm, cost=1, charged=1),  # the month before
    ]
    write(found)
    return found[:5]


def run(*arguments: str) -> str:
    out = io.StringIO()
    call_command("usage_report", *arguments, stdout=out)
    return out.getvalue()


def body(*arguments: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run(*arguments, "--format", "json"))
    return found


def metrics(calls: list[Call]) -> dict[str, Any]:
    return shown(added(calls), METRIC_NAMES)


def groups(report: dict[str, Any], by: str) -> dict[str, dict[str, Any]]:
    return {row.pop(f"{by}_name"): {name: row[name] for name in METRIC_NAMES} for row in report["rows"]}


def test_by_model_provider_user_and_workspace(calls: list[Call], llm: LLM) -> None:
    of_openai = [call for call in calls if call.llm == llm]
    of_anthropic = [call for call in calls if call.llm != llm]
    for by, expected in {
        "model": {"openai/openai-test": of_openai, "anthropic/claude": of_anthropic},
        "provider": {"OpenAI": of_openai, "Anthropic": of_anthropic},
        "user": {
            "alice@example.org": calls[:1],
            "bob@example.org": calls[1:3],
            "charlie@example.org": calls[3:],
        },
        "workspace": {"Acme": calls[:3], "Rival": calls[3:]},
    }.items():
        report = body(*OCTOBER, "--by", by)
        assert groups(report, by) == {name: metrics(of) for name, of in expected.items()}
        assert report["totals"] == metrics(calls)


def test_by_day_has_a_row_for_each_day_also_without_calls(calls: list[Call]) -> None:
    report = body(*OCTOBER, "--by", "day")
    days = {row.pop("day"): row for row in report["rows"]}
    assert len(days) == 31
    assert days["2026-10-01"] == metrics(calls[:2])
    assert days["2026-10-03"] == metrics([])
    assert report["totals"] == metrics(calls)


def test_days_are_those_of_the_zone(calls: list[Call]) -> None:
    """At midnight in London it is nine in the evening of the day before in São Paulo."""
    report = body("--from", "2026-09-30", "--to", "2026-10-01", "--by", "day", "--tz", "America/Sao_Paulo")
    assert (report["rows"][0]["day"], report["rows"][0]["calls"], report["tz"]) == (
        "2026-09-30",
        2,
        "America/Sao_Paulo",
    )


def test_days_are_what_is_asked_for_where_nothing_is_said(calls: list[Call]) -> None:
    assert body(*OCTOBER) == body(*OCTOBER, "--by", "day")


def test_of_one_workspace(calls: list[Call]) -> None:
    report = body(*OCTOBER, "--by", "user", "--workspace", "acme")
    assert set(groups(report, "user")) == {"alice@example.org", "bob@example.org"}
    assert report["totals"] == metrics(calls[:3])


@pytest.fixture
def tagged(cast: Cast, calls: list[Call]) -> list[Call]:
    """The first call has two tags, the second one."""
    logs = list(cast.alice.workspace.usage_logs.filter(created_at__gte=at(1, 0)).order_by("created_at")[:2])
    red, blue, _ = (make_tag(cast.alice, label) for label in ("customer:red", "customer:blue", "unused"))
    for tag, log in ((red, logs[0]), (blue, logs[0]), (blue, logs[1])):
        make_link(tag, Target("message", log.message_id))
    return calls


def test_by_tag_a_call_counts_under_each_and_once_in_the_total(tagged: list[Call]) -> None:
    report = body(*OCTOBER, "--by", "tag", "--workspace", "acme")
    assert groups(report, "tag") == {"customer:red": metrics(tagged[:1]), "customer:blue": metrics(tagged[:2])}
    assert report["totals"] == metrics(tagged[:3])
    one = body(*OCTOBER, "--by", "tag", "--workspace", "acme", "--tag", "customer:r*")
    assert set(groups(one, "tag")) == {"customer:red"}


def test_a_table_lines_up_and_adds_up(calls: list[Call]) -> None:
    assert run(*OCTOBER, "--by", "model").splitlines() == [
        "model               calls  failed  error_rate  total_tokens      cost  provider_cost  average_latency_ms",
        "--------------------------------------------------------------------------------------------------------",
        "anthropic/claude        2       0      0.0000            60    0.0008       0.000705               250.0",
        "openai/openai-test      3       1      0.3333            90  0.000024       0.000023               100.0",
        "--------------------------------------------------------------------------------------------------------",
        "total                   5       1      0.2000           150  0.000824       0.000728               200.0",
    ]


def test_names_take_no_control_of_a_terminal_or_a_spreadsheet(cast: Cast, calls: list[Call]) -> None:
    cast.alice.workspace.name = "=cmd\x1b[2J\u202eevil"
    cast.alice.workspace.save()
    table = run(*OCTOBER, "--by", "workspace")
    assert "=cmd�[2J�evil" in table
    rows = list(csv.DictReader(io.StringIO(run(*OCTOBER, "--by", "workspace", "--format", "csv"))))
    assert rows[0]["workspace_name"].startswith("'=cmd")
    assert [row["cost"] for row in rows] == ["0.000824", "0.00"]


def test_nothing_was_called(db: None) -> None:
    total, said = run(*OCTOBER, "--by", "model").splitlines()[-2:]
    assert total.split() == ["total", "0", "0", "-", "0", "0.00", "0.00", "-"]
    assert said == "Nothing was called in this time."


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((*OCTOBER, "--by", "tag"), "--workspace: Tags are a workspace's: say of which."),
        ((*OCTOBER, "--by", "model", "--workspace", "nobody"), "--workspace: There is no workspace nobody."),
        ((*OCTOBER, "--by", "model", "--tz", "Mars/Phobos"), "argument --tz: “Mars/Phobos” is no time zone"),
        (
            ("--from", "2026-11-01", "--to", "2026-11-01", "--by", "day"),
            "--to: The end must be later than the beginning",
        ),
        (
            ("--from", "2026-10-32", "--to", "2026-11-01", "--by", "day"),
            "argument --from: “2026-10-32” is no day: write it like 2026-10-01",
        ),
        ((*OCTOBER, "--by", "colour"), "invalid choice: 'colour'"),
        (("--from", "1990-01-01", "--to", "2026-01-01", "--by", "day"), "too many of these periods"),
        ((*OCTOBER, "--by", "model", "--tag", "x"), "--tag: Tags can be chosen only where"),
    ],
)
def test_what_makes_no_sense_is_refused(cast: Cast, arguments: tuple[str, ...], said: str) -> None:
    with pytest.raises(CommandError) as error:
        run(*arguments)
    assert said in str(error.value)
    assert error.value.returncode == 1
