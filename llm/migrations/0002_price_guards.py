"""A price is written once: the database refuses to delete one, or to change anything but the end of an open one.

SQLite rebuilds a table to alter it, and the triggers go with the old one: a later migration of ``llm_prices`` must
create them again.
"""

from django.db import migrations

from synapscale.common.migrations import triggers

COLUMNS = [
    "id",
    "created_at",
    "llm_id",
    "effective_from",
    "input_usd_per_mtok",
    "cached_input_usd_per_mtok",
    "cache_write_5m_usd_per_mtok",
    "cache_write_1h_usd_per_mtok",
    "output_usd_per_mtok",
    "request_fee_usd",
    "tiers",
    "windows",
    "source",
]
CHANGED = " OR ".join(f"NEW.{column} IS NOT OLD.{column}" for column in COLUMNS)

POSTGRESQL = """
CREATE OR REPLACE FUNCTION llm_prices_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND OLD.effective_to IS NULL AND NEW.effective_to IS NOT NULL
        AND to_jsonb(NEW) - 'effective_to' = to_jsonb(OLD) - 'effective_to' THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'llm_prices is written once: % refused', TG_OP USING ERRCODE = '23514';
END $$;
CREATE TRIGGER llm_prices_write_once BEFORE UPDATE OR DELETE ON llm_prices
    FOR EACH ROW EXECUTE FUNCTION llm_prices_guard();
CREATE TRIGGER llm_prices_no_truncate BEFORE TRUNCATE ON llm_prices
    FOR EACH STATEMENT EXECUTE FUNCTION llm_prices_guard();
"""

SQLITE = [
    f"""
    CREATE TRIGGER llm_prices_write_once BEFORE UPDATE ON llm_prices
    WHEN OLD.effective_to IS NOT NULL OR NEW.effective_to IS NULL OR {CHANGED}
    BEGIN SELECT RAISE(ABORT, 'llm_prices is written once: UPDATE refused'); END
    """,
    """
    CREATE TRIGGER llm_prices_no_delete BEFORE DELETE ON llm_prices
    BEGIN SELECT RAISE(ABORT, 'llm_prices is written once: DELETE refused'); END
    """,
]


class Migration(migrations.Migration):
    dependencies = [("llm", "0001_initial")]

    operations = [triggers(postgresql=POSTGRESQL, sqlite=SQLITE)]
