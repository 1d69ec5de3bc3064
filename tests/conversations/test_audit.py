"""The auditor audited: each way to cook the books is found, by name."""

from __future__ import annotations

import io
import json
from dataclasses import asdict
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.apps import apps
from django.core.management import call_command
from django.db import DatabaseError, connection
from django.utils import timezone

from billing import ledger
from billing.models import Hold
from conversations import admission, audit
from conversations.asks import Ask
from conversations.models import Conversation, Message, UsageLog
from llm.models import LLM
from llm.types import Usage
from synapscale.common.models import TenantFK
from tests.books import assert_clean, broken
from tests.catalogue import make_llm
from tests.conversations.calling import answered, ask, failed, followed, make_conversation, sent, settle
from tests.people import Cast, fund
from tests.unguarded import run, settle_constraints, unguarded
from workspaces.models import AccessToken, Workspace

pytestmark = [pytest.mark.django_db, pytest.mark.fleet]
NAMES = [name for name, _, _ in audit._SQL] + ["recomputed"]


@pytest.fixture
def books(cast: Cast, llm: LLM) -> Conversation:
    """A workspace in which everything has happened: an answer, a refund of half of it, an overrun, a failure, a call
    under way; and a second one beside it, with an answer by a fallback and a call under way, both on a token with a limit.
    """
    alice, charlie = cast.alice, cast.charlie
    fund(alice.workspace, "1")
    fund(charlie.workspace, "1")
    conversation = make_conversation(alice)
    message = answered(alice, conversation)
    (charge,) = message.billing_events
    ledger.refund(original=charge, amount=Decimal("0.000025"), reference="r", description="Sorry", actor=alice.user)
    answered(alice, conversation, usage={"input": 1000, "output": 100})
    settle(ask(alice, conversation), failed())
    admission.admit(
        user=alice.user,
        workspace=alice.workspace,
        membership=alice.membership,
        conversation_id=conversation.pk,
        ask=Ask(content="Hello", llm="openai/openai-test", max_tokens=100),
        idempotency_key="k1",
    )
    token = AccessToken.objects.get(workspace=charlie.workspace, user=charlie.user)
    token.spend_limit_usd = Decimal("0.5")
    token.save()
    make_llm(name="second")
    Workspace.objects.filter(pk=charlie.workspace.pk).update(fallback_models=["openai/second"])
    charlie.workspace.refresh_from_db()
    chat = make_conversation(charlie)
    settle(followed(ask(charlie, chat, access_token=token)), sent())
    ask(charlie, chat, access_token=token)
    settle_constraints()
    assert_clean()
    return conversation


ACME = "(SELECT id FROM workspaces WHERE slug = 'acme')"
OF_ACME = f"workspace_id = {ACME}"
OF_RIVAL = "workspace_id = (SELECT id FROM workspaces WHERE slug = 'rival')"
SETTLED = f"{OF_ACME} AND state = 'settled' AND charged < amount"
CHARGED = f"{OF_ACME} AND status = 'success' AND charged_usd = 50000000"
BOUNDS = ("holds", "holds_charged_when_resolved")

