"""Prices that are proposed, and who may decide about them."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

import synapscale.common.models


class Migration(migrations.Migration):
    dependencies = [
        ("llm", "0003_private_hosts"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AlterModelOptions(
            name="llmprice",
            options={
                "ordering": ["llm", "effective_from"],
                "permissions": [("approve_price", "Can approve and reject proposed prices")],
                "verbose_name": "LLM price",
            },
        ),
        migrations.CreateModel(
            name="PriceProposal",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=synapscale.common.models.new_id, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "effective_from",
                    models.DateTimeField(blank=True, help_text="Empty: from its approval on.", null=True),
                ),
                ("rates", models.JSONField(help_text="USD per million tokens.")),
                ("tiers", models.JSONField(blank=True, default=list)),
                ("windows", models.JSONField(blank=True, default=list)),
                (
                    "differences",
                    models.JSONField(blank=True, default=list, help_text="From the price when it was proposed."),
                ),
                (
                    "largest_change_percent",
                    models.DecimalField(
                        blank=True,
                        decimal_places=1,
                        help_text="Empty: a rate that was nothing before.",
                        max_digits=7,
                        null=True,
                    ),
                ),
                ("source", models.CharField(max_length=300)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("open", "Waiting"),
                            ("approved", "Approved"),
                            ("rejected", "Rejected"),
                            ("superseded", "Superseded"),
                        ],
                        default="open",
                        max_length=10,
                    ),
                ),
                ("decided_at", models.DateTimeField(blank=True, null=True)),
                ("reason", models.TextField(blank=True)),
                (
                    "decided_by",
                    models.ForeignKey(
                        blank=True,
                        db_index=False,
                        help_text="Empty where no person decided.",
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="price_proposals",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "llm",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="price_proposals",
                        to="llm.llm",
                    ),
                ),
                (
                    "price",
                    models.ForeignKey(
                        blank=True,
                        db_index=False,
                        help_text="The one that was stored on its approval.",
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="proposals",
                        to="llm.llmprice",
                    ),
                ),
            ],
            options={
                "verbose_name": "price proposal",
                "db_table": "price_proposals",
                "ordering": ["-id"],
                "indexes": [models.Index(fields=["llm", "-id"], name="price_proposals_by_llm")],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("state", "open")), fields=("llm",), name="price_proposals_one_open"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("decided_at", None), ("price", None), ("state", "open")),
                            models.Q(("decided_at__isnull", False), ("price__isnull", False), ("state", "approved")),
                            models.Q(
                                ("decided_at__isnull", False),
                                ("price", None),
                                ("state__in", ["rejected", "superseded"]),
                            ),
                            _connector="OR",
                        ),
                        name="price_proposals_decided",
                    ),
                ],
            },
        ),
    ]
