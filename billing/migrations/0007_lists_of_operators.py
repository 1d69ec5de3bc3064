"""What is rare in the ledger and among holds is found by an index of its own."""

from django.db import migrations, models

from synapscale.common.indexes import AddIndexOnline


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("billing", "0006_download_permission")]

    operations = [
        AddIndexOnline(
            model_name="billingevent",
            index=models.Index(
                condition=models.Q(("event_type", "usage"), _negated=True),
                fields=["id", "event_type"],
                name="billing_events_unusual",
            ),
        ),
        AddIndexOnline(
            model_name="hold",
            index=models.Index(
                condition=models.Q(("state__in", ["released", "expired"])),
                fields=["id", "state"],
                name="holds_unusual",
            ),
        ),
    ]
