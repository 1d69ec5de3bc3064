"""Reports through the API: made, changed, run, deleted, and plain about what is wrong."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import connection

from analytics.models import Report, ReportRun
from analytics.reports import saving
from analytics.reports.windows import window_of
from llm.models import LLM
from tests.analytics.reports import DAY, REPORTS, made, make, run
from tests.api.asking import assert_invalid, error_of
from tests.people import Cast, Person
from tests.together import at_once

pytestmark = pytest.mark.django_db
BODY = {"name": "Costs", "kind": "figures", "period": "last_month"}


def test_a_report(alice: Person, bob: Person, llm: LLM) -> None:
    body = {
        **BODY,
        "definition": {"group_by": ["llm", "user"], "granularity": "week", "status": "success", "llm": str(llm)},
        "tz": "Europe/Berlin",
        "schedule": "weekly",
        "hour": 7,
        "recipients": [str(bob.user.pk)],
        "format": "parquet",
    }
    found = alice.post(REPORTS, body).json()
    assert found == {
        **body,
        "id": found["id"],
        "start": None,
        "end": None,
        "created_by": str(alice.user.pk),
        "next_run_at": found["next_run_at"],
        "created_at": found["created_at"],
        "updated_at": found["updated_at"],
    }
    next_run = datetime.fromisoformat(found["next_run_at"])
    assert next_run > datetime.now(UTC)
    assert next_run.weekday() == 0
    assert alice.get(f"{REPORTS}/{found['id']}").json() == found
    assert alice.get(f"{REPORTS}/").json()["results"] == [found]


def test_what_is_not_said_is_plain(alice: Person) -> None:
    found = alice.post(REPORTS, BODY).json()
    assert {name: found[name] for name in ("definition", "tz", "schedule", "next_run_at", "recipients", "format")} == {
        "definition": {},
        "tz": "UTC",
        "schedule": "none",
        "next_run_at": None,
        "recipients": [],
        "format": "csv",
    }


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""),
        ("name", "a\nb"),
        ("name", "x" * 101),
        ("name", 5),
        ("kind", "sums"),
        ("period", "tomorrow"),
        ("period", "fixed"),
        ("start", "2026-10-01"),
        ("tz", "Mars/Olympus"),
        ("schedule", "hourly"),
        ("hour", 24),
        ("hour", "6"),
        ("recipients", ["alice@example.org"]),
        ("recipients", ["00000000-0000-0000-0000-000000000000"]),
        ("format", "xlsx"),
        ("definition", []),
        ("definition", {"colour": "red"}),
        ("definition", {"limit": "5"}),
        ("definition", {"start": "2026-10-01"}),
        ("definition", {"llm": 5}),
        ("definition", {"llm": ["a"] * 21}),
        ("definition", {"llm": "openai/nothing"}),
        ("definition", {"granularity": "year"}),
        ("definition", {"group_by": ["llm", "colour"]}),
        ("definition", {"tag": "a:b,c"}),
        ("definition", {"user": "nobody"}),
        ("created_by", "00000000-0000-0000-0000-000000000000"),
        ("colour", "red"),
    ],
)
def test_what_is_wrong_is_named(alice: Person, field: str, value: Any) -> None:
    named = ("start", "end") if (field, value) == ("period", "fixed") else (field,)
    response = alice.post(REPORTS, {**BODY, field: value})
    assert_invalid(response, *named)
    if field == "definition" and isinstance(value, dict):
        assert set(response.json()["error"]["details"]["definition"]) == set(value)
    assert not Report.objects.filter(workspace=alice.workspace).exists()


@pytest.mark.parametrize(
    ("start", "end", "field"), [("soon", "2026-10-01", "start"), ("2026-10-02", "2026-10-02", "end")]
)
def test_a_fixed_period_has_a_beginning_before_its_end(alice: Person, start: str, end: str, field: str) -> None:
    assert_invalid(alice.post(REPORTS, {**BODY, "period": "fixed", "start": start, "end": end}), field)


def test_calls_have_no_groups(alice: Person) -> None:
    assert_invalid(alice.post(REPORTS, {**BODY, "kind": "calls", "definition": {"group_by": "llm"}}), "definition")


def test_names_are_one_of_each(cast: Cast) -> None:
    assert cast.alice.post(REPORTS, BODY).status_code == 201
    assert_invalid(cast.bob.post(REPORTS, BODY), "name")
    assert cast.charlie.post(REPORTS, BODY).status_code == 201
    other = made(cast.alice, name="Other")
    assert_invalid(cast.alice.patch(f"{REPORTS}/{other['id']}", {"name": "Costs"}), "name")


def test_there_is_an_end_to_reports(alice: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saving, "MAX_REPORTS", 1)
    made(alice)
    error_of(alice.post(REPORTS, BODY), 409, "too_many_reports")


def test_a_fixed_window_is_in_its_time_zone(alice: Person) -> None:
    found = made(alice, tz="America/Sao_Paulo")
    assert (found["start"], found["end"]) == ("2026-10-25T00:00:00-03:00", "2026-10-26T00:00:00-03:00")


def test_changing(alice: Person) -> None:
    found = made(alice, schedule="daily", hour=3)
    where = f"{REPORTS}/{found['id']}"
    changed = alice.patch(where, {"name": "Other"}).json()
    assert changed == {**found, "name": "Other", "updated_at": changed["updated_at"]}
    changed = alice.patch(where, {"period": "today", "schedule": "none"}).json()
    assert (changed["start"], changed["end"], changed["next_run_at"]) == (None, None, None)
    assert_invalid(alice.patch(where, {"kind": "calls", "definition": {"granularity": "day"}}), "definition")
    assert_invalid(alice.patch(where, {"period": "fixed"}), "start", "end")
    assert alice.patch(where, DAY).json()["end"] == "2026-10-26T00:00:00+00:00"
    assert alice.delete(where).status_code == 204
    error_of(alice.get(where), 404, "not_found")


# --- Runs -------------------------------------------------------------------------------------------------------------


def test_a_run(alice: Person) -> None:
    report = made(alice, tz="Europe/Berlin", format="json")
    found = run(alice, report)
    assert found == {
        "id": found["id"],
        "report": report["id"],
        "asked_by": str(alice.user.pk),
        "due_at": None,
        "kind": "figures",
        "definition": {"workspace": str(alice.workspace.pk)},
        "start": "2026-10-25T00:00:00+02:00",
        "end": "2026-10-26T00:00:00+01:00",
        "tz": "Europe/Berlin",
        "format": "json",
        "state": "done",
        "rows": 1,
        "error": "",
        "download": f"/api/v1/analytics/reports/{report['id']}/runs/{found['id']}/download",
        "created_at": found["created_at"],
        "finished_at": found["finished_at"],
    }
    assert alice.get(f"{REPORTS}/{report['id']}/runs/{found['id']}").json() == found
    again = run(alice, report)
    assert alice.get(f"{REPORTS}/{report['id']}/runs").json()["results"] == [again, found]


def test_the_same_key_is_the_same_run(alice: Person, bob: Person) -> None:
    report, other = made(alice), made(alice, name="Other")
    key = {"Idempotency-Key": "k"}
    first = alice.post(f"{REPORTS}/{report['id']}/run", {}, **key)
    again = alice.post(f"{REPORTS}/{report['id']}/run", {}, **key)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()
    assert run(alice, other, **key)["id"] != first.json()["id"]
    assert_invalid(alice.post(f"{REPORTS}/{report['id']}/run", {}, **{"Idempotency-Key": "x" * 256}), "Idempotency-Key")
    assert_invalid(alice.post(f"{REPORTS}/{report['id']}/run", {"format": "csv"}), "format")


def test_what_is_asked_of_a_download_is_understood_or_refused(alice: Person) -> None:
    report = made(alice)
    ran = run(alice, report)
    for where in (f"{REPORTS}/{report['id']}", f"{REPORTS}/{report['id']}/runs/{ran['id']}"):
        assert_invalid(alice.get(f"{where}/download", format="xlsx"), "format")
        assert_invalid(alice.get(f"{where}/download", colour="red"), "colour")
    ReportRun.objects.filter(workspace=alice.workspace).update(state="queued", finished_at=None, rows=None)
    error = error_of(alice.get(f"{where}/download"), 409, "run_queued")
    assert error["message"]


# --- Windows ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("period", "start", "end"),
    [
        ("today", "2026-03-29 00:00", "2026-03-29 12:00"),
        ("yesterday", "2026-03-28 00:00", "2026-03-29 00:00"),
        ("last_7_days", "2026-03-22 00:00", "2026-03-29 00:00"),
        ("last_30_days", "2026-02-27 00:00", "2026-03-29 00:00"),
        ("this_month", "2026-03-01 00:00", "2026-03-29 12:00"),
        ("last_month", "2026-02-01 00:00", "2026-03-01 00:00"),
    ],
)
def test_periods_are_days_of_the_zone(alice: Person, period: str, start: str, end: str) -> None:
    """In New York; in UTC it is Sunday afternoon, and in Berlin the day when clocks go forward."""
    now = datetime(2026, 3, 29, 16, tzinfo=UTC)
    window = window_of(make(alice, period=period, tz="America/New_York"), now=now)
    assert [f"{moment.astimezone(window.tz):%Y-%m-%d %H:%M}" for moment in (window.start, window.end)] == [start, end]


@pytest.mark.parametrize(("now", "hours"), [("2026-03-30", 23), ("2026-10-26", 25), ("2026-07-02", 24)])
def test_yesterday_has_the_hours_that_it_had(alice: Person, now: str, hours: int) -> None:
    report = make(alice, period="yesterday", tz="Europe/Berlin")
    window = window_of(report, now=datetime.fromisoformat(f"{now}T10:00:00+00:00"))
    assert (window.end - window.start).total_seconds() == hours * 3600


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has one writer at a time")
@pytest.mark.django_db(transaction=True)
def test_two_at_once_do_not_pass_the_limit(alice: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saving, "MAX_REPORTS", 2)
    save = saving._save

    def saving_slowly(*arguments: Any, **options: Any) -> None:
        time.sleep(0.2)
        save(*arguments, **options)

    monkeypatch.setattr(saving, "_save", saving_slowly)

    def ask(number: int) -> int:
        return alice.post(REPORTS, {**BODY, "name": f"R{number}"}).status_code

    assert sorted(at_once(6, ask)) == [201, 201, 409, 409, 409, 409]
    assert Report.objects.filter(workspace=alice.workspace).count() == 2
