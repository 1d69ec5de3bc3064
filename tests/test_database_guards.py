"""The rules that hold whatever code runs, because the database itself keeps them, statement by statement.

SQLite rebuilds a table to alter it and drops its triggers on the way: when a test here fails after a new migration, the
migration must create them again.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from django.apps import apps
from django.db import IntegrityError, connection, transaction

from billing.models import Hold, Wallet
from llm.models import LLM
from synapscale.common.models import TenantFK
from tests.books import assert_clean
from tests.catalogue import SINCE
from tests.conversations.calling import ask, hold_of, make_conversation, wallet
from tests.full import fill
from tests.house import house
from tests.people import Cast, Person, fund, join
from tests.unguarded import run, settle_constraints

__all__ = ["house"]
pytestmark = [pytest.mark.django_db, pytest.mark.fleet]
on_postgresql = pytest.mark.skipif(connection.vendor != "postgresql", reason="only PostgreSQL has it")
on_sqlite = pytest.mark.skipif(connection.vendor != "sqlite", reason="only SQLite has it")
TENANT_KEYS = sorted(
    (
        (model._meta.db_table, field.column, field.related_model._meta.db_table)
        for model in apps.get_models()
        for field in model._meta.local_fields
        if isinstance(field, TenantFK)
    ),
)


@pytest.fixture
def books(cast: Cast, llm: LLM) -> Cast:
    fill(cast.alice, llm)
    fill(cast.charlie, llm)
    settle_constraints()
    return cast


def refused(sql: str) -> str:
    """What the database says to a statement that it refuses, now or at the commit."""
    with pytest.raises(IntegrityError) as error:
        _commit(lambda: run(sql))
    return str(error.value)


@transaction.atomic
def _commit(change: Callable[[], object]) -> None:
    change()
    settle_constraints()


# --- Append-only tables -----------------------------------------------------------------------------------------------

APPEND_ONLY = ["billing_events", "usage_logs", "hold_incidents"]
AUDIT = "auditlog_logentry"


@pytest.mark.parametrize("table", APPEND_ONLY)
@pytest.mark.parametrize("change", ["created_at = created_at", "id = id", "workspace_id = workspace_id"])
def test_a_row_that_is_for_good_is_not_updated(books: Cast, table: str, change: str) -> None:
    """Not even to what it says already."""
    assert f"append-only: UPDATE on {table}" in refused(f"UPDATE {table} SET {change}")


@pytest.mark.parametrize("table", APPEND_ONLY)
def test_a_row_that_is_for_good_is_not_deleted(books: Cast, table: str) -> None:
    assert f"append-only: DELETE on {table}" in refused(f"DELETE FROM {table}")


@on_postgresql
@pytest.mark.parametrize("table", APPEND_ONLY)
def test_a_table_that_is_for_good_is_not_truncated(books: Cast, table: str) -> None:
    assert f"append-only: TRUNCATE on {table}" in refused(f"TRUNCATE {table} CASCADE")


def test_the_audit_log_only_grows(alice: Person) -> None:
    join(alice.workspace, "dora", "member")  # is in it
    assert f"append-only: UPDATE on {AUDIT}" in refused(f"UPDATE {AUDIT} SET action = action")
    assert f"append-only: DELETE on {AUDIT}" in refused(f"DELETE FROM {AUDIT}")


@pytest.mark.parametrize("table", APPEND_ONLY)
def test_an_upsert_or_a_replacement_changes_nothing_either(books: Cast, table: str) -> None:
    columns = ", ".join(field.column for field in _model(table)._meta.concrete_fields)
    again = f"INTO {table} ({columns}) SELECT {columns} FROM {table} WHERE true"
    refused(f"INSERT {again} ON CONFLICT (id) DO UPDATE SET created_at = excluded.created_at")


# --- Prices -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        "input_usd_per_mtok = input_usd_per_mtok + 1",
        "source = 'x'",
        "effective_to = NULL",
        f"effective_from = '{SINCE}'",
    ],
)
def test_a_price_is_not_edited(llm: LLM, change: str) -> None:
    assert "llm_prices is written once: UPDATE refused" in refused(f"UPDATE llm_prices SET {change}")


def test_a_price_is_not_deleted(llm: LLM) -> None:
    assert "llm_prices is written once: DELETE refused" in refused("DELETE FROM llm_prices")


@on_postgresql
def test_prices_are_not_truncated(llm: LLM) -> None:
    settle_constraints()
    assert "llm_prices is written once: TRUNCATE refused" in refused("TRUNCATE llm_prices CASCADE")


def test_an_open_price_is_closed_once(llm: LLM) -> None:
    assert run("UPDATE llm_prices SET effective_to = '2030-01-01 00:00:00+00:00'") == 1
    refused("UPDATE llm_prices SET effective_to = '2031-01-01 00:00:00+00:00'")


# --- Holds ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        "state = 'held', charged = NULL, resolved_at = NULL",
        "state = 'released', charged = 0",
        "charged = charged",
        "charged = 0",
        "lease_until = lease_until",
        "amount = amount + 1",
    ],
)
def test_a_resolved_hold_is_frozen(books: Cast, change: str) -> None:
    assert "holds: UPDATE refused" in refused(f"UPDATE holds SET {change}")


@pytest.mark.parametrize(
    "change",
    [
        "amount = amount + 1",
        "amount = amount - 1",
        "created_at = lease_until",
        "user_id = (SELECT id FROM users WHERE email = 'bob@example.org')",
        "wallet_id = (SELECT id FROM wallets w WHERE w.id <> wallet_id)",
        "workspace_id = (SELECT id FROM workspaces WHERE slug = 'rival')",
    ],
)
def test_what_an_open_hold_is_about_never_changes(alice: Person, llm: LLM, change: str) -> None:
    fund(alice.workspace, "1")
    ask(alice, make_conversation(alice))
    settle_constraints()
    assert "holds: UPDATE refused" in refused(f"UPDATE holds SET {change}")


def test_an_open_hold_may_be_dispatched_and_renewed(alice: Person, llm: LLM) -> None:
    fund(alice.workspace, "1")
    admitted = ask(alice, make_conversation(alice))
    Hold.objects.filter(workspace=alice.workspace).update(is_dispatched=True, lease_until=SINCE)
    assert (hold_of(admitted).is_dispatched, hold_of(admitted).lease_until) == (True, SINCE)


def test_no_hold_is_deleted(books: Cast, alice: Person) -> None:
    assert "holds: DELETE refused" in refused("DELETE FROM holds")
    ask(alice, make_conversation(alice))
    settle_constraints()
    assert "holds: DELETE refused" in refused("DELETE FROM holds WHERE state = 'held'")


# --- Wallets ----------------------------------------------------------------------------------------------------------

BOUND = "wallets: a balance changes only with its ledger event"


@pytest.mark.parametrize(
    "change", ["balance = balance + 1", "balance = 0", "seq = seq + 1", "balance = balance + 1, seq = seq + 1"]
)
def test_a_balance_does_not_change_without_its_event(books: Cast, change: str) -> None:
    assert BOUND in refused(f"UPDATE wallets SET {change} WHERE seq = 3")


def test_a_balance_does_not_go_back_to_an_earlier_event(books: Cast) -> None:
    """What the second of two copies of a wallet would write, read before the first one's movement."""
    stale = wallet(books.alice)
    fund(books.alice.workspace, "1")
    settle_constraints()
    rows = Wallet.objects.filter(workspace=books.alice.workspace)
    with pytest.raises(IntegrityError, match=BOUND):
        _commit(lambda: rows.update(balance=stale.balance, seq=stale.seq))


