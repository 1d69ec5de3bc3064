"""The models that can be called, and what they cost: every price dated, written once, never edited."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from typing import Any, Self

from django.core.exceptions import ValidationError
from django.db import models, transaction
from django.db.models import F, Q
from django.utils import timezone
from django.utils.translation import gettext, gettext_noop
from django.utils.translation import gettext_lazy as _

from llm import images, pricing
from llm.types import Usage
from synapscale.common.models import BaseModel
from synapscale.common.moments import moment
from synapscale.common.money import RateField, UsdField
from workspaces.models import AccessToken, Workspace

RATE_FIELDS = {
    "input": "input_usd_per_mtok",
    "cached_input": "cached_input_usd_per_mtok",
    "cache_write_5m": "cache_write_5m_usd_per_mtok",
    "cache_write_1h": "cache_write_1h_usd_per_mtok",
    "output": "output_usd_per_mtok",
}
"""The kinds of token and the field that holds the price of each."""


class ProviderName(models.TextChoices):
    OPENAI = "openai", _("OpenAI")
    ANTHROPIC = "anthropic", _("Anthropic")
    GOOGLE = "google", _("Google")
    GROK = "grok", _("xAI Grok")
    DEEPSEEK = "deepseek", _("DeepSeek")
    LLAMA = "llama", _("Meta Llama")
    PRIVATE = "private", _("Private host")
    DEMO = "demo", _("Demo (offline)")


class LLMQuerySet(models.QuerySet["LLM"]):
    def active(self) -> Self:
        return self.filter(is_active=True)

    def callable_in(self, workspace: Workspace, *, access_token: AccessToken | None = None) -> Self:
        """The active models that the rules of ``workspace``, and of the token, allow."""
        rows = self.active().filter(Q(connection=None) | Q(connection__is_active=True))
        for names in (workspace.allowed_models, access_token.allowed_models if access_token else []):
            if names:
                allowed = Q(pk__in=[])
                for provider, _, name in (full.partition("/") for full in names):
                    allowed |= Q(provider=provider, name=name)
                rows = rows.filter(allowed)
        return rows

    def unknown_names(self, names: Iterable[str]) -> list[str]:
        """Those of ``names``, each “provider/name”, that no LLM has. One query."""
        known = {f"{provider}/{name}" for provider, name in self.values_list("provider", "name")}
        return [name for name in names if name not in known]

    def cheapest(self, *, provider: str = "") -> LLM | None:
        """The active LLM, of ``provider`` or else of any but the demo, with the lowest input plus output base rate now;
        ties go by name. One query.

        None when no active LLM has a price. Base rates: what a short prompt costs outside any daily window.
        """
        candidates = self.filter(provider=provider) if provider else self.exclude(provider=ProviderName.DEMO)
        current = LLMPrice.objects.filter(llm=models.OuterRef("pk")).valid_at(timezone.now())
        total = models.ExpressionWrapper(
            F("input_usd_per_mtok") + F("output_usd_per_mtok"), output_field=models.BigIntegerField()
        )
        return (
            candidates.active()
            .annotate(base_rate=models.Subquery(current.annotate(total=total).values("total")[:1]))
            .filter(base_rate__isnull=False)
            .order_by("base_rate", "name", "provider")
            .first()
        )


class LLMManager(models.Manager.from_queryset(LLMQuerySet)):  # type: ignore[misc]
    def get_by_natural_key(self, provider: str, name: str) -> LLM:
        llm: LLM = self.get(provider=provider, name=name)
        return llm


class ProviderConnection(BaseModel):
    """A host that speaks OpenAI's protocol and that an operator allowed: its models are called ``private/<slug>/<id>``."""

    slug = models.SlugField(max_length=40, unique=True, help_text=_("Short name; part of its models' names, for good."))
    name = models.CharField(max_length=100)
    base_url = models.URLField(max_length=300, help_text=_("Up to and with the version, like https://host/v1."))
    allows_private_addresses = models.BooleanField(
        default=False,
        help_text=_(
            "The host may be in a private network, and may speak plain HTTP there. Link-local and metadata "
            "addresses stay forbidden."
        ),
    )
    ciphertext = models.BinaryField(null=True, editable=False)
    key_id = models.CharField(max_length=50, blank=True, editable=False)
    hint = models.CharField(max_length=8, blank=True, editable=False, help_text=_("The key's last four characters."))
    is_active = models.BooleanField(default=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        db_table = "provider_connections"
        ordering = ["slug"]

    def __str__(self) -> str:
        return self.slug


class LLM(BaseModel):
    """A model of a provider that conversations can use."""

    provider = models.CharField(max_length=20, choices=ProviderName.choices)
    name = models.CharField(max_length=200, help_text=_("The provider's own id of the model, sent with every call."))
    connection = models.ForeignKey(
        ProviderConnection,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="llms",
        db_index=False,
        help_text=_("The private host that serves it."),
    )
    display_name = models.CharField(max_length=200)
    version = models.CharField(max_length=100, blank=True)
    context_window = models.PositiveIntegerField(help_text=_("Tokens of prompt and answer together."))
    max_output_tokens = models.PositiveIntegerField(help_text=_("The longest answer, reasoning included, in tokens."))
    supports_streaming = models.BooleanField(default=True)
    supports_function_calling = models.BooleanField(default=False)
    supports_vision = models.BooleanField(default=False)
    supports_structured_output = models.BooleanField(
        default=False, help_text=_("Answers can be held to a JSON schema.")
    )
    supports_reasoning = models.BooleanField(default=False)
    supports_prompt_caching = models.BooleanField(default=False)
    is_active = models.BooleanField(default=True)
    metadata = models.JSONField(default=dict, blank=True)

    objects = LLMManager()

    class Meta:
        db_table = "llms"
        verbose_name = _("LLM")
        ordering = ["provider", "name"]
        constraints = [
            models.UniqueConstraint(fields=["provider", "name"], name="llms_provider_name"),
            models.CheckConstraint(
                condition=Q(max_output_tokens__gte=1, max_output_tokens__lte=F("context_window")),
                name="llms_output_fits_context",
            ),
            models.CheckConstraint(
                condition=Q(provider=ProviderName.PRIVATE, connection__isnull=False)
                | (~Q(provider=ProviderName.PRIVATE) & Q(connection__isnull=True)),
                name="llms_private_has_connection",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.provider}/{self.name}"

    def clean(self) -> None:
        super().clean()
        if self.supports_vision and not images.knows(self.provider):
            raise ValidationError({"supports_vision": _("What an image costs at this provider is not known.")})

    def natural_key(self) -> tuple[str, str]:
        return (self.provider, self.name)

    @property
    def upstream_name(self) -> str:
        """The model's id as its host knows it."""
        return self.name.partition("/")[2] if self.connection_id else self.name

    @property
    def takes_images(self) -> bool:
        """Whether it may be sent images: it sees them, and what one of them costs is known."""
        return self.supports_vision and images.knows(self.provider)

    def price_at(self, at: datetime) -> LLMPrice:
        """The price valid at ``at`` (aware). Raises ``pricing.NoPrice`` when there is none."""
        price: LLMPrice | None = self.prices.valid_at(at).first()
        if price is None:
            raise pricing.NoPrice(f"{self} has no price at {at.isoformat()}.")
        return price

    def cost_of(self, usage: Usage, *, at: datetime | None = None) -> Decimal:
        """The exact cost of ``usage`` in USD at the price valid at ``at`` (now, when left out).

        Raises ``pricing.NoPrice`` when no price is valid then: a cost is never guessed.
        """
        at = at or timezone.now()
        return self.price_at(at).cost_of(usage, at=at)


class LLMPriceQuerySet(models.QuerySet["LLMPrice"]):
    def valid_at(self, at: datetime) -> Self:
        """Prices valid at ``at``, the latest first: where two cover the same moment, the later one has superseded."""
        return self.filter(Q(effective_to=None) | Q(effective_to__gt=at), effective_from__lte=at).order_by(
            "-effective_from"
        )

    def by_llm(self, at: datetime) -> dict[uuid.UUID, LLMPrice]:
        """The price of each LLM at ``at``, where it has one. One query."""
        # Oldest first, so that of two that cover this moment the later one stays.
        return {price.llm_id: price for price in self.valid_at(at).order_by("effective_from")}


class LLMPriceManager(models.Manager.from_queryset(LLMPriceQuerySet)):  # type: ignore[misc]
    def get_by_natural_key(self, provider: str, name: str, effective_from: str) -> LLMPrice:
        price: LLMPrice = self.get(llm__provider=provider, llm__name=name, effective_from=effective_from)
        return price


class PriceConflict(ValueError):
    """A price can't be stored as asked: it would change one that is already written."""


class LLMPrice(BaseModel):
    """What an LLM costs from ``effective_from`` up to, not including, ``effective_to``. USD per million tokens.

    Written once: usage rows point at the price they were charged by, so only closing an open price changes a row
    (triggers hold that in the database too). A change is a new row: ``LLMPrice.supersede``.
    """

    llm = models.ForeignKey(LLM, on_delete=models.PROTECT, related_name="prices", db_index=False)
    effective_from = models.DateTimeField()
    effective_to = models.DateTimeField(null=True, blank=True, help_text=_("Exclusive; empty while the price is open."))
    input_usd_per_mtok = RateField()
    cached_input_usd_per_mtok = RateField(null=True, blank=True, help_text=_("Empty: billed as input."))
    cache_write_5m_usd_per_mtok = RateField(null=True, blank=True, help_text=_("Empty: billed as input."))
    cache_write_1h_usd_per_mtok = RateField(null=True, blank=True, help_text=_("Empty: billed as a 5-minute write."))
    output_usd_per_mtok = RateField(help_text=_("Reasoning included."))
    request_fee_usd = UsdField(default=Decimal(0), help_text=_("Per call, on top of the tokens."))
    tiers = models.JSONField(
        default=list,
        blank=True,
        help_text=_(
            'Long prompts: [{"above_input_tokens": 200000, "input": "4", "output": "18"}]. The highest one '
            "exceeded replaces all rates, for every token; it prices the same kinds of token as the base price."
        ),
    )
    windows = models.JSONField(
        default=list,
        blank=True,
        help_text=_(
            'Times of day in UTC: [{"start": "01:00", "end": "04:00", "input": "1.32", "output": "3.96"}]. End '
            "exclusive, may cross midnight; the last that applies wins. Not together with tiers."
        ),
    )
    source = models.TextField(blank=True, help_text=_("Where the figures come from."))

    objects = LLMPriceManager()

    class Meta:
        db_table = "llm_prices"
        verbose_name = _("LLM price")
        ordering = ["llm", "effective_from"]
        permissions = [("approve_price", gettext_noop(gettext_noop("Can approve and reject proposed prices")))]
        constraints = [
            models.UniqueConstraint(fields=["llm", "effective_from"], name="llm_prices_llm_effective_from"),
            models.UniqueConstraint(fields=["llm"], condition=Q(effective_to=None), name="llm_prices_one_open"),
            models.CheckConstraint(
                condition=Q(effective_to=None) | Q(effective_to__gt=F("effective_from")), name="llm_prices_period"
            ),
            models.CheckConstraint(
                condition=Q(input_usd_per_mtok__gte=0, output_usd_per_mtok__gte=0, request_fee_usd__gte=0)
                & (Q(cached_input_usd_per_mtok=None) | Q(cached_input_usd_per_mtok__gte=0))
                & (Q(cache_write_5m_usd_per_mtok=None) | Q(cache_write_5m_usd_per_mtok__gte=0))
                & (Q(cache_write_1h_usd_per_mtok=None) | Q(cache_write_1h_usd_per_mtok__gte=0)),
                name="llm_prices_not_negative",
            ),
        ]

    def __str__(self) -> str:
        return _("%(llm)s from %(time)s") % {"llm": self.llm, "time": moment(self.effective_from)}

    def natural_key(self) -> tuple[str, str, str]:
        return (*self.llm.natural_key(), self.effective_from.isoformat())

    natural_key.dependencies = ["llm.LLM"]  # type: ignore[attr-defined]

    @property
    def table(self) -> pricing.PriceTable:
        """The price as the arithmetic wants it. Raises ValueError for a malformed tier or window."""
        rates = pricing.Rates.per_mtok(**{kind: getattr(self, field) for kind, field in RATE_FIELDS.items()})
        fee = LLMPrice._meta.get_field("request_fee_usd")
        return pricing.PriceTable(
            rates=rates,
            tiers=pricing.parse_tiers(self.tiers),
            windows=pricing.parse_windows(self.windows),
            request_fee=fee.to_scaled(self.request_fee_usd),
        )

    def cost_of(self, usage: Usage, *, at: datetime) -> Decimal:
        """The exact cost of ``usage`` in USD for a call admitted at ``at``, which decides the daily window."""
        return pricing.cost_of(self.table, usage, at=at)

    def clean(self) -> None:
        """Names the field that is wrong: a tier or window of the wrong shape, a negative rate, an empty period."""
        super().clean()
        if self.effective_from and self.effective_to and self.effective_to <= self.effective_from:
            raise ValidationError({"effective_to": _("A price must end after it begins.")})
        # A field that failed its own check is None by now, and its error is told already.
        if None in (self.input_usd_per_mtok, self.output_usd_per_mtok, self.request_fee_usd):
            return
        try:
            self.table  # noqa: B018  reading it is the check
        except pricing.BadPrice as error:
            message = gettext(error.text) % error.values
            if field := {**RATE_FIELDS, "request_fee": "request_fee_usd"}.get(error.where):
                raise ValidationError({field: message}) from None
            raise ValidationError({error.where.partition("[")[0]: f"{error.where}: {message}"}) from None

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Insert, or close an open price. ``PriceConflict`` for any other change, ValidationError for a bad row."""
        if self._state.adding:
            self.clean()
            super().save(*args, **kwargs)
            return
        stored = LLMPrice.objects.get(pk=self.pk)
        names = [field.attname for field in self._meta.concrete_fields]
        changed = [name for name in names if getattr(stored, name) != getattr(self, name)]
        if changed and (changed != ["effective_to"] or stored.effective_to is not None):
            raise PriceConflict(
                _("%(price)s: %(fields)s: written once; supersede the price instead.")
                % {"price": stored, "fields": ", ".join(changed)}
            )
        if changed:  # a form that is saved unchanged is no update
            super().save(update_fields=changed)

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        raise PriceConflict(_("%(price)s: a price is never deleted; supersede it instead.") % {"price": self})

    @classmethod
    def supersede_until_next(cls, *, llm: LLM, effective_from: datetime, **fields: Any) -> LLMPrice:
        """``supersede``, up to the price that is planned for later, where there is one."""
        with transaction.atomic():
            LLM.objects.select_for_update(no_key=True).get(pk=llm.pk)
            following = (
                cls.objects.filter(llm=llm, effective_from__gt=effective_from).order_by("effective_from").first()
            )
            end = following.effective_from if following else None
            return cls.supersede(llm=llm, effective_from=effective_from, effective_to=end, **fields)

    @classmethod
    def supersede(
        cls, *, llm: LLM, effective_from: datetime, effective_to: datetime | None = None, **fields: Any
    ) -> LLMPrice:
        """Store a new price from ``effective_from`` on and close the open one there, in one transaction.

        ``fields`` are the model's: ``input_usd_per_mtok`` and so on. Raises ``PriceConflict`` when a price begins at
        ``effective_from`` or later, unless the new one ends exactly there (``effective_to``), so that no moment is left
        without a price; ValidationError for a bad row.
        """
        with transaction.atomic():
            # Two operators at once: the second waits here and then sees the first one's price.
            LLM.objects.select_for_update(no_key=True).get(pk=llm.pk)
            later = cls.objects.filter(llm=llm, effective_from__gte=effective_from).order_by("effective_from").first()
            if later and (later.effective_from == effective_from or later.effective_from != effective_to):
                begins = later.effective_from.isoformat()
                raise PriceConflict(
                    _("%(llm)s has a price from %(time)s on. A new one must begin later, or end there.")
                    % {"llm": llm, "time": begins}
                )
            if later is None and effective_to is not None:
                raise PriceConflict(
                    _("%(llm)s would have no price from %(time)s on. Leave the end open.")
                    % {"llm": llm, "time": effective_to.isoformat()}
                )
            for open_price in cls.objects.filter(llm=llm, effective_to=None, effective_from__lt=effective_from):
                open_price.effective_to = effective_from
                open_price.save()
            price = cls(llm=llm, effective_from=effective_from, effective_to=effective_to, **fields)
            price.full_clean()
            price.save(force_insert=True)
            return price


# A table of this app, in a file of its own.
from llm.models_proposals import PriceProposal  # noqa: E402

__all__ = [
    "LLM",
    "RATE_FIELDS",
    "LLMPrice",
    "PriceConflict",
    "PriceProposal",
    "ProviderConnection",
    "ProviderName",
]
