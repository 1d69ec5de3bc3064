"""Scheduled reports: each due time once, whoever looks and however often, and links that arrive."""

from __future__ import annotations

import io
import smtplib
import threading
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.core import mail
from django.core.management import call_command
from django.db import connection
from django.utils import timezone

from analytics.models import Report, ReportMail
from analytics.reports import files, mails, runs, saving, schedule
from conversations.models import Agent
from llm.models import LLM
from synapscale.common.models import new_id
from tests.analytics.reports import make, runs_of
from tests.people import Cast, Person, join
from workspaces.models import Membership

pytestmark = pytest.mark.django_db
MONDAY = datetime(2026, 11, 2, 6, tzinfo=UTC)


def scheduled(person: Person, **fields: Any) -> Report:
    """Every day at six, UTC; due first on MONDAY."""
    return make(person, **{"schedule": "daily", "hour": 6, "next_run_at": MONDAY, **fields})


def again(report: Report) -> Report:
    return Report.objects.get(workspace_id=report.workspace_id, pk=report.pk)


# --- When -------------------------------------------------------------------------------------------------------------


def times(report: Report, start: datetime, count: int) -> list[str]:
    """The next times that it is due, as clocks in its zone show them, with their offset."""
    found, moment = [], start
    for _ in range(count):
        due = schedule.next_after(report, moment)
        assert due is not None
        assert schedule.last_until(report, due) == due
        moment = due
        found.append(f"{due.astimezone(ZoneInfo(report.tz)):%m-%d %H:%M%z}")
    return found


def test_a_day_a_week_a_month(alice: Person) -> None:
    start = datetime(2026, 12, 30, 6, tzinfo=UTC)
    daily, weekly, monthly = (
        make(alice, name=name, schedule=name, hour=6, next_run_at=start) for name in ("daily", "weekly", "monthly")
    )
    assert times(daily, start, 3) == ["12-31 06:00+0000", "01-01 06:00+0000", "01-02 06:00+0000"]
    assert times(weekly, start, 2) == ["01-04 06:00+0000", "01-11 06:00+0000"]
    assert times(monthly, start, 3) == ["01-01 06:00+0000", "02-01 06:00+0000", "03-01 06:00+0000"]
    assert schedule.next_after(make(alice, name="none"), start) is None


def test_the_hour_is_that_of_clocks_there(alice: Person) -> None:
    spring, autumn = datetime(2026, 3, 28, 12, tzinfo=UTC), datetime(2026, 10, 24, 12, tzinfo=UTC)
    report = scheduled(alice, tz="Europe/Berlin", hour=7)
    assert times(report, spring - timedelta(days=1), 3) == ["03-28 07:00+0100", "03-29 07:00+0200", "03-30 07:00+0200"]
    assert times(report, autumn, 2) == ["10-25 07:00+0100", "10-26 07:00+0100"]


def test_an_hour_that_clocks_skip_or_show_twice_comes_once(alice: Person) -> None:
    report = scheduled(alice, tz="Europe/Berlin", hour=2)
    assert times(report, datetime(2026, 3, 28, 12, tzinfo=UTC), 2) == ["03-29 03:00+0200", "03-30 02:00+0200"]
    assert times(report, datetime(2026, 10, 24, 12, tzinfo=UTC), 2) == ["10-25 02:00+0200", "10-26 02:00+0100"]


@pytest.mark.parametrize(
    ("tz", "year"), [("Europe/Berlin", 2026), ("America/New_York", 2026), ("Australia/Lord_Howe", 2027)]
)
@pytest.mark.parametrize("hour", [0, 1, 2, 3, 23])
def test_every_day_of_a_year_has_one(alice: Person, tz: str, year: int, hour: int) -> None:
    report = scheduled(alice, tz=tz, hour=hour)
    zone = ZoneInfo(tz)
    moment, days = datetime(year, 1, 1, tzinfo=zone) - timedelta(seconds=1), []
    while True:
        due = schedule.next_after(report, moment)
        assert due is not None
        if due.astimezone(zone).year > year:
            break
        days.append(due.astimezone(zone).date())
        moment = due
    assert len(days) == len(set(days)) == 365


# --- Once -------------------------------------------------------------------------------------------------------------


def test_what_is_due_runs_once(alice: Person) -> None:
    report = scheduled(alice)
    assert runs.run_due(now=MONDAY - timedelta(seconds=1)).runs == 0
    done = runs.run_due(now=MONDAY + timedelta(seconds=30))
    assert (done.runs, done.failed) == (1, 0)
    (run,) = runs_of(report)
    assert (run.state, run.rows, run.due_at, run.asked_by_id) == ("done", 1, MONDAY, alice.user.pk)
    assert (run.start_at, run.end_at) == (datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 11, 2, tzinfo=UTC))
    assert again(report).next_run_at == MONDAY + timedelta(days=1)
    assert runs.run_due(now=MONDAY + timedelta(minutes=1)).runs == 0


