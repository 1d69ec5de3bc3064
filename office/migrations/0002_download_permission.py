"""Finance may download lists."""

from typing import Any

from django.db import migrations

from office import roles


def seed(apps: Any, schema_editor: Any) -> None:
    roles.seed(apps, schema_editor.connection.alias)


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0006_download_permission"),
        ("office", "0001_roles"),
    ]

    operations = [migrations.RunPython(seed, migrations.RunPython.noop)]
