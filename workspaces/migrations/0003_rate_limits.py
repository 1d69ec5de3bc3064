"""Requests and tokens per minute, of a token and of the whole workspace."""

import django.core.validators
import django.db.models.deletion
from django.db import migrations, models

import synapscale.common.models
import synapscale.common.money


class Migration(migrations.Migration):
    dependencies = [
        ("workspaces", "0002_token_rules"),
    ]

    operations = [
        migrations.AddField(
            model_name="accesstoken",
            name="requests_per_minute",
            field=models.PositiveIntegerField(
                blank=True,
                help_text="Calls per minute; empty: as many as the workspace may.",
                null=True,
                validators=[django.core.validators.MinValueValidator(1)],
            ),
        ),
        migrations.AddField(
            model_name="accesstoken",
            name="tokens_per_minute",
            field=models.PositiveIntegerField(
                blank=True,
                help_text="Tokens per minute; empty: as many as the workspace may.",
                null=True,
                validators=[django.core.validators.MinValueValidator(1)],
            ),
        ),
        migrations.AddField(
            model_name="workspace",
            name="requests_per_minute",
            field=models.PositiveIntegerField(
                blank=True,
                help_text="Calls of the whole workspace per minute; empty: as many as it likes.",
                null=True,
                validators=[django.core.validators.MinValueValidator(1)],
            ),
        ),
        migrations.AddField(
            model_name="workspace",
            name="tokens_per_minute",
            field=models.PositiveIntegerField(
                blank=True,
                help_text="Tokens of the whole workspace per minute; empty: as many as it likes.",
                null=True,
                validators=[django.core.validators.MinValueValidator(1)],
            ),
        ),
        migrations.CreateModel(
            name="RateBucket",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=synapscale.common.models.new_id, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("requests_left", models.BigIntegerField(help_text="In thousandths of a request.")),
                (
                    "tokens_left",
                    models.BigIntegerField(
                        help_text="In thousandths of a token; below zero after a call that used more."
                    ),
                ),
                ("filled_at", models.DateTimeField(help_text="On the database's clock.")),
                (
                    "access_token",
                    models.ForeignKey(
                        blank=True,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="workspaces.accesstoken",
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
                "db_table": "rate_buckets",
                "constraints": [
                    models.UniqueConstraint(fields=("workspace", "id"), name="ratebucket_tenant_key"),
                    models.UniqueConstraint(
                        condition=models.Q(("access_token__isnull", False)),
                        fields=("workspace", "access_token"),
                        name="rate_buckets_per_token",
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(("access_token__isnull", True)),
                        fields=("workspace",),
                        name="rate_buckets_per_workspace",
                    ),
                ],
            },
        ),
    ]
