"""Whether and when rules set tags by themselves."""

from decimal import Decimal

import django.core.validators
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("workspaces", "0005_feedback_rules")]

    operations = [
        migrations.AddField(
            model_name="workspace",
            name="tags_automatically",
            field=models.BooleanField(default=True, help_text="Whether rules set tags on answers by themselves."),
        ),
        migrations.AddField(
            model_name="workspace",
            name="autotag_threshold",
            field=models.DecimalField(
                decimal_places=3,
                default=Decimal("0.800"),
                help_text="How sure a rule must be, from 0 to 1, to set a tag; below, it only suggests it.",
                max_digits=4,
                validators=[
                    django.core.validators.MinValueValidator(0),
                    django.core.validators.MaxValueValidator(1),
                ],
            ),
        ),
        migrations.AddConstraint(
            model_name="workspace",
            constraint=models.CheckConstraint(
                condition=models.Q(("autotag_threshold__gte", 0), ("autotag_threshold__lte", 1)),
                name="workspaces_threshold_share",
            ),
        ),
    ]