# The invariant, what is done to the books, the CHECK constraints in its way, and all that the audit then reports.
CORRUPTIONS: list[tuple[str, str, list[tuple[str, str]], dict[str, int]]] = [
    (
        "balance",
        f"UPDATE wallets SET balance = balance + 1 WHERE {OF_ACME}",
        [],
        {"balance": 1, "last_event": 1},
    ),
    (
        "balance",
        f"DELETE FROM billing_events WHERE {OF_ACME} AND event_type = 'credit'",
        [],
        {"balance": 1, "chain": 1},
    ),
    ("held", f"UPDATE wallets SET held = held + 1 WHERE {OF_ACME}", [], {"held": 1}),
    ("held", f"DELETE FROM holds WHERE {OF_ACME} AND state = 'held'", [], {"held": 1}),
    (
        "overdraft",
        f"UPDATE wallets SET held = balance + 1 WHERE {OF_ACME}",
        [("wallets", "wallets_not_overdrawn")],
        {"held": 1, "overdraft": 1},
    ),
    (
        "overdraft",
        f"UPDATE wallets SET held = -1 WHERE {OF_ACME}",
        [("wallets", "wallets_held_not_negative")],
        {"held": 1, "overdraft": 1},
    ),
    (
        "chain",
        f"UPDATE billing_events SET balance_after = balance_after + 1 WHERE {OF_ACME} AND seq = 2",
        [],
        {"chain": 2},
    ),
    (
        "chain",
        f"UPDATE billing_events SET seq = 100 WHERE {OF_ACME} AND seq = 2",
        [],
        {"chain": 2, "last_event": 1},
    ),
    (
        "last_event",
        f"UPDATE wallets SET seq = seq + 1 WHERE {OF_ACME}",
        [],
        {"last_event": 1},
    ),
    (
        "hold_charge",
        f"UPDATE holds SET charged = charged + 1 WHERE {SETTLED}",
        [],
        {"hold_charge": 1},
    ),
    (
        "hold_charge",
        f"UPDATE holds SET state = 'held', charged = NULL, resolved_at = NULL WHERE {SETTLED}",
        [],
        {"held": 1, "hold_charge": 1, "hold_message": 1},
    ),
    (
        "hold_charge",
        f"UPDATE holds SET charged = NULL WHERE {OF_ACME} AND state = 'released'",
        [BOUNDS],
        {"hold_charge": 1},
    ),
    (
        "hold_bound",
        f"UPDATE holds SET amount = charged - 1 WHERE {SETTLED}",
        [BOUNDS],
        {"hold_bound": 1, "recomputed": 1},
    ),
    (
        "hold_message",
        f"DELETE FROM messages WHERE {OF_ACME} AND status = 'pending'",
        [],
        {"hold_message": 1, "idempotency": 1},
    ),
    (
        "hold_message",
        f"UPDATE messages SET status = 'pending' WHERE {OF_ACME} AND status = 'error'",
        [],
        {"hold_message": 1, "metered": 1},
    ),
    (
        "hold_message",
        f"DELETE FROM usage_logs WHERE {OF_RIVAL} AND attempt = 1",
        [],
        {"hold_message": 1, "metered": 1, "model_statistics": 1},
    ),
    (
        "metered",
        f"UPDATE messages SET status = 'sent' WHERE {OF_ACME} AND status = 'error'",
        [],
        {"metered": 1},
    ),
    (
        "metered",
        f"DELETE FROM usage_logs WHERE {OF_ACME} AND status = 'error'",
        [],
        {"metered": 1, "model_statistics": 1},
    ),
    (
        "metered",
        f"UPDATE usage_logs SET status = 'success' WHERE {OF_ACME} AND status = 'error'",
        [],
        {"metered": 1},
    ),
    (
        "metered",
        f"UPDATE messages SET attempt = attempt + 1 WHERE {OF_ACME} AND status = 'pending'",
        [],
        {"metered": 1},
    ),
    (
        "metered",
        f"UPDATE usage_logs SET attempt = 0 WHERE {OF_RIVAL} AND status = 'success'",
        [],
        {"metered": 1},
    ),
    (
        "attempt_hold",
        f"UPDATE usage_logs SET hold_id = (SELECT hold_id FROM messages m WHERE m.status = 'sent' AND m.role = "
        f"'assistant' AND m.workspace_id = usage_logs.workspace_id) WHERE {OF_RIVAL} AND attempt = 1",
        [],
        {"attempt_hold": 2, "hold_message": 1},
    ),
    (
        "usage_event",
        f"UPDATE usage_logs SET charged_usd = charged_usd - 1 WHERE {CHARGED}",
        [],
        {"usage_event": 1, "model_statistics": 1, "conversation_totals": 1, "recomputed": 1},
    ),
    (
        "usage_event",
        f"UPDATE billing_events SET event_type = 'fee' WHERE {OF_ACME} AND amount_usd = -50000000",
        [],
        {"usage_event": 1},
    ),
    (
        "token_spend",
        f"UPDATE token_spends SET held = 1 WHERE {OF_RIVAL}",
        [],
        {"token_spend": 1},
    ),
    (
        "token_spend",
        f"DELETE FROM token_spends WHERE {OF_RIVAL}",
        [],
        {"token_spend": 1},
    ),
    (
        "event_usage",
        f"DELETE FROM usage_logs WHERE {CHARGED}",
        [],
        {"metered": 1, "event_usage": 1, "model_statistics": 1, "conversation_totals": 1},
    ),
    (
        "refunds",
        f"UPDATE billing_events SET amount_usd = 50000001 WHERE {OF_ACME} AND event_type = 'refund'",
        [],
        {"balance": 1, "chain": 1, "refunds": 1},
    ),
    (
        "model_statistics",
        f"UPDATE conversation_llms SET output_tokens = output_tokens + 1 WHERE {OF_ACME}",
        [],
        {"model_statistics": 1},
    ),
    (
        "model_statistics",
        f"DELETE FROM conversation_llms WHERE {OF_ACME}",
        [],
        {"model_statistics": 3},
    ),
    (
        "conversation_totals",
        f"UPDATE conversations SET total_tokens = total_tokens - 1 WHERE {OF_ACME}",
        [],
        {"conversation_totals": 1},
    ),
    (
        "tenant_chain",
        "UPDATE usage_logs SET conversation_id = (SELECT id FROM conversations c WHERE c.workspace_id <> "
        f"usage_logs.workspace_id) WHERE {OF_ACME} AND status = 'error'",
        [],
        {"model_statistics": 2, "tenant_chain": 1, "tenant_keys": 1},
    ),
    (
        "tenant_chain",
        f"UPDATE messages SET hold_id = NULL WHERE {OF_ACME} AND status = 'error'",
        [],
        {"tenant_chain": 1},
    ),
    ("tenant_chain", f"DELETE FROM holds WHERE {OF_ACME} AND state = 'released'", [], {"tenant_chain": 1}),
    (
        "tenant_keys",  # a question, which no usage log names
        "UPDATE messages SET conversation_id = (SELECT id FROM conversations c WHERE c.workspace_id <> "
        f"messages.workspace_id) WHERE id = (SELECT reply_to_id FROM messages WHERE {OF_ACME} AND status = 'error')",
        [],
        {"tenant_keys": 1},
    ),
    (
        "tenant_keys",
        "UPDATE billing_events SET original_id = (SELECT id FROM billing_events o WHERE o.event_type = 'usage' AND "
        f"o.workspace_id <> billing_events.workspace_id) WHERE {OF_ACME} AND event_type = 'refund'",
        [],
        {"tenant_keys": 1},
    ),
    (
        "idempotency",
        f"UPDATE idempotency_keys SET message_id = (SELECT id FROM messages WHERE {OF_ACME} AND role = 'user' LIMIT 1)",
        [],
        {"idempotency": 1},
    ),
    (
        "idempotency",
        "UPDATE idempotency_keys SET user_id = (SELECT id FROM users WHERE email = 'bob@example.org')",
        [],
        {"idempotency": 1},
    ),
    (
        "recomputed",
        f"UPDATE usage_logs SET cost_usd = cost_usd + 1 WHERE {CHARGED}",
        [],
        {"recomputed": 1},
    ),
    (
        "recomputed",
        f"UPDATE usage_logs SET total_tokens = total_tokens - 1 WHERE {OF_ACME} AND total_tokens = 30",
        [],
        {"conversation_totals": 1, "recomputed": 1},
    ),
    (
        "recomputed",
        f"UPDATE usage_logs SET markup_bps = 1 WHERE {CHARGED}",
        [],
        {"recomputed": 1},
    ),
    (
        "recomputed",
        "UPDATE llm_prices SET output_usd_per_mtok = output_usd_per_mtok + 1",
        [],
        {"recomputed": 3},
    ),
]


