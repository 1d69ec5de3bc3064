"""On PostgreSQL, a run and its mails can only be of a report of the same workspace."""

from django.db import migrations

from synapscale.common.migrations import add_tenant_foreign_keys


class Migration(migrations.Migration):
    dependencies = [("analytics", "0020_reports")]

    operations = [add_tenant_foreign_keys("analytics", models=["ReportRun", "ReportMail"])]
