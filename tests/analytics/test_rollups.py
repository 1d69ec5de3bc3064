"""No figure changes by whatever becomes of the sums: added twice, cut off, deleted, made again, or added to at once."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection, transaction
from django.utils import timezone

from analytics import latencies, query, rollups
from analytics.models import RollupState, UsageTail
from analytics.query import Wanted
from billing.models import Hold
from conversations import sweeper
from conversations.models import UsageLog
from llm.models import LLM
from synapscale.common.tenancy import fleet_wide
from tests.analytics.usage import Call, added, write
from tests.catalogue import make_llm
from tests.conversations.calling import ask, make_conversation, sent, settle
from tests.house import house
from tests.people import Cast, Person, fund

__all__ = ["house"]
START = datetime(2026, 10, 1, tzinfo=UTC)
EDGES = [START + timedelta(days=days) for days in range(4)]


def some_calls(cast: Cast, llm: LLM) -> list[Call]:
    return [
        Call(START + timedelta(hours=5 * n, minutes=n), person, llm, cost=n, latency_ms=n * 10, status=status)
        for n in range(14)
        for person, status in ((cast.alice, "success"), (cast.bob, "error"), (cast.charlie, "success"))
    ]


def all_figures(cast: Cast) -> list[Any]:
    """What each of the sums is read for."""
    ways = ("llm", "user", "agent", "status")
    inside = [query.figures(Wanted(cast.alice.workspace.pk), edges=EDGES, by=(by,)).figures for by in ways]
    outside = [query.figures(Wanted(None), edges=EDGES, by=(by,)).figures for by in ("llm", "workspace")]
    steps = [
        latencies.counts_by_llm(Wanted(workspace_id), start=EDGES[0], end=EDGES[-1])
        for workspace_id in (cast.alice.workspace.pk, None)
    ]
    return [*inside, *outside, *steps]


def empty_sums() -> None:
    with fleet_wide(), connection.cursor() as cursor:
        for rollup in rollups.ROLLUPS:
            cursor.execute(f"DELETE FROM {rollup.table}")


@pytest.mark.django_db
def test_adding_changes_no_figure(cast: Cast, llm: LLM) -> None:
    write(some_calls(cast, llm))
    before = all_figures(cast)
    assert rollups.roll_up(batch=5) == 42
    assert all_figures(cast) == before
    assert rollups.roll_up() == 0
    assert all_figures(cast) == before
    assert rollups.lag() == (0, None)


@pytest.mark.django_db
def test_deleting_and_making_them_again_changes_no_figure(cast: Cast, llm: LLM) -> None:
    calls = some_calls(cast, llm)
    write(calls[:30])
    rollups.roll_up()
    write(calls[30:])
    before = all_figures(cast)
    empty_sums()
    assert all_figures(cast) != before  # they had been read
    assert rollups.rebuild() == 30
    assert all_figures(cast) == before
    rollups.rebuild()
    assert all_figures(cast) == before
    rollups.roll_up()
    assert all_figures(cast) == before
    assert RollupState.objects.get().rebuilt_at is not None


@pytest.mark.django_db
def test_the_commands_say_what_they_did(cast: Cast, llm: LLM, capsys: pytest.CaptureFixture[str]) -> None:
    write(some_calls(cast, llm))
    call_command("roll_up")
    write(some_calls(cast, llm))
    call_command("rebuild_rollups")
    assert capsys.readouterr().out.splitlines() == ["42 calls added", "42 calls summed, 42 added that came meanwhile"]


@pytest.mark.django_db(transaction=True)
def test_a_batch_that_is_cut_off_has_added_nothing(cast: Cast, llm: LLM, monkeypatch: pytest.MonkeyPatch) -> None:
    write(some_calls(cast, llm))
    before = all_figures(cast)
    real, done = rollups._add, []

    def cut_off(*args: Any) -> None:
        done.append(args)
        if len(done) == 4:
            raise RuntimeError("pulled the plug")
        real(*args)

    monkeypatch.setattr(rollups, "_add", cut_off)
    with pytest.raises(RuntimeError):
        rollups.roll_up()
    monkeypatch.undo()
    assert all_figures(cast) == before
    assert rollups.roll_up() == 42
    assert all_figures(cast) == before


@pytest.mark.django_db(transaction=True)
def test_a_call_that_becomes_visible_late_is_not_lost(cast: Cast, llm: LLM) -> None:
    """It is metered before others that the sums have already, in a transaction that commits after them."""
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has one writer at a time")
    written, may_commit = threading.Event(), threading.Event()

    def late() -> None:
        with transaction.atomic():
            write([Call(START, cast.alice, llm)])
            written.set()
            may_commit.wait(20)
        connection.close()

    thread = threading.Thread(target=late)
    thread.start()
    assert written.wait(20)
    write([Call(START + timedelta(hours=1), cast.alice, llm)])
    assert rollups.roll_up() == 1
    may_commit.set()
    thread.join(20)
    edges = [START, START + timedelta(days=1)]
    assert query.figures(Wanted(cast.alice.workspace.pk), edges=edges).total().calls == 2
    assert rollups.roll_up() == 1
    assert query.figures(Wanted(cast.alice.workspace.pk), edges=edges).total().calls == 2


@pytest.mark.django_db(transaction=True)
@pytest.mark.fleet
def test_calls_that_come_while_others_add_and_rebuild_are_each_counted_once(cast: Cast, llm: LLM) -> None:
    other = make_llm("anthropic")
    failures: list[BaseException] = []
    stop = threading.Event()

    def repeat(job: Any) -> None:
        try:
            while not stop.wait(0.002):  # SQLite's lock goes to nobody in turn: without a pause one may wait for ever
                job()
        except BaseException as error:
            failures.append(error)
        finally:
            connection.close()

    jobs = [lambda: rollups.roll_up(batch=7), lambda: rollups.roll_up(batch=50), rollups.rebuild]
    threads = [threading.Thread(target=repeat, args=(job,)) for job in jobs]
    for thread in threads:
        thread.start()
    calls = [Call(START + timedelta(hours=n), cast.alice, llm if n % 3 else other, cost=n) for n in range(60)]
    wanted, edges = Wanted(cast.alice.workspace.pk), [START, START + timedelta(days=3)]
    try:
        for number, call in enumerate(calls, start=1):
            with transaction.atomic():
                write([call])
            assert query.figures(wanted, edges=edges).total() == added(calls[:number])
    finally:
        stop.set()
        for thread in threads:
            thread.join(60)
    assert failures == []
    rollups.roll_up()
    assert query.figures(wanted, edges=edges).total() == added(calls)
    assert query.figures(wanted, edges=edges, uses_sums=False).total() == added(calls)


@pytest.mark.django_db(transaction=True)
def test_metering_puts_a_call_into_the_tail_once(alice: Person, llm: LLM) -> None:
    fund(alice.workspace, "1")
    message = settle(ask(alice, make_conversation(alice)), sent())
    log = UsageLog.objects.get(workspace=alice.workspace, message=message)
    assert list(UsageTail.objects.filter(workspace=alice.workspace).values_list("usage_log_id", flat=True)) == [log.pk]
    with transaction.atomic():
        message.save()
    assert UsageTail.objects.filter(workspace=alice.workspace).count() == 1


@pytest.mark.django_db(transaction=True)
def test_a_call_that_is_swept_later_is_of_the_time_of_the_sweep(alice: Person, llm: LLM) -> None:
    """Interrupted before the last sums, settled after them: it is in the figures of its settling, and stays there."""
    fund(alice.workspace, "1")
    ask(alice, make_conversation(alice))
    Hold.objects.filter(workspace=alice.workspace).update(lease_until=timezone.now() - timedelta(hours=1), owner="")
    rollups.roll_up()
    before = timezone.now()
    sweeper.sweep()
    after = timezone.now()
    edges = [before - timedelta(days=2), before, after, after + timedelta(days=2)]

    def lost() -> list[int]:
        found = query.figures(Wanted(alice.workspace.pk), edges=edges).figures
        return [found[period, ()].failed if (period, ()) in found else 0 for period in range(3)]

    assert lost() == [0, 1, 0]
    rollups.roll_up()
    assert lost() == [0, 1, 0]
    rollups.rebuild()
    assert lost() == [0, 1, 0]
