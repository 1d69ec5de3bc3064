import django.core.validators
import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

import synapscale.common.models
import synapscale.common.money
from synapscale.common.migrations import add_tenant_foreign_keys


class Migration(migrations.Migration):
    dependencies = [
        ("analytics", "0003_health"),
        ("workspaces", "0006_autotags"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="AlertRule",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=synapscale.common.models.new_id, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("name", models.CharField(max_length=100)),
                (
                    "condition",
                    models.CharField(help_text="cost, error_rate, latency, key_expiry, anomaly.", max_length=30),
                ),
                (
                    "scope",
                    models.CharField(
                        choices=[
                            ("fleet", "All workspaces together"),
                            ("workspace", "Each workspace"),
                            ("user", "Each user in a workspace"),
                            ("llm", "Each model"),
                            ("provider", "Each provider"),
                        ],
                        help_text="What is watched, each on its own.",
                        max_length=20,
                    ),
                ),
                (
                    "subject_id",
                    models.CharField(
                        blank=True,
                        help_text="The one that is watched: an id, or a provider's name. Empty: each.",
                        max_length=100,
                    ),
                ),
                (
                    "window_seconds",
                    models.PositiveIntegerField(
                        help_text="How far back is looked.",
                        validators=[
                            django.core.validators.MinValueValidator(60),
                            django.core.validators.MaxValueValidator(2678400),
                        ],
                    ),
                ),
                (
                    "threshold",
                    synapscale.common.money.UsdField(
                        decimal_places=12,
                        help_text="More than this fires. In the unit of the condition: USD, a share, seconds, days.",
                    ),
                ),
                (
                    "min_calls",
                    models.PositiveIntegerField(default=0, help_text="Fewer calls in the window say nothing."),
                ),
                (
                    "severity",
                    models.CharField(
                        choices=[("info", "Info"), ("warning", "Warning"), ("critical", "Critical")],
                        default="warning",
                        max_length=10,
                    ),
                ),
                (
                    "cooldown_seconds",
                    models.PositiveIntegerField(
                        default=3600,
                        help_text="For how long after an alert is over the same one does not fire again.",
                        validators=[
                            django.core.validators.MinValueValidator(60),
                            django.core.validators.MaxValueValidator(2678400),
                        ],
                    ),
                ),
                (
                    "settings",
                    models.JSONField(blank=True, default=dict, help_text="What else the condition can be told."),
                ),
                ("is_active", models.BooleanField(default=True)),
                (
                    "silenced_until",
                    models.DateTimeField(blank=True, help_text="Until then nothing new fires.", null=True),
                ),
                ("is_builtin", models.BooleanField(default=False, editable=False)),
                ("updated_at", models.DateTimeField(auto_now=True)),
                (
                    "created_by",
                    models.ForeignKey(
                        blank=True,
                        db_index=False,
                        editable=False,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "workspace",
                    models.ForeignKey(
                        blank=True,
                        help_text="Whose rule it is; empty: the operators'.",
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="alert_rules",
                        to="workspaces.workspace",
                    ),
                ),
            ],
            options={
                "db_table": "alert_rules",
                "ordering": ["-id"],
            },
        ),
        migrations.CreateModel(
            name="Alert",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=synapscale.common.models.new_id, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "subject_kind",
                    models.CharField(
                        choices=[
                            ("fleet", "All workspaces together"),
                            ("workspace", "A workspace"),
                            ("user", "A user in a workspace"),
                            ("llm", "A model"),
                            ("provider", "A provider"),
                            ("key", "A provider key"),
                        ],
                        max_length=20,
                    ),
                ),
                ("subject_id", models.CharField(blank=True, max_length=100)),
                ("subject_label", models.CharField(max_length=300)),
                (
                    "state",
                    models.CharField(
                        choices=[("firing", "Firing"), ("acknowledged", "Acknowledged"), ("resolved", "Resolved")],
                        default="firing",
                        max_length=20,
                    ),
                ),
                (
                    "severity",
                    models.CharField(
                        choices=[("info", "Info"), ("warning", "Warning"), ("critical", "Critical")], max_length=10
                    ),
                ),
                (
                    "value",
                    synapscale.common.money.UsdField(
                        decimal_places=12, help_text="In the unit of the condition, when it was last seen."
                    ),
                ),
                (
                    "threshold",
                    synapscale.common.money.UsdField(decimal_places=12, help_text="What the value was more than."),
                ),
                ("explanation", models.TextField()),
                ("fired_at", models.DateTimeField()),
                ("last_seen_at", models.DateTimeField(help_text="When the value was last seen to be too much.")),
                ("acknowledged_at", models.DateTimeField(null=True)),
                ("resolved_at", models.DateTimeField(null=True)),
                (
                    "acknowledged_by",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        db_index=False,
                        help_text="Whom it is about, who sees it whatever their role.",
                        null=True,
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
                (
                    "rule",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="alerts",
                        to="analytics.alertrule",
                    ),
                ),
            ],
            options={
                "db_table": "alerts",
            },
        ),
        migrations.CreateModel(
            name="WebhookEndpoint",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=synapscale.common.models.new_id, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("url", models.CharField(help_text="Like https://hooks.example.com/alerts.", max_length=300)),
                ("description", models.CharField(blank=True, max_length=200)),
                (
                    "allows_private_addresses",
                    models.BooleanField(
                        default=False,
                        help_text="The host may be in a private network, and may speak plain HTTP there. Link-local and metadata addresses stay forbidden. Operators alone may say so.",
                    ),
                ),
                ("ciphertext", models.BinaryField()),
                ("key_id", models.CharField(editable=False, max_length=50)),
                ("is_active", models.BooleanField(default=True)),
                (
                    "last_status",
                    models.PositiveSmallIntegerField(
                        blank=True,
                        editable=False,
                        help_text="What it last answered; empty: nothing yet, or no answer came.",
                        null=True,
                    ),
                ),
                (
                    "last_error",
                    models.CharField(blank=True, editable=False, help_text="Empty: it went well.", max_length=200),
                ),
                ("last_attempt_at", models.DateTimeField(blank=True, editable=False, null=True)),
                ("updated_at", models.DateTimeField(auto_now=True)),
                (
                    "created_by",
                    models.ForeignKey(
                        blank=True,
                        db_index=False,
                        editable=False,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "workspace",
                    models.ForeignKey(
                        blank=True,
                        help_text="Whose alerts are sent there; empty: those of the operators' rules.",
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="webhook_endpoints",
                        to="workspaces.workspace",
                    ),
                ),
            ],
            options={
                "db_table": "webhook_endpoints",
                "ordering": ["-id"],
            },
        ),
        migrations.CreateModel(
            name="AlertDelivery",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=synapscale.common.models.new_id, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "event",
                    models.CharField(
                        choices=[
                            ("firing", "It began"),
                            ("acknowledged", "Somebody looks after it"),
                            ("resolved", "It is over"),
                        ],
                        max_length=20,
                    ),
                ),
                ("channel", models.CharField(choices=[("email", "E-mail"), ("webhook", "Webhook")], max_length=10)),
                ("recipient", models.EmailField(blank=True, max_length=254)),
                ("payload", models.JSONField(help_text="The alert as it was when it changed.")),
                (
                    "state",
                    models.CharField(
                        choices=[("pending", "To be sent"), ("sent", "Sent"), ("failed", "Given up")],
                        default="pending",
                        max_length=10,
                    ),
                ),
                ("attempts", models.PositiveSmallIntegerField(default=0)),
                ("next_attempt_at", models.DateTimeField()),
                ("give_up_at", models.DateTimeField(help_text="An attempt that fails after this is the last.")),
                (
                    "leased_until",
                    models.DateTimeField(help_text="Somebody is sending it; nobody else does until then.", null=True),
                ),
                ("last_error", models.CharField(blank=True, max_length=200)),
                ("sent_at", models.DateTimeField(null=True)),
                (
                    "alert",
                    synapscale.common.models.TenantFK(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="deliveries",
                        to="analytics.alert",
                    ),
                ),
                (
                    "workspace",
                    synapscale.common.models.WorkspaceFK(
                        db_index=False, on_delete=django.db.models.deletion.PROTECT, to="workspaces.workspace"
                    ),
                ),
                (
                    "endpoint",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="deliveries",
                        to="analytics.webhookendpoint",
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "alert deliveries",
                "db_table": "alert_deliveries",
            },
        ),
        migrations.AddConstraint(
            model_name="alertrule",
            constraint=models.UniqueConstraint(
                condition=models.Q(("workspace__isnull", False)), fields=("workspace", "name"), name="alert_rules_once"
            ),
        ),
        migrations.AddConstraint(
            model_name="alertrule",
            constraint=models.UniqueConstraint(
                condition=models.Q(("workspace__isnull", True)), fields=("name",), name="alert_rules_operators_once"
            ),
        ),
        migrations.AddConstraint(
            model_name="alertrule",
            constraint=models.UniqueConstraint(
                condition=models.Q(("is_builtin", True)), fields=("condition",), name="alert_rules_builtin_once"
            ),
        ),
        migrations.AddConstraint(
            model_name="alertrule",
            constraint=models.CheckConstraint(
                condition=models.Q(("is_builtin", False), ("workspace__isnull", True), _connector="OR"),
                name="alert_rules_builtin_is_operators",
            ),
        ),
        migrations.AddConstraint(
            model_name="alertrule",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("workspace__isnull", True), models.Q(("scope", "fleet"), _negated=True), _connector="OR"
                ),
                name="alert_rules_fleet_is_operators",
            ),
        ),
        migrations.AddConstraint(
            model_name="alertrule",
            constraint=models.CheckConstraint(
                condition=models.Q(("window_seconds__gte", 60), ("window_seconds__lte", 2678400)),
                name="alert_rules_window",
            ),
        ),
        migrations.AddConstraint(
            model_name="alertrule",
            constraint=models.CheckConstraint(
                condition=models.Q(("cooldown_seconds__gte", 60), ("cooldown_seconds__lte", 2678400)),
                name="alert_rules_cooldown",
            ),
        ),
        migrations.AddConstraint(
            model_name="alertrule",
            constraint=models.CheckConstraint(
                condition=models.Q(("threshold__gte", 0)), name="alert_rules_threshold_not_negative"
            ),
        ),
        migrations.AddIndex(
            model_name="alert",
            index=models.Index(fields=["workspace", "rule", "subject_id", "resolved_at"], name="alerts_by_subject"),
        ),
        migrations.AddIndex(
            model_name="alert",
            index=models.Index(fields=["workspace", "user", "id"], name="alerts_by_user"),
        ),
        migrations.AddConstraint(
            model_name="alert",
            constraint=models.UniqueConstraint(fields=("workspace", "id"), name="alert_tenant_key"),
        ),
        migrations.AddConstraint(
            model_name="alert",
            constraint=models.UniqueConstraint(
                condition=models.Q(("state__in", ["firing", "acknowledged"])),
                fields=("workspace", "rule", "subject_kind", "subject_id"),
                name="alerts_one_open",
            ),
        ),
        migrations.AddConstraint(
            model_name="alert",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("resolved_at__isnull", False), ("state", "resolved")),
                    models.Q(("resolved_at__isnull", True), ("state__in", ["firing", "acknowledged"])),
                    _connector="OR",
                ),
                name="alerts_resolved",
            ),
        ),
        migrations.AddConstraint(
            model_name="alert",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("acknowledged_at__isnull", True), ("acknowledged_by__isnull", True)),
                    models.Q(("acknowledged_at__isnull", False), ("acknowledged_by__isnull", False)),
                    _connector="OR",
                ),
                name="alerts_acknowledged_by",
            ),
        ),
        migrations.AddConstraint(
            model_name="alert",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("state", "resolved"),
                    models.Q(("acknowledged_at__isnull", True), ("state", "firing")),
                    models.Q(("acknowledged_at__isnull", False), ("state", "acknowledged")),
                    _connector="OR",
                ),
                name="alerts_acknowledged",
            ),
        ),
        migrations.AddIndex(
            model_name="alertdelivery",
            index=models.Index(
                condition=models.Q(("state", "pending")),
                fields=["workspace", "next_attempt_at"],
                name="alert_deliveries_due",
            ),
        ),
        migrations.AddConstraint(
            model_name="alertdelivery",
            constraint=models.UniqueConstraint(fields=("workspace", "id"), name="alertdelivery_tenant_key"),
        ),
        migrations.AddConstraint(
            model_name="alertdelivery",
            constraint=models.UniqueConstraint(
                condition=models.Q(("endpoint__isnull", False)),
                fields=("workspace", "alert", "event", "endpoint"),
                name="alert_deliveries_per_endpoint",
            ),
        ),
        migrations.AddConstraint(
            model_name="alertdelivery",
            constraint=models.UniqueConstraint(
                condition=models.Q(("endpoint__isnull", True)),
                fields=("workspace", "alert", "event", "recipient"),
                name="alert_deliveries_per_recipient",
            ),
        ),
        migrations.AddConstraint(
            model_name="alertdelivery",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("channel", "email"), ("endpoint__isnull", True), models.Q(("recipient", ""), _negated=True)
                    ),
                    models.Q(("channel", "webhook"), ("endpoint__isnull", False), ("recipient", "")),
                    _connector="OR",
                ),
                name="alert_deliveries_one_address",
            ),
        ),
        migrations.AddConstraint(
            model_name="alertdelivery",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("sent_at__isnull", False), ("state", "sent")),
                    models.Q(("sent_at__isnull", True), ("state__in", ["pending", "failed"])),
                    _connector="OR",
                ),
                name="alert_deliveries_sent",
            ),
        ),
        add_tenant_foreign_keys("analytics", models=["alertdelivery"]),
    ]
