"""The four roles of staff as groups, and an audit log that can only grow."""

from typing import Any

from django.db import migrations

from office import roles
from synapscale.common.migrations import append_only


def seed(apps: Any, schema_editor: Any) -> None:
    roles.seed(apps, schema_editor.connection.alias)


class Migration(migrations.Migration):
    dependencies = [
        ("analytics", "0022_agent_hours"),
        ("auditlog", "0017_add_actor_email"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("billing", "0005_money_permissions"),
        ("common", "0001_periodic_jobs"),
        ("contenttypes", "0002_remove_content_type_name"),
        ("conversations", "0010_read_content"),
        ("llm", "0004_price_proposals"),
        ("tagging", "0003_names_of_rules"),
        ("workspaces", "0006_autotags"),
    ]

    operations = [append_only("auditlog_logentry"), migrations.RunPython(seed, migrations.RunPython.noop)]
