"""What a token may do: scopes, models, and how much it may spend."""

from django.db import migrations, models

import synapscale.common.models
import synapscale.common.money
import workspaces.models


class Migration(migrations.Migration):
    dependencies = [
        ("workspaces", "0001_initial"),
    ]

    operations = [
        migrations.AddField(
            model_name="accesstoken",
            name="allowed_models",
            field=models.JSONField(
                blank=True,
                default=list,
                help_text="Models that it may call, as “provider/name”. Empty: what the workspace may.",
            ),
        ),
        migrations.AddField(
            model_name="accesstoken",
            name="scopes",
            field=models.JSONField(default=workspaces.models.all_scopes, help_text="chat, read, billing, keys, admin."),
        ),
        migrations.AddField(
            model_name="accesstoken",
            name="spend_limit_usd",
            field=synapscale.common.money.UsdField(
                blank=True, decimal_places=12, help_text="What its calls may cost, in USD; empty: no limit.", null=True
            ),
        ),
        migrations.AddField(
            model_name="accesstoken",
            name="spend_period",
            field=models.CharField(
                choices=[
                    ("", "Never begins anew"),
                    ("day", "Every day"),
                    ("week", "Every week, on Monday"),
                    ("month", "Every month"),
                ],
                default="",
                help_text="How often the spending limit begins anew, by the clock of UTC.",
                max_length=10,
            ),
        ),
        migrations.AlterField(
            model_name="uservariable",
            name="category",
            field=models.CharField(
                choices=[("api_key", "Provider key"), ("secret", "Secret: never shown again"), ("general", "General")],
                default="general",
                max_length=20,
            ),
        ),
    ]