def test_a_saved_wallet_leaves_its_money_alone(books: Cast) -> None:
    stale = wallet(books.alice)
    fund(books.alice.workspace, "1")
    stale.balance, stale.held, stale.seq, stale.markup_bps = Decimal(9), Decimal(9), 9, 250
    stale.save()
    settle_constraints()
    saved = wallet(books.alice)
    assert (saved.balance, saved.held, saved.seq, saved.markup_bps) == (Decimal("1.999791"), Decimal(0), 4, 250)
    assert_clean()


def test_other_fields_of_a_wallet_may_be_saved(books: Cast) -> None:
    purse = wallet(books.alice)
    purse.status, purse.markup_bps = "suspended", 100
    purse.save()
    settle_constraints()
    assert wallet(books.alice).status == "suspended"


@on_postgresql
@pytest.mark.django_db(transaction=True)
def test_on_postgresql_it_is_the_commit_that_fails(alice: Person) -> None:
    """The wallet is updated and its event inserted by one statement, in whatever order, so the check waits."""
    fund(alice.workspace, "1")
    with pytest.raises(IntegrityError, match=BOUND), transaction.atomic():
        assert Wallet.objects.filter(workspace=alice.workspace).update(seq=7) == 1
    assert wallet(alice).seq == 1


@on_sqlite
def test_on_sqlite_it_is_the_statement_that_fails(alice: Person) -> None:
    fund(alice.workspace, "1")
    with pytest.raises(IntegrityError, match=BOUND), transaction.atomic():
        Wallet.objects.filter(workspace=alice.workspace).update(seq=7)


