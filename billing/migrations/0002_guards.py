"""Rules of money that must hold whatever code runs: composite keys, an append-only ledger, resolved holds frozen, and a
balance that only moves together with its event.

SQLite rebuilds a table to alter it, and the triggers go with the old one: a later migration of these tables must create
them again (``tests/test_database_guards.py`` notices).
"""

from django.db import migrations

from synapscale.common.migrations import add_tenant_foreign_keys, append_only, triggers

HOLDS = triggers(
    postgresql="""
        CREATE FUNCTION holds_guard() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF TG_OP = 'DELETE' OR OLD.state <> 'held'
                OR (NEW.id, NEW.workspace_id, NEW.wallet_id, NEW.user_id, NEW.amount, NEW.created_at)
                    IS DISTINCT FROM (OLD.id, OLD.workspace_id, OLD.wallet_id, OLD.user_id, OLD.amount, OLD.created_at)
            THEN
                RAISE EXCEPTION 'holds: % refused, it is % for good', TG_OP, OLD.state USING ERRCODE = '23514';
            END IF;
            RETURN NEW;
        END $$;
        CREATE TRIGGER holds_frozen BEFORE UPDATE OR DELETE ON holds FOR EACH ROW EXECUTE FUNCTION holds_guard();
    """,
    sqlite=[
        """
        CREATE TRIGGER holds_frozen BEFORE UPDATE ON holds
        WHEN OLD.state <> 'held' OR NEW.id IS NOT OLD.id OR NEW.workspace_id IS NOT OLD.workspace_id
            OR NEW.wallet_id IS NOT OLD.wallet_id OR NEW.user_id IS NOT OLD.user_id OR NEW.amount IS NOT OLD.amount
            OR NEW.created_at IS NOT OLD.created_at
        BEGIN SELECT RAISE(ABORT, 'holds: UPDATE refused, it is resolved for good'); END
        """,
        """
        CREATE TRIGGER holds_no_delete BEFORE DELETE ON holds
        BEGIN SELECT RAISE(ABORT, 'holds: DELETE refused'); END
        """,
    ],
)
# A stray UPDATE can't change a wallet's balance: it moves on by exactly one event, which must say the same. (That some
# event says so is not enough: a stale copy of the wallet would pass with an earlier one.)
WALLETS = triggers(
    postgresql="""
        CREATE FUNCTION wallets_bound() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF NEW.seq <> OLD.seq + 1 OR NOT EXISTS (
                SELECT 1 FROM billing_events
                WHERE workspace_id = NEW.workspace_id AND wallet_id = NEW.id AND seq = NEW.seq
                    AND balance_after = NEW.balance
            ) THEN
                RAISE EXCEPTION 'wallets: a balance changes only with its ledger event' USING ERRCODE = '23514';
            END IF;
            RETURN NULL;
        END $$;
        CREATE CONSTRAINT TRIGGER wallets_bound AFTER UPDATE OF balance, seq ON wallets
            DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
            WHEN (OLD.balance IS DISTINCT FROM NEW.balance OR OLD.seq IS DISTINCT FROM NEW.seq)
            EXECUTE FUNCTION wallets_bound();
        ALTER TABLE wallets SET (fillfactor = 50);
        ALTER TABLE holds SET (fillfactor = 80);
    """,
    sqlite=[
        """
        CREATE TRIGGER wallets_bound BEFORE UPDATE ON wallets
        WHEN (NEW.balance IS NOT OLD.balance OR NEW.seq IS NOT OLD.seq) AND (NEW.seq IS NOT OLD.seq + 1 OR NOT EXISTS (
            SELECT 1 FROM billing_events
            WHERE workspace_id = NEW.workspace_id AND wallet_id = NEW.id AND seq = NEW.seq
                AND balance_after = NEW.balance
        ))
        BEGIN SELECT RAISE(ABORT, 'wallets: a balance changes only with its ledger event'); END
        """
    ],
)


class Migration(migrations.Migration):
    dependencies = [("billing", "0001_initial")]

    operations = [
        add_tenant_foreign_keys("billing", models=["Hold", "HoldIncident", "BillingEvent"]),
        append_only("billing_events"),
        append_only("hold_incidents"),
        HOLDS,
        WALLETS,
    ]
