"""One conversation for a user’s one-shot calls, and usage by access token."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("conversations", "0003_message_metadata"),
    ]

    operations = [
        migrations.AddField(
            model_name="usagelog",
            name="access_token",
            field=models.ForeignKey(
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="usage_logs",
                to="workspaces.accesstoken",
            ),
        ),
        migrations.AddIndex(
            model_name="usagelog",
            index=models.Index(fields=["workspace", "access_token", "-created_at"], name="usage_logs_by_token"),
        ),
        migrations.AddConstraint(
            model_name="conversation",
            constraint=models.UniqueConstraint(
                condition=models.Q(("kind", "api"), ("status", "active")),
                fields=("workspace", "user"),
                name="conversations_one_for_api_calls",
            ),
        ),
    ]
