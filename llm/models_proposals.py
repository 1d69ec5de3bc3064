"""Prices that a comparison proposes, and what was decided about them."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from llm import pricing
from llm.models import LLM, RATE_FIELDS, LLMPrice
from synapscale.common.models import BaseModel
from workspaces.models import User


class State(models.TextChoices):
    OPEN = "open", _("Waiting")
    APPROVED = "approved", _("Approved")
    REJECTED = "rejected", _("Rejected")
    SUPERSEDED = "superseded", _("Superseded")


class PriceProposal(BaseModel):
    """Another price for a model, found where vendors' prices are listed. Nothing costs anything else until it is approved.

    Decided once. One that was rejected is remembered: the same price is not proposed again.
    """

    llm = models.ForeignKey(LLM, on_delete=models.PROTECT, related_name="price_proposals", db_index=False)
    effective_from = models.DateTimeField(null=True, blank=True, help_text=_("Empty: from its approval on."))
    rates = models.JSONField(help_text=_("USD per million tokens."))
    tiers = models.JSONField(default=list, blank=True)
    windows = models.JSONField(default=list, blank=True)
    differences = models.JSONField(default=list, blank=True, help_text=_("From the price when it was proposed."))
    largest_change_percent = models.DecimalField(
        max_digits=7, decimal_places=1, null=True, blank=True, help_text=_("Empty: a rate that was nothing before.")
    )
    source = models.CharField(max_length=300)
    state = models.CharField(max_length=10, choices=State, default=State.OPEN)
    decided_by = models.ForeignKey(
        User,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="price_proposals",
        db_index=False,
        help_text=_("Empty where no person decided."),
    )
    decided_at = models.DateTimeField(null=True, blank=True)
    reason = models.TextField(blank=True)
    price = models.ForeignKey(
        LLMPrice,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="proposals",
        db_index=False,
        help_text=_("The one that was stored on its approval."),
    )

    class Meta:
        db_table = "price_proposals"
        verbose_name = _("price proposal")
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["llm"], condition=Q(state="open"), name="price_proposals_one_open"),
            models.CheckConstraint(
                condition=Q(state="open", decided_at=None, price=None)
                | Q(state="approved", decided_at__isnull=False, price__isnull=False)
                | Q(state__in=["rejected", "superseded"], decided_at__isnull=False, price=None),
                name="price_proposals_decided",
            ),
        ]
        indexes = [models.Index(fields=["llm", "-id"], name="price_proposals_by_llm")]

    def __str__(self) -> str:
        return f"{self.llm}, {self.source}"

    @property
    def is_open(self) -> bool:
        return self.state == State.OPEN

    def fields(self, current: LLMPrice | None) -> dict[str, Any]:
        """The columns of the price that it becomes. The fee per call is ours, and stays as in ``current``."""
        return {
            **{column: self.rates.get(kind) for kind, column in RATE_FIELDS.items()},
            "tiers": self.tiers,
            "windows": self.windows,
            "source": self.source,
            **({} if current is None else {"request_fee_usd": current.request_fee_usd}),
        }

    def table(self, current: LLMPrice | None) -> pricing.PriceTable:
        """For the arithmetic."""
        return LLMPrice(llm_id=self.llm_id, **self.fields(current)).table
