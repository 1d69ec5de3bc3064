"""What a client notes with its question."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0004_token_spend"),
        ("conversations", "0002_guards"),
        ("llm", "0003_private_hosts"),
        ("workspaces", "0004_fallbacks"),
    ]

    operations = [
        migrations.AddField(
            model_name="message",
            name="metadata",
            field=models.JSONField(blank=True, default=dict, help_text="What the client noted with the question."),
        ),
    ]
