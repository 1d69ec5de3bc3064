"""A platform fee of calls on own keys."""

import django.core.validators
from django.db import migrations, models

from synapscale.common.migrations import triggers_on_sqlite


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0002_guards"),
        ("workspaces", "0004_fallbacks"),
    ]

    operations = [
        migrations.AddField(
            model_name="wallet",
            name="own_key_fee_bps",
            field=models.PositiveIntegerField(
                default=0,
                help_text="Platform fee of calls on own keys: this part of the provider's price, in hundredths of a percent.",
                validators=[django.core.validators.MaxValueValidator(100000)],
            ),
        ),
        # SQLite has rebuilt the table, and its trigger went with the old one.
        triggers_on_sqlite(
            """
            CREATE TRIGGER wallets_bound BEFORE UPDATE ON wallets
            WHEN (NEW.balance IS NOT OLD.balance OR NEW.seq IS NOT OLD.seq)
                AND (NEW.seq IS NOT OLD.seq + 1 OR NOT EXISTS (
                    SELECT 1 FROM billing_events
                    WHERE workspace_id = NEW.workspace_id AND wallet_id = NEW.id AND seq = NEW.seq
                        AND balance_after = NEW.balance
                ))
            BEGIN SELECT RAISE(ABORT, 'wallets: a balance changes only with its ledger event'); END
            """
        ),
    ]
