"""Who is told of negative feedback, and what exports of it contain."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("workspaces", "0004_fallbacks"),
    ]

    operations = [
        migrations.AddField(
            model_name="workspace",
            name="exports_feedback_content",
            field=models.BooleanField(
                default=False, help_text="Whether exports of feedback contain what was asked, answered and written."
            ),
        ),
        migrations.AddField(
            model_name="workspace",
            name="feedback_alert_email",
            field=models.EmailField(
                blank=True,
                help_text="Who is told of negative feedback, without its contents; empty: nobody.",
                max_length=254,
            ),
        ),
    ]
