"""Attempts to sign in to the back office, counted."""

from django.db import migrations, models

import synapscale.common.models


class Migration(migrations.Migration):
    dependencies = [
        ("workspaces", "0006_autotags"),
    ]

    operations = [
        migrations.CreateModel(
            name="SignInAttempt",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=synapscale.common.models.new_id, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("account", models.CharField(max_length=64)),
                ("network", models.CharField(max_length=45)),
                (
                    "outcome",
                    models.CharField(
                        choices=[("wrong", "wrong"), ("right", "right"), ("refused", "refused")],
                        default="wrong",
                        max_length=7,
                    ),
                ),
                ("counts_until", models.DateTimeField()),
            ],
            options={
                "db_table": "sign_in_attempts",
                "indexes": [
                    models.Index(fields=["account", "counts_until"], name="sign_in_attempts_account"),
                    models.Index(fields=["network", "counts_until"], name="sign_in_attempts_network"),
                    models.Index(fields=["counts_until"], name="sign_in_attempts_over"),
                ],
            },
        ),
    ]