def test_a_week_off_is_one_run_not_seven(alice: Person) -> None:
    report = scheduled(alice, period="last_7_days")
    assert runs.run_due(now=MONDAY + timedelta(days=7, hours=5)).runs == 1
    (run,) = runs_of(report)
    assert (run.due_at, run.end_at) == (MONDAY + timedelta(days=7), datetime(2026, 11, 9, tzinfo=UTC))
    assert again(report).next_run_at == MONDAY + timedelta(days=8)


def test_today_ends_when_it_was_due_not_when_somebody_looked(alice: Person) -> None:
    report = scheduled(alice, period="today")
    runs.run_due(now=MONDAY + timedelta(minutes=7))
    assert runs_of(report)[0].end_at == MONDAY


def test_at_midnight_there_is_nothing_of_today_yet(alice: Person) -> None:
    midnight = MONDAY.replace(hour=0)
    report = scheduled(alice, period="today", hour=0, next_run_at=midnight)
    assert runs.run_due(now=midnight).failed == 0
    (run,) = runs_of(report)
    assert (run.start_at, run.end_at, run.state) == (midnight, midnight, "done")


def test_one_that_fails_does_not_stop_the_others(cast: Cast) -> None:
    gone, fine = scheduled(cast.bob, name="Gone"), scheduled(cast.alice, recipients=[str(cast.alice.user.pk)])
    Membership.objects.filter(pk=cast.bob.membership.pk).delete()
    done = runs.run_due(now=MONDAY)
    assert (done.runs, done.failed, done.mails) == (2, 1, 2)  # a link, and that the other failed
    assert [run.state for report in (gone, fine) for run in runs_of(report)] == ["failed", "done"]
    assert str(done) == "2 runs made, 2 mails sent, 1 failed"


