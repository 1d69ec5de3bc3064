"""Composite keys between rows of one workspace, and an append-only usage log.

SQLite rebuilds a table to alter it, and the triggers go with the old one: a later migration of these tables must create
them again (``tests/test_database_guards.py`` notices).
"""

from django.db import migrations

from synapscale.common.migrations import add_tenant_foreign_keys, append_only


class Migration(migrations.Migration):
    dependencies = [("conversations", "0001_initial"), ("billing", "0002_guards")]

    operations = [
        add_tenant_foreign_keys(
            "conversations",
            models=["Conversation", "Message", "UsageLog", "ConversationLLM", "MessageFeedback", "IdempotencyKey"],
        ),
        append_only("usage_logs"),
    ]
