"""A call says which agent answered: its conversation may get another one later. What was called before says none."""

import django.db.models.deletion
from django.db import migrations, models

import synapscale.common.models
from synapscale.common.migrations import add_tenant_foreign_keys


class Migration(migrations.Migration):
    dependencies = [("conversations", "0008_autotags")]

    operations = [
        migrations.AddField(
            model_name="usagelog",
            name="agent",
            field=synapscale.common.models.TenantFK(
                db_index=False,
                help_text="Who answered, as it was then.",
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="usage_logs",
                to="conversations.agent",
            ),
        ),
        add_tenant_foreign_keys("conversations", models=["usagelog"], fields=["agent"]),
        migrations.AddIndex(
            model_name="usagelog",
            index=models.Index(fields=["created_at"], name="usage_logs_by_moment"),
        ),
    ]
