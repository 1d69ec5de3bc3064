"""Models to try next, and whether a user lets calls fall back to paid credit."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("workspaces", "0003_rate_limits"),
    ]

    operations = [
        migrations.AddField(
            model_name="user",
            name="allows_paid_fallback",
            field=models.BooleanField(
                default=True,
                help_text="Whether calls may run on the house's key, which is charged, where no own key is there for them.",
            ),
        ),
        migrations.AddField(
            model_name="workspace",
            name="fallback_models",
            field=models.JSONField(
                blank=True,
                default=list,
                help_text="Models to try next, in order, as “provider/name”, where the agent names none of its own.",
            ),
        ),
    ]
