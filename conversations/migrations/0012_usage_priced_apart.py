"""Calls whose price can't be told from sums of tokens are found by an index, so that the others need not be read."""

from django.db import migrations, models
from django.db.models import F, Q
from django.db.models.lookups import GreaterThan

from synapscale.common.indexes import AddIndexOnline


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("conversations", "0011_lists_of_operators")]

    operations = [
        AddIndexOnline(
            model_name="usagelog",
            index=models.Index(
                condition=Q(
                    ("cache_write_1h_tokens__gt", 0),
                    Q(("status__in", ["error", "lost"]), ("total_tokens__gt", 0)),
                    GreaterThan(
                        F("input_tokens")
                        + F("cached_input_tokens")
                        + F("cache_write_5m_tokens")
                        + F("cache_write_1h_tokens"),
                        100_000,
                    ),
                    _connector="OR",
                ),
                fields=["workspace", "llm", "-created_at"],
                name="usage_logs_priced_apart",
            ),
        ),
    ]
