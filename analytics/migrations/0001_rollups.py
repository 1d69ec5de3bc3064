import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

import synapscale.common.models
import synapscale.common.money
from synapscale.common.migrations import add_tenant_foreign_keys


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("conversations", "0009_usage_agent"),
        ("llm", "0003_private_hosts"),
        ("workspaces", "0006_autotags"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="RollupState",
            fields=[
                ("id", models.PositiveSmallIntegerField(default=1, editable=False, primary_key=True, serialize=False)),
                (
                    "rolled_up_at",
                    models.DateTimeField(help_text="When the tail was last found empty or emptied.", null=True),
                ),
                ("rebuilt_at", models.DateTimeField(null=True)),
            ],
            options={
                "db_table": "rollup_state",
                "constraints": [models.CheckConstraint(condition=models.Q(("id", 1)), name="rollup_state_one_row")],
            },
        ),
        migrations.CreateModel(
            name="AgentDay",
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
                ("day", models.DateTimeField(help_text="Its midnight, UTC.")),
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
                "db_table": "agent_days",
                "constraints": [
                    models.UniqueConstraint(fields=("workspace", "id"), name="agentday_tenant_key"),
                    models.UniqueConstraint(
                        fields=("workspace", "day", "agent_key", "key_source", "status"), name="agent_days_once"
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="FleetHour",
            fields=[
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
                (
                    "id",
                    models.UUIDField(
                        default=synapscale.common.models.new_id, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("hour", models.DateTimeField()),
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
                    "llm",
                    models.ForeignKey(
                        db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name="+", to="llm.llm"
                    ),
                ),
            ],
            options={
                "db_table": "fleet_hours",
                "constraints": [
                    models.UniqueConstraint(fields=("hour", "llm", "key_source", "status"), name="fleet_hours_once")
                ],
            },
        ),
        migrations.CreateModel(
            name="FleetLatencyDay",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=synapscale.common.models.new_id, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("day", models.DateTimeField(help_text="Its midnight, UTC.")),
                ("step", models.PositiveSmallIntegerField()),
                ("calls", models.PositiveBigIntegerField()),
                (
                    "llm",
                    models.ForeignKey(
                        db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name="+", to="llm.llm"
                    ),
                ),
            ],
            options={
                "db_table": "fleet_latency_days",
                "constraints": [models.UniqueConstraint(fields=("day", "llm", "step"), name="fleet_latency_days_once")],
            },
        ),
        migrations.CreateModel(
            name="LatencyDay",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=synapscale.common.models.new_id, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("day", models.DateTimeField(help_text="Its midnight, UTC.")),
                ("step", models.PositiveSmallIntegerField()),
                ("calls", models.PositiveBigIntegerField()),
                (
                    "llm",
                    models.ForeignKey(
                        db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name="+", to="llm.llm"
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
                "db_table": "latency_days",
                "constraints": [
                    models.UniqueConstraint(fields=("workspace", "id"), name="latencyday_tenant_key"),
                    models.UniqueConstraint(fields=("workspace", "day", "llm", "step"), name="latency_days_once"),
                ],
            },
        ),
        migrations.CreateModel(
            name="UsageDay",
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
                ("day", models.DateTimeField(help_text="Its midnight, UTC.")),
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
                    "llm",
                    models.ForeignKey(
                        db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name="+", to="llm.llm"
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
                "db_table": "usage_days",
                "constraints": [
                    models.UniqueConstraint(fields=("workspace", "id"), name="usageday_tenant_key"),
                    models.UniqueConstraint(
                        fields=("workspace", "day", "llm", "key_source", "status"), name="usage_days_once"
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="UsageHour",
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
                    "llm",
                    models.ForeignKey(
                        db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name="+", to="llm.llm"
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
                "db_table": "usage_hours",
                "constraints": [
                    models.UniqueConstraint(fields=("workspace", "id"), name="usagehour_tenant_key"),
                    models.UniqueConstraint(
                        fields=("workspace", "hour", "llm", "key_source", "status"), name="usage_hours_once"
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="UsageTail",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=synapscale.common.models.new_id, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "usage_log",
                    synapscale.common.models.TenantFK(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="tail",
                        to="conversations.usagelog",
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
                "db_table": "usage_tail",
                "constraints": [
                    models.UniqueConstraint(fields=("workspace", "id"), name="usagetail_tenant_key"),
                    models.UniqueConstraint(fields=("workspace", "usage_log"), name="usage_tail_once"),
                ],
            },
        ),
        migrations.CreateModel(
            name="UserDay",
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
                ("day", models.DateTimeField(help_text="Its midnight, UTC.")),
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
                    "user",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
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
                "db_table": "user_days",
                "constraints": [
                    models.UniqueConstraint(fields=("workspace", "id"), name="userday_tenant_key"),
                    models.UniqueConstraint(
                        fields=("workspace", "day", "user", "key_source", "status"), name="user_days_once"
                    ),
                ],
            },
        ),
        add_tenant_foreign_keys("analytics", models=["usagetail"]),
    ]