@pytest.mark.parametrize(
    ("name", "sql", "checks", "reported"), CORRUPTIONS, ids=lambda value: value if value in NAMES else ""
)
def test_a_corruption_is_found(
    books: Conversation, name: str, sql: str, checks: list[tuple[str, str]], reported: dict[str, int]
) -> None:
    with unguarded(*checks):
        assert run(sql) > 0
        assert name in broken()
        assert broken() == reported
        out = io.StringIO()
        with pytest.raises(SystemExit) as end:
            call_command("audit_ledger", json=True, stdout=out)
        assert end.value.code == 1
        told = json.loads(out.getvalue())
        assert told["clean"] is False
        assert {finding["name"]: finding["count"] for finding in told["findings"] if finding["count"]} == reported
        assert all(len(finding["examples"]) == finding["count"] for finding in told["findings"])
    assert_clean()


def test_every_invariant_has_its_corruption() -> None:
    # What breaks a lease is time alone: see the next test.
    assert {name for name, *_ in CORRUPTIONS} == set(NAMES) - {"hold_lease"}


def test_no_key_between_tenants_rows_is_left_out() -> None:
    (sql,) = [sql for name, _, sql in audit._SQL if name == "tenant_keys"]
    for model in apps.get_models():
        for field in model._meta.local_fields:
            if isinstance(field, TenantFK):
                assert (
                    f'"{model._meta.db_table}" a JOIN "{field.related_model._meta.db_table}" b ON b.id = a."{field.column}"'
                    in sql
                )


@pytest.mark.parametrize(("seconds", "reported"), [(100, {}), (125, {"hold_lease": 1})])
def test_a_hold_forgotten_past_its_lease_is_found(books: Conversation, seconds: int, reported: dict[str, int]) -> None:
    rows = Hold.objects.filter(workspace=books.workspace, state="held")
    rows.update(lease_until=timezone.now() - timedelta(seconds=seconds))
    assert broken() == reported


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


def test_a_failed_call_is_free_whatever_the_provider_billed(books: Conversation, cast: Cast) -> None:
    settle(ask(cast.alice, books), failed(usage=Usage(input=10)))
    assert_clean()
    with unguarded():
        run("UPDATE usage_logs SET status = 'error' WHERE charged_usd = 50000000 AND total_tokens = 30")
        assert broken()["recomputed"] == UsageLog.objects.filter(status="error", charged_usd__gt=0).count() > 0
