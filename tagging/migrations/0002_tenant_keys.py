"""Composite keys between rows of one workspace."""

from django.db import migrations

from synapscale.common.migrations import add_tenant_foreign_keys


class Migration(migrations.Migration):
    dependencies = [("tagging", "0001_initial")]

    operations = [add_tenant_foreign_keys("tagging", models=["TagRule", "TagLink"])]
