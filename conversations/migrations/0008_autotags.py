"""Which messages rules are to look at."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("conversations", "0007_feedback_reviews"), ("tagging", "0002_tenant_keys")]

    operations = [
        migrations.AddField(
            model_name="message",
            name="autotag_due_at",
            field=models.DateTimeField(
                blank=True,
                editable=False,
                help_text="From when on rules are to look at it, again or at all.",
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="message",
            name="autotag_for",
            field=models.CharField(
                blank=True,
                default="",
                editable=False,
                help_text="What has happened to it: “answer” or “feedback”.",
                max_length=10,
            ),
            preserve_default=False,
        ),
        migrations.AddIndex(
            model_name="message",
            index=models.Index(
                condition=models.Q(("autotag_due_at__isnull", False)),
                fields=["workspace", "autotag_due_at"],
                name="messages_autotag_due",
            ),
        ),
    ]