def test_one_that_breaks_does_not_stop_the_others(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    broken, fine = scheduled(cast.bob, name="Broken"), scheduled(cast.alice)
    count, make_due = files.count, runs._make_due

    def breaking(report: Report, now: datetime) -> bool:
        if report.pk == broken.pk:
            raise RuntimeError("a time zone that is gone")
        return make_due(report, now)

    monkeypatch.setattr(runs, "_make_due", breaking)
    done = runs.run_due(now=MONDAY)
    assert (done.runs, done.failed, len(runs_of(fine)), runs_of(broken)) == (1, 1, 1, [])
    monkeypatch.undo()
    monkeypatch.setattr(files, "count", _broken(RuntimeError()))
    assert runs.run_due(now=MONDAY).failed == 1
    monkeypatch.setattr(files, "count", count)
    assert runs.run_due(now=MONDAY).failed == 0
    assert [run.state for run in runs_of(broken)] == ["done"]


def test_a_run_whose_process_died_is_finished_by_another(alice: Person) -> None:
    report = scheduled(alice, recipients=[str(alice.user.pk)])
    assert runs._make_due(report, MONDAY)
    assert [run.state for run in runs_of(report)] == ["queued"]
    done = runs.run_due(now=MONDAY + timedelta(seconds=5))
    assert (done.runs, done.mails) == (0, 1)
    assert [run.state for run in runs_of(report)] == ["done"]


def test_a_report_that_was_changed_meanwhile_is_looked_at_again(alice: Person) -> None:
    seen = scheduled(alice)
    changed = again(seen)
    changed.hour = 20
    changed.save()
    assert not runs._make_due(seen, MONDAY)
    assert runs_of(seen) == []


def test_deleting_takes_runs_and_links_with_it(alice: Person) -> None:
    report = scheduled(alice, recipients=[str(alice.user.pk)])
    runs.run_due(now=MONDAY)
    saving.delete(report)
    saving.delete(report)
    assert not ReportMail.objects.filter(workspace=alice.workspace).exists()
    assert not Report.objects.filter(workspace=alice.workspace).exists()


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has one writer at a time")
@pytest.mark.django_db(transaction=True)
def test_two_processes_make_one_run_and_send_one_link(alice: Person) -> None:
    reports = [scheduled(alice, name=f"R{n}", recipients=[str(alice.user.pk)]) for n in range(10)]
    start, done = threading.Barrier(3), []

    def process() -> None:
        try:
            start.wait()
            done.append(runs.run_due(now=MONDAY))
        finally:
            connection.close()

    threads = [threading.Thread(target=process) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    runs.run_due(now=MONDAY + timedelta(minutes=1))
    assert len(done) == 3
    assert [len(runs_of(report)) for report in reports] == [1] * 10
    assert sum(one.runs for one in done) == 10
    assert len(mail.outbox) == 10


# --- Links ------------------------------------------------------------------------------------------------------------


def test_recipients_get_a_link_and_no_figures(cast: Cast, settings: Any) -> None:
    settings.PUBLIC_URL = "https://api.example.org"
    alice, bob, _ = cast
    report = scheduled(alice, name="Costs", recipients=[str(alice.user.pk), str(bob.user.pk)], format="parquet")
    assert runs.run_due(now=MONDAY).mails == 2
    (run,) = runs_of(report)
    assert sorted(message.to[0] for message in mail.outbox) == ["alice@example.org", "bob@example.org"]
    (to_alice,) = [message for message in mail.outbox if message.to == ["alice@example.org"]]
    assert to_alice.subject == "[SynapScale] Report: Costs"
    assert to_alice.body == (
        "The report “Costs” of the workspace acme has run.\n\n"
        "From:   2026-11-01 00:00 UTC\n"
        "Until:  2026-11-02 00:00 UTC\n\n"
        f"https://api.example.org/api/v1/analytics/reports/{report.pk}/runs/{run.pk}/download?format=parquet\n\n"
        "It opens with an access token of yours, and shows what you may see.\n"
    )
    assert to_alice.attachments == []
    path = to_alice.body.partition("/api/v1/")[2].partition("?")[0]
    assert bob.get(path).status_code == 200
    assert runs.run_due(now=MONDAY + timedelta(hours=1)).mails == 0
    assert all(row.mailed_at for row in ReportMail.objects.filter(workspace=alice.workspace))


def test_whoever_left_gets_none(cast: Cast) -> None:
    alice, bob, _ = cast
    scheduled(alice, recipients=[str(bob.user.pk)])
    Membership.objects.filter(pk=bob.membership.pk).delete()
    assert runs.run_due(now=MONDAY).mails == 0
    assert not ReportMail.objects.filter(workspace=alice.workspace).exists()


def test_whoever_leaves_before_it_is_sent_gets_none(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    alice, bob, _ = cast
    scheduled(alice, recipients=[str(bob.user.pk)])
    monkeypatch.setattr(mails, "message_of", _broken(ConnectionRefusedError()))
    assert runs.run_due(now=MONDAY).failed == 1
    monkeypatch.undo()
    bob.user.is_active = False
    bob.user.save(update_fields=["is_active"])
    assert runs.run_due(now=MONDAY + timedelta(days=1)).mails == 0
    assert mail.outbox == []
    row = ReportMail.objects.filter(workspace=alice.workspace).first()
    assert row is not None
    assert (row.mailed_at, row.next_try_at) == (None, None)


def _broken(error: Exception) -> Any:
    def breaking(*args: Any) -> Any:
        raise error

    return breaking


@pytest.mark.parametrize("error", [ConnectionRefusedError(), smtplib.SMTPDataError(451, b"later"), ValueError("x")])
def test_a_link_that_fails_is_sent_later(alice: Person, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    scheduled(alice, recipients=[str(alice.user.pk)])
    monkeypatch.setattr(mails, "message_of", _broken(error))
    assert runs.run_due(now=MONDAY).failed == 1
    monkeypatch.undo()
    assert runs.run_due(now=MONDAY + timedelta(minutes=1)).mails == 0  # not yet
    assert runs.run_due(now=MONDAY + timedelta(minutes=3)).mails == 1
    assert len(mail.outbox) == 1


def test_after_ten_tries_it_is_given_up(alice: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    scheduled(alice, schedule="monthly", recipients=[str(alice.user.pk)])
    monkeypatch.setattr(mails, "message_of", _broken(ConnectionRefusedError()))
    failed = sum(runs.run_due(now=MONDAY + timedelta(hours=7 * n)).failed for n in range(20))
    assert failed == mails.MAX_TRIES == 10
    row = ReportMail.objects.get(workspace=alice.workspace)
    assert (row.tries, row.mailed_at, row.next_try_at) == (10, None, None)


# --- What fails -------------------------------------------------------------------------------------------------------


def test_whoever_made_a_report_is_told_once_that_it_fails(cast: Cast, llm: LLM, settings: Any) -> None:
    settings.PUBLIC_URL = "https://api.example.org"
    alice, bob, _ = cast
    agent = Agent.objects.create(workspace=alice.workspace, name="Helper", llm=llm)
    definition = {"agent": str(agent.pk)}
    report = scheduled(alice, name="Costs\nBcc: x", definition=definition, recipients=[str(bob.user.pk)])
    Report.objects.filter(workspace=alice.workspace).update(definition={"agent": str(new_id())})
    for day in range(3):
        runs.run_due(now=MONDAY + timedelta(days=day))
    (message,) = mail.outbox
    assert (message.to, message.subject) == (["alice@example.org"], "[SynapScale] Report failed: Costs Bcc: x")
    assert "due at 2026-11-02 06:00 UTC, has failed:" in message.body
    assert "agent: There is no such agent." in message.body
    assert f"https://api.example.org/api/v1/analytics/reports/{report.pk}\n" in message.body
    Report.objects.filter(workspace=alice.workspace).update(definition=definition)
    runs.run_due(now=MONDAY + timedelta(days=3))
    Report.objects.filter(workspace=alice.workspace).update(definition={"agent": str(new_id())})
    for day in (4, 5):
        runs.run_due(now=MONDAY + timedelta(days=day))
    assert [message.to for message in mail.outbox[1:]] == [["bob@example.org"], ["alice@example.org"]]  # a link; anew


def test_whoever_changes_a_report_that_fails_is_told_whether_it_fails_still(alice: Person) -> None:
    report = scheduled(alice, definition={"agent": str(new_id())})
    for day in range(2):
        runs.run_due(now=MONDAY + timedelta(days=day))
    again(report).save()
    for day in range(2, 4):
        runs.run_due(now=MONDAY + timedelta(days=day))
    assert len(mail.outbox) == 2


def test_where_its_maker_has_left_the_owners_are_told(cast: Cast) -> None:
    alice, bob, _ = cast
    scheduled(bob)
    join(alice.workspace, "dora", Membership.Role.ADMIN)
    Membership.objects.filter(pk=bob.membership.pk).delete()
    for day in range(2):
        runs.run_due(now=MONDAY + timedelta(days=day))
    (message,) = mail.outbox
    assert message.to == ["alice@example.org"]
    assert "Whoever made this report is no longer in the workspace: make one of your own." in message.body


def test_on_demand_nobody_is_told_what_the_answer_says(cast: Cast) -> None:
    report = make(cast.bob)
    Membership.objects.filter(pk=cast.bob.membership.pk).delete()
    run, _ = runs.run_now(report, cast.alice)
    runs.run_due(now=MONDAY)
    assert (run.state, mail.outbox) == ("failed", [])


def test_a_run_that_breaks_for_a_day_is_given_up(alice: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    report = scheduled(alice, schedule="monthly")
    monkeypatch.setattr(files, "count", _broken(RuntimeError("hunter2")))
    now = timezone.now()
    for hours in (0, 23):
        runs.run_due(now=now + timedelta(hours=hours))
        assert [run.state for run in runs_of(report)][-1] == "queued"
    done = runs.run_due(now=now + timedelta(hours=25))
    assert done.mails == 1
    assert {run.state for run in runs_of(report)} == {"failed"}
    assert "hunter2" not in mail.outbox[0].body
    assert "for a reason that is not yours" in mail.outbox[0].body


def test_a_link_is_nobody_elses_while_it_is_sent(alice: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though the runs before it took so long that a claim as of their beginning would be over."""
    scheduled(alice, recipients=[str(alice.user.pk)])
    begun, passed = timezone.now(), [timedelta()]
    count, message_of = files.count, mails.message_of

    def counting(*args: Any) -> Any:
        passed[0] = timedelta(minutes=10)
        return count(*args)

    def sending(link: ReportMail) -> Any:
        monkeypatch.setattr(mails, "message_of", message_of)
        assert runs.run_due().mails == 0  # another process
        return message_of(link)

    monkeypatch.setattr(timezone, "now", lambda: begun + passed[0])
    monkeypatch.setattr(files, "count", counting)
    monkeypatch.setattr(mails, "message_of", sending)
    assert runs.run_due().mails == 1
    assert len(mail.outbox) == 1


def test_the_command(alice: Person) -> None:
    scheduled(alice)
    out = io.StringIO()
    call_command("run_reports", stdout=out)
    assert out.getvalue() == "run_reports: 1 runs made, 0 mails sent, 0 failed\n"
    Membership.objects.filter(pk=alice.membership.pk).delete()
    Report.objects.filter(workspace=alice.workspace).update(next_run_at=MONDAY, hour=5)
    with pytest.raises(SystemExit):
        call_command("run_reports", stdout=out)
