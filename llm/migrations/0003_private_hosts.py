"""Hosts of the operators’ own, and the models that they serve."""

import django.db.models.deletion
from django.db import migrations, models

import synapscale.common.models


class Migration(migrations.Migration):
    dependencies = [
        ("llm", "0002_price_guards"),
    ]

    operations = [
        migrations.CreateModel(
            name="ProviderConnection",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=synapscale.common.models.new_id, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "slug",
                    models.SlugField(
                        help_text="Short name; part of its models' names, for good.", max_length=40, unique=True
                    ),
                ),
                ("name", models.CharField(max_length=100)),
                (
                    "base_url",
                    models.URLField(help_text="Up to and with the version, like https://host/v1.", max_length=300),
                ),
                (
                    "allows_private_addresses",
                    models.BooleanField(
                        default=False,
                        help_text="The host may be in a private network, and may speak plain HTTP there. Link-local and metadata addresses stay forbidden.",
                    ),
                ),
                ("ciphertext", models.BinaryField(null=True)),
                ("key_id", models.CharField(blank=True, editable=False, max_length=50)),
                (
                    "hint",
                    models.CharField(
                        blank=True, editable=False, help_text="The key's last four characters.", max_length=8
                    ),
                ),
                ("is_active", models.BooleanField(default=True)),
                ("updated_at", models.DateTimeField(auto_now=True)),
            ],
            options={
                "db_table": "provider_connections",
                "ordering": ["slug"],
            },
        ),
        migrations.AlterField(
            model_name="llm",
            name="provider",
            field=models.CharField(
                choices=[
                    ("openai", "OpenAI"),
                    ("anthropic", "Anthropic"),
                    ("google", "Google"),
                    ("grok", "xAI Grok"),
                    ("deepseek", "DeepSeek"),
                    ("llama", "Meta Llama"),
                    ("private", "Private host"),
                    ("demo", "Demo (offline)"),
                ],
                max_length=20,
            ),
        ),
        migrations.AddField(
            model_name="llm",
            name="connection",
            field=models.ForeignKey(
                blank=True,
                db_index=False,
                help_text="The private host that serves it.",
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="llms",
                to="llm.providerconnection",
            ),
        ),
        migrations.AddConstraint(
            model_name="llm",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("connection__isnull", False), ("provider", "private")),
                    models.Q(models.Q(("provider", "private"), _negated=True), ("connection__isnull", True)),
                    _connector="OR",
                ),
                name="llms_private_has_connection",
            ),
        ),
    ]
