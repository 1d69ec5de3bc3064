"""All calls there are begin in the tail: the first run of the job adds them to the sums."""

from typing import Any

from django.db import migrations


def put_calls_into_tail(apps: Any, schema_editor: Any) -> None:
    schema_editor.execute(
        "INSERT INTO usage_tail (id, created_at, workspace_id, usage_log_id) "
        "SELECT id, created_at, workspace_id, id FROM usage_logs"
    )


class Migration(migrations.Migration):
    dependencies = [("analytics", "0001_rollups")]

    operations = [migrations.RunPython(put_calls_into_tail, migrations.RunPython.noop)]
