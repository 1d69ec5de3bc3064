"""The status of each part of the system, and since when."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("analytics", "0002_calls_into_tail"),
    ]

    operations = [
        migrations.CreateModel(
            name="HealthState",
            fields=[
                ("name", models.CharField(max_length=40, primary_key=True, serialize=False)),
                (
                    "status",
                    models.CharField(choices=[("ok", "OK"), ("degraded", "Degraded"), ("down", "Down")], max_length=10),
                ),
                ("since", models.DateTimeField()),
            ],
            options={
                "db_table": "health_states",
            },
        ),
    ]
