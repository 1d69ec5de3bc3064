"""The data of images gets a table of its own."""

import django.db.models.deletion
from django.db import migrations, models

import synapscale.common.models
from synapscale.common.migrations import add_tenant_foreign_keys


class Migration(migrations.Migration):
    dependencies = [
        ("conversations", "0004_api_calls"),
        ("workspaces", "0004_fallbacks"),
    ]

    operations = [
        migrations.CreateModel(
            name="MessageImage",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=synapscale.common.models.new_id, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("position", models.PositiveSmallIntegerField(help_text="Among the message's attachments, from 0.")),
                ("data", models.BinaryField()),
                (
                    "message",
                    synapscale.common.models.TenantFK(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="images",
                        to="conversations.message",
                    ),
                ),
                (
                    "workspace",
                    synapscale.common.models.WorkspaceFK(
                        db_index=False, on_delete=django.db.models.deletion.PROTECT, to="workspaces.workspace"
                    ),
                ),
            ],
            options={
                "db_table": "message_images",
                "constraints": [
                    models.UniqueConstraint(fields=("workspace", "id"), name="messageimage_tenant_key"),
                    models.UniqueConstraint(fields=("workspace", "message", "position"), name="message_images_once"),
                ],
            },
        ),
        add_tenant_foreign_keys("conversations", models=["MessageImage"]),
    ]
