"""What an alert's explanation is made of, to say it in any language. Nullable: a server of before writes rows without it."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("analytics", "0022_agent_hours")]

    operations = [
        migrations.AddField(
            model_name="alert",
            name="facts",
            field=models.JSONField(
                editable=False,
                help_text="What the explanation is made of; empty: only the text was kept.",
                null=True,
            ),
        ),
    ]