# --- What there is, by the catalogue ----------------------------------------------------------------------------------


def test_the_guards_are_all_there() -> None:
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(
                "SELECT tgrelid::regclass::text, tgname FROM pg_trigger WHERE NOT tgisinternal AND tgenabled = 'O'"
            )
            kinds = dict.fromkeys([*APPEND_ONLY, AUDIT], ("append_only", "no_truncate"))
            kinds |= {"llm_prices": ("write_once", "no_truncate"), "holds": ("frozen",), "wallets": ("bound",)}
        else:
            cursor.execute("SELECT tbl_name, name FROM sqlite_master WHERE type = 'trigger'")
            kinds = dict.fromkeys([*APPEND_ONLY, AUDIT], ("no_update", "no_delete"))
            kinds |= {
                "llm_prices": ("write_once", "no_delete"),
                "holds": ("frozen", "no_delete"),
                "wallets": ("bound",),
            }
        found = sorted(cursor.fetchall())
    assert found == sorted((table, f"{table}_{kind}") for table, names in kinds.items() for kind in names)


@on_postgresql
def test_every_tenant_key_is_a_composite_key_in_the_database() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint "
            "WHERE contype = 'f' AND convalidated"
        )
        found = {(table, name): definition for table, name, definition in cursor.fetchall()}
    for table, column, target in TENANT_KEYS:
        assert found[table, f"{table}_{column}_tenant_fk"] == (
            f"FOREIGN KEY (workspace_id, {column}) REFERENCES {target}(workspace_id, id) DEFERRABLE INITIALLY DEFERRED"
        )


@on_sqlite
def test_every_tenant_key_is_a_key_in_the_database() -> None:
    for table, column, target in TENANT_KEYS:
        with connection.cursor() as cursor:
            cursor.execute(f"PRAGMA foreign_key_list({table})")
            keys = {(row[3], row[2], row[4]) for row in cursor.fetchall()}
        assert (column, target, "id") in keys


@on_postgresql
@pytest.mark.parametrize(("table", "column", "target"), TENANT_KEYS)
def test_a_row_can_not_point_into_another_workspace(books: Cast, table: str, column: str, target: str) -> None:
    acme, rival = (f"(SELECT id FROM workspaces WHERE slug = '{slug}')" for slug in ("acme", "rival"))
    run(f"ALTER TABLE {table} DISABLE TRIGGER USER")
    one = f"(SELECT id FROM {table} WHERE workspace_id = {acme} AND {column} IS NOT NULL LIMIT 1)"
    theirs = f"(SELECT id FROM {target} WHERE workspace_id = {rival} LIMIT 1)"
    said = refused(f"UPDATE {table} SET {column} = {theirs} WHERE id = {one}")
    assert f'violates foreign key constraint "{table}_{column}_tenant_fk"' in said


def _model(table: str) -> Any:
    return next(model for model in apps.get_models() if model._meta.db_table == table)
