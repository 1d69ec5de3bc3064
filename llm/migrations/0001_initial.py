from decimal import Decimal

import django.db.models.deletion
from django.db import migrations, models

import synapscale.common.models
import synapscale.common.money


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="LLM",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=synapscale.common.models.new_id, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "provider",
                    models.CharField(
                        choices=[
                            ("openai", "OpenAI"),
                            ("anthropic", "Anthropic"),
                            ("google", "Google"),
                            ("grok", "xAI Grok"),
                            ("deepseek", "DeepSeek"),
                            ("llama", "Meta Llama"),
                            ("demo", "Demo (offline)"),
                        ],
                        max_length=20,
                    ),
                ),
                (
                    "name",
                    models.CharField(
                        help_text="The provider's own id of the model, sent with every call.", max_length=200
                    ),
                ),
                ("display_name", models.CharField(max_length=200)),
                ("version", models.CharField(blank=True, max_length=100)),
                ("context_window", models.PositiveIntegerField(help_text="Tokens of prompt and answer together.")),
                (
                    "max_output_tokens",
                    models.PositiveIntegerField(help_text="The longest answer, reasoning included, in tokens."),
                ),
                ("supports_streaming", models.BooleanField(default=True)),
                ("supports_function_calling", models.BooleanField(default=False)),
                ("supports_vision", models.BooleanField(default=False)),
                (
                    "supports_structured_output",
                    models.BooleanField(default=False, help_text="Answers can be held to a JSON schema."),
                ),
                ("supports_reasoning", models.BooleanField(default=False)),
                ("supports_prompt_caching", models.BooleanField(default=False)),
                ("is_active", models.BooleanField(default=True)),
                ("metadata", models.JSONField(blank=True, default=dict)),
            ],
            options={
                "verbose_name": "LLM",
                "db_table": "llms",
                "ordering": ["provider", "name"],
                "constraints": [
                    models.UniqueConstraint(fields=("provider", "name"), name="llms_provider_name"),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("max_output_tokens__gte", 1), ("max_output_tokens__lte", models.F("context_window"))
                        ),
                        name="llms_output_fits_context",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="LLMPrice",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=synapscale.common.models.new_id, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("effective_from", models.DateTimeField()),
                (
                    "effective_to",
                    models.DateTimeField(blank=True, help_text="Exclusive; empty while the price is open.", null=True),
                ),
                ("input_usd_per_mtok", synapscale.common.money.RateField(decimal_places=6)),
                (
                    "cached_input_usd_per_mtok",
                    synapscale.common.money.RateField(
                        blank=True, decimal_places=6, help_text="Empty: billed as input.", null=True
                    ),
                ),
                (
                    "cache_write_5m_usd_per_mtok",
                    synapscale.common.money.RateField(
                        blank=True, decimal_places=6, help_text="Empty: billed as input.", null=True
                    ),
                ),
                (
                    "cache_write_1h_usd_per_mtok",
                    synapscale.common.money.RateField(
                        blank=True, decimal_places=6, help_text="Empty: billed as a 5-minute write.", null=True
                    ),
                ),
                (
                    "output_usd_per_mtok",
                    synapscale.common.money.RateField(decimal_places=6, help_text="Reasoning included."),
                ),
                (
                    "request_fee_usd",
                    synapscale.common.money.UsdField(
                        decimal_places=12, default=Decimal("0"), help_text="Per call, on top of the tokens."
                    ),
                ),
                (
                    "tiers",
                    models.JSONField(
                        blank=True,
                        default=list,
                        help_text='Long prompts: [{"above_input_tokens": 200000, "input": "4", "output": "18"}]. The highest one exceeded replaces all rates, for every token; it prices the same kinds of token as the base price.',
                    ),
                ),
                (
                    "windows",
                    models.JSONField(
                        blank=True,
                        default=list,
                        help_text='Times of day in UTC: [{"start": "01:00", "end": "04:00", "input": "1.32", "output": "3.96"}]. End exclusive, may cross midnight; the last that applies wins. Not together with tiers.',
                    ),
                ),
                ("source", models.TextField(blank=True, help_text="Where the figures come from.")),
                (
                    "llm",
                    models.ForeignKey(
                        db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name="prices", to="llm.llm"
                    ),
                ),
            ],
            options={
                "verbose_name": "LLM price",
                "db_table": "llm_prices",
                "ordering": ["llm", "effective_from"],
                "constraints": [
                    models.UniqueConstraint(fields=("llm", "effective_from"), name="llm_prices_llm_effective_from"),
                    models.UniqueConstraint(
                        condition=models.Q(("effective_to", None)), fields=("llm",), name="llm_prices_one_open"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("effective_to", None), ("effective_to__gt", models.F("effective_from")), _connector="OR"
                        ),
                        name="llm_prices_period",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("input_usd_per_mtok__gte", 0),
                            ("output_usd_per_mtok__gte", 0),
                            ("request_fee_usd__gte", 0),
                            models.Q(
                                ("cached_input_usd_per_mtok", None),
                                ("cached_input_usd_per_mtok__gte", 0),
                                _connector="OR",
                            ),
                            models.Q(
                                ("cache_write_5m_usd_per_mtok", None),
                                ("cache_write_5m_usd_per_mtok__gte", 0),
                                _connector="OR",
                            ),
                            models.Q(
                                ("cache_write_1h_usd_per_mtok", None),
                                ("cache_write_1h_usd_per_mtok__gte", 0),
                                _connector="OR",
                            ),
                        ),
                        name="llm_prices_not_negative",
                    ),
                ],
            },
        ),
    ]
