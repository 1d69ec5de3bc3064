"""What an access token with a spending limit has spent and reserves."""

import django.core.validators
import django.db.models.deletion
from django.db import migrations, models

import synapscale.common.models
import synapscale.common.money


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0003_own_key_fee"),
    ]

    operations = [
        migrations.AddField(
            model_name="hold",
            name="access_token",
            field=models.ForeignKey(
                db_index=False,
                help_text="The token whose spending limit it counts against, where it has one.",
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="workspaces.accesstoken",
            ),
        ),
        migrations.CreateModel(
            name="TokenSpend",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=synapscale.common.models.new_id, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "period_start",
                    models.DateField(help_text="Of the period that ``spent`` is of; empty: it has no end.", null=True),
                ),
                ("spent", synapscale.common.money.UsdField(decimal_places=12, default=0)),
                ("held", synapscale.common.money.UsdField(decimal_places=12, default=0)),
                (
                    "access_token",
                    models.ForeignKey(
                        db_index=False,
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
                "db_table": "token_spends",
                "constraints": [
                    models.UniqueConstraint(fields=("workspace", "id"), name="tokenspend_tenant_key"),
                    models.UniqueConstraint(fields=("workspace", "access_token"), name="token_spends_once"),
                    models.CheckConstraint(
                        condition=models.Q(("held__gte", 0), ("spent__gte", 0)), name="token_spends_not_negative"
                    ),
                ],
            },
        ),
    ]
