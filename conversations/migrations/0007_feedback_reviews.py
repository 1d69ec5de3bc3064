"""Negative feedback is reviewed: what there is of it already waits for that, and nobody is told of old complaints."""

from typing import Any

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models
from django.db.models import Q
from django.db.models.functions import Now


def open_reviews(apps: Any, schema_editor: Any) -> None:
    rows = apps.get_model("conversations", "MessageFeedback").objects
    negative = Q(thumb="down") | Q(stars__lte=2) | Q(category__in=["unsafe", "wrong"])
    rows.filter(negative).update(review_status="open", alerted_at=Now())


class Migration(migrations.Migration):
    dependencies = [
        ("conversations", "0006_move_images"),
        ("workspaces", "0005_feedback_rules"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AddField(
            model_name="messagefeedback",
            name="alerted_at",
            field=models.DateTimeField(
                blank=True, editable=False, help_text="When the workspace was told of the open review.", null=True
            ),
        ),
        migrations.AddField(
            model_name="messagefeedback",
            name="review_note",
            field=models.CharField(blank=True, help_text="For operators; no client sees it.", max_length=1000),
        ),
        migrations.AddField(
            model_name="messagefeedback",
            name="review_status",
            field=models.CharField(
                blank=True, choices=[("open", "Open"), ("done", "Done")], editable=False, max_length=4
            ),
        ),
        migrations.AddField(
            model_name="messagefeedback",
            name="reviewed_at",
            field=models.DateTimeField(blank=True, editable=False, null=True),
        ),
        migrations.AddField(
            model_name="messagefeedback",
            name="reviewed_by",
            field=models.ForeignKey(
                blank=True,
                db_index=False,
                editable=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="reviewed_feedbacks",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddIndex(
            model_name="messagefeedback",
            index=models.Index(fields=["workspace", "-created_at", "-id"], name="message_feedbacks_by_time"),
        ),
        migrations.AddIndex(
            model_name="messagefeedback",
            index=models.Index(
                condition=models.Q(("review_status", "open")), fields=["workspace", "id"], name="message_feedbacks_open"
            ),
        ),
        migrations.AddConstraint(
            model_name="messagefeedback",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("review_status", "done"), ("reviewed_at__isnull", False)),
                    models.Q(
                        ("review_status__in", ["", "open"]),
                        ("reviewed_at__isnull", True),
                        ("reviewed_by__isnull", True),
                    ),
                    _connector="OR",
                ),
                name="message_feedbacks_reviewed",
            ),
        ),
        migrations.AddConstraint(
            model_name="messagefeedback",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("review_status", "open"), _negated=True),
                    ("thumb", "down"),
                    models.Q(("stars__isnull", False), ("stars__lte", 2)),
                    ("category__in", ["unsafe", "wrong"]),
                    _connector="OR",
                ),
                name="message_feedbacks_open_is_negative",
            ),
        ),
        migrations.AddConstraint(
            model_name="messagefeedback",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("review_status", ""), _negated=True), ("alerted_at__isnull", True), _connector="OR"
                ),
                name="message_feedbacks_alert_has_review",
            ),
        ),
        migrations.RunPython(open_reviews, migrations.RunPython.noop),
    ]
