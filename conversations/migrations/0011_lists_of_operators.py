"""Calls that failed, were estimated or ran on own keys, and the one that a provider names, are found by an index."""

from django.db import migrations, models

from synapscale.common.indexes import AddIndexOnline


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("conversations", "0010_read_content")]

    operations = [
        AddIndexOnline(
            model_name="message",
            index=models.Index(
                condition=models.Q(("status__in", ["error", "interrupted"])), fields=["id"], name="messages_failed"
            ),
        ),
        AddIndexOnline(
            model_name="usagelog",
            index=models.Index(
                condition=models.Q(
                    models.Q(("status", "success"), _negated=True),
                    models.Q(("key_source", "global"), _negated=True),
                    ("is_estimate", True),
                    _connector="OR",
                ),
                fields=["id", "status", "key_source", "is_estimate"],
                name="usage_logs_unusual",
            ),
        ),
        AddIndexOnline(
            model_name="usagelog",
            index=models.Index(
                condition=models.Q(("provider_request_id", ""), _negated=True),
                fields=["provider_request_id"],
                name="usage_logs_by_request",
            ),
        ),
    ]
