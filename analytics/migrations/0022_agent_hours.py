"""Sums of agents by the hour instead of the day. All sums begin anew: the job makes them from the tail, which gets every call."""

from typing import Any

import django.db.models.deletion
from django.db import migrations, models

import synapscale.common.models
import synapscale.common.money

SUMS = ("usage_hours", "user_days", "usage_days", "latency_days", "fleet_hours", "fleet_latency_days")


def begin_anew(apps: Any, schema_editor: Any) -> None:
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("LOCK TABLE rollup_state IN EXCLUSIVE MODE")
    for table in (*SUMS, "usage_tail"):
        schema_editor.execute(f"DELETE FROM {table}")
    schema_editor.execute(
        "INSERT INTO usage_tail (id, created_at, workspace_id, usage_log_id) "
        "SELECT id, created_at, workspace_id, id FROM usage_logs"
    )


class Migration(migrations.Migration):
    dependencies = [
        ("analytics", "0021_reports_tenant_keys"),
        ("workspaces", "0006_autotags"),
    ]

    operations = [
        migrations.CreateModel(
            name="AgentHour",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=synapscale.common.models.new_id, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("calls", models.PositiveBigIntegerField()),
                ("messages", models.PositiveBigIntegerField()),
                ("input_tokens", models.PositiveBigIntegerField()),
                ("cached_input_tokens", models.PositiveBigIntegerField()),
                ("cache_write_tokens", models.PositiveBigIntegerField()),
                ("output_tokens", models.PositiveBigIntegerField()),
                ("reasoning_tokens", models.PositiveBigIntegerField()),
                ("total_tokens", models.PositiveBigIntegerField()),
                ("charged_usd", synapscale.common.money.UsdField(decimal_places=12)),
                ("cost_usd", synapscale.common.money.UsdField(decimal_places=12)),
                ("timed_calls", models.PositiveBigIntegerField()),
                ("latency_ms", models.PositiveBigIntegerField()),
                ("timed_output_tokens", models.PositiveBigIntegerField()),
                ("first_token_calls", models.PositiveBigIntegerField()),
                ("first_token_ms", models.PositiveBigIntegerField()),
                ("hour", models.DateTimeField()),
                ("agent_key", models.UUIDField(help_text="The agent's id; all zeros for calls without one.")),
                (
                    "key_source",
                    models.CharField(
                        choices=[
                            ("user", "The user's own key"),
                            ("workspace", "The workspace's key"),
                            ("global", "The house's key"),
                        ],
                        max_length=10,
                    ),
                ),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("success", "Success"),
                            ("error", "Error"),
                            ("interrupted", "Interrupted"),
                            ("lost", "Lost"),
                        ],
                        max_length=12,
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
                "db_table": "agent_hours",
            },
        ),
        migrations.DeleteModel(
            name="AgentDay",
        ),
        migrations.AddConstraint(
            model_name="agenthour",
            constraint=models.UniqueConstraint(fields=("workspace", "id"), name="agenthour_tenant_key"),
        ),
        migrations.AddConstraint(
            model_name="agenthour",
            constraint=models.UniqueConstraint(
                fields=("workspace", "hour", "agent_key", "key_source", "status"), name="agent_hours_once"
            ),
        ),
        migrations.RunPython(begin_anew, migrations.RunPython.noop),
    ]
