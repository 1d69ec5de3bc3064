"""The auditor audited: each way to cook the books is found, by name."""

from __future__ import annotations

import io
import json
from datetime import timedelta

import pytest
from django.apps import apps
from django.core.management import call_command
from django.utils import timezone

from billing.models import Hold
from conversations import audit
from conversations.models import Conversation, UsageLog
from llm.types import Usage
from synapscale.common.models import TenantFK
from tests.books import assert_clean, broken
from tests.conversations.bookkeeping import NAMES, OF_ACME, books
from tests.conversations.calling import ask, failed, settle
from tests.people import Cast
from tests.unguarded import run, unguarded

__all__ = ["books"]
pytestmark = [pytest.mark.django_db, pytest.mark.fleet]
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


def test_a_failed_call_is_free_whatever_the_provider_billed(books: Conversation, cast: Cast) -> None:
    settle(ask(cast.alice, books), failed(usage=Usage(input=10)))
    assert_clean()
    with unguarded():
        run("UPDATE usage_logs SET status = 'error' WHERE charged_usd = 50000000 AND total_tokens = 30")
        assert broken()["recomputed"] == UsageLog.objects.filter(status="error", charged_usd__gt=0).count() > 0
