"""The audit as it is read: what it says, what it looks at, and what it leaves behind."""

from __future__ import annotations

import io
import json
from dataclasses import asdict
from typing import Any

import pytest
from django.core.management import call_command
from django.db import DatabaseError, connection

from billing import ledger
from conversations import audit
from conversations.models import Conversation, Message, UsageLog
from llm.models import LLM
from tests.books import assert_clean, broken
from tests.conversations.bookkeeping import NAMES, OF_ACME, books
from tests.conversations.calling import ask, make_conversation, sent, settle
from tests.people import Cast, fund
from tests.unguarded import run, unguarded

__all__ = ["books"]
pytestmark = [pytest.mark.django_db, pytest.mark.fleet]


def test_clean_books_exit_with_nothing(books: Conversation) -> None:
    out = io.StringIO()
    call_command("audit_ledger", stdout=out)
    lines = out.getvalue().splitlines()
    assert lines[-1] == f"audit_ledger: clean, {len(NAMES)} invariants hold"
    assert [line.split()[:2] for line in lines[:-1]] == [["ok", f"{name}:"] for name in NAMES]
    out = io.StringIO()
    call_command("audit_ledger", json=True, stdout=out)
    told = json.loads(out.getvalue())
    assert told["clean"] is True
    assert told["findings"] == [asdict(finding) for finding in audit.audit()]


def test_a_quick_audit_looks_at_what_does_not_grow_with_history(
    books: Conversation, django_assert_num_queries: Any
) -> None:
    """It is part of every start. What it looks at is still found, and only that."""
    snapshot = 3 if connection.vendor == "postgresql" else 2
    with django_assert_num_queries(len(audit.QUICK) + snapshot):
        assert {finding.name for finding in audit.audit(is_quick=True)} == audit.QUICK
    with unguarded():
        run(f"UPDATE wallets SET held = held + 1, balance = balance + 1 WHERE {OF_ACME}")
        quick = {finding.name for finding in audit.audit(is_quick=True) if not finding.holds}
        assert quick == {"held", "last_event"}
        assert quick | {"balance"} == set(broken())


def test_an_empty_database_is_clean(db: None) -> None:
    assert_clean()


def test_broken_books_are_told_with_their_rows(books: Conversation) -> None:
    wallet = str(ledger.wallet_of(books.workspace_id).pk)
    with unguarded():
        run(f"UPDATE wallets SET held = held + 1 WHERE {OF_ACME}")
        out = io.StringIO()
        with pytest.raises(SystemExit):
            call_command("audit_ledger", stdout=out)
        wallet = wallet if connection.vendor == "postgresql" else wallet.replace("-", "")
        lines = out.getvalue().splitlines()
        assert "BROKEN held: what a wallet holds is the sum of its open holds" in lines
        assert f"       1 rows: {wallet}" in lines
        assert lines[-1] == f"audit_ledger: 1 of {len(NAMES)} invariants are broken"


def test_all_offending_rows_are_counted_and_twenty_are_shown(books: Conversation, llm: LLM) -> None:
    fields = {"workspace": books.workspace, "conversation": books, "user": books.user, "llm": llm}
    Message.objects.bulk_create(Message(**fields, role="assistant", status="sent") for _ in range(25))
    (finding,) = [finding for finding in audit.audit() if not finding.holds]
    assert (finding.name, finding.count, len(finding.examples)) == ("metered", 25, 20)


def test_costs_are_recomputed_in_batches(books: Conversation, monkeypatch: pytest.MonkeyPatch) -> None:
    logs = UsageLog.objects.order_by("pk")
    assert [log.pk for log in audit._in_batches(logs, 2)] == list(logs.values_list("pk", flat=True))


@pytest.mark.django_db(transaction=True)
def test_it_reads_one_snapshot_and_changes_nothing(cast: Cast, llm: LLM) -> None:
    """Outside a transaction it opens its own, read-only, and leaves none behind."""
    fund(cast.alice.workspace, "1")
    settle(ask(cast.alice, make_conversation(cast.alice)), sent())
    assert not connection.in_atomic_block
    assert_clean()
    assert_clean()
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE pid = pg_backend_pid() AND state = 'active'")
            assert cursor.fetchone() == (1,)
            cursor.execute("SHOW statement_timeout")
            assert cursor.fetchone() == ("30s",)
        else:
            assert connection.connection.in_transaction is False


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite stops no statement")
def test_within_a_transaction_its_statements_may_take_as_long_as_they_need(
    db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And afterwards those of the transaction may not, whether the audit came to its end or not."""

    def timeout() -> str:
        with connection.cursor() as cursor:
            cursor.execute("SHOW statement_timeout")
            return str(cursor.fetchone()[0])

    seen: list[str] = []
    monkeypatch.setattr(audit, "_wrong_costs", lambda: iter(seen.append(timeout()) or []))
    run("SET LOCAL statement_timeout = '7s'")
    audit.audit()
    assert (seen, timeout()) == (["0"], "7s")

    monkeypatch.setattr(audit, "_SQL", [("broken", "it can be read", "SELECT nothing FROM nowhere")])
    with pytest.raises(DatabaseError):
        audit.audit()
    assert timeout() == "7s"
