"""What calls used and cost: one row for each, and the sums per conversation and model."""

from __future__ import annotations

from typing import Self

from django.db import models
from django.db.models import F, Q
from django.db.models.lookups import GreaterThan
from django.utils.translation import gettext_lazy as _

from billing.models import BillingEvent, Hold
from conversations.models.chats import Agent, Conversation, Message
from llm.models import LLM, LLMPrice
from synapscale.common.models import TenantFK, TenantModel
from synapscale.common.money import UsdField
from workspaces.models import AccessToken, User

LONG_PROMPT = 100_000
"""Calls whose prompt has more tokens are in ``usage_logs_priced_apart``: most rates for long prompts begin at 128,000."""


class UsageLogQuerySet(models.QuerySet["UsageLog"]):
    def of(self, message: Message) -> Self:
        """The attempts at answering ``message``, in order, with their models."""
        rows = self.filter(workspace_id=message.workspace_id, message=message)
        return rows.select_related("llm").order_by("attempt")


class UsageLog(TenantModel):
    """One provider call: tokens, price, cost, timing. Append-only; corrections are billing events."""

    class Status(models.TextChoices):
        SUCCESS = "success", _("Success")
        ERROR = "error", _("Error")
        INTERRUPTED = "interrupted", _("Interrupted")
        LOST = "lost", _("Lost")

    class KeySource(models.TextChoices):
        USER = "user", _("The user's own key")
        WORKSPACE = "workspace", _("The workspace's key")
        GLOBAL = "global", _("The house's key")

    message = TenantFK(Message, related_name="usage_logs")
    attempt = models.PositiveSmallIntegerField(default=1)
    user = models.ForeignKey(User, on_delete=models.PROTECT, related_name="usage_logs", db_index=False)
    access_token = models.ForeignKey(
        AccessToken, null=True, on_delete=models.PROTECT, related_name="usage_logs", db_index=False
    )
    conversation = TenantFK(Conversation, related_name="usage_logs")
    agent = TenantFK(Agent, null=True, related_name="usage_logs", help_text=_("Who answered, as it was then."))
    llm = models.ForeignKey(LLM, on_delete=models.PROTECT, related_name="usage_logs", db_index=False)
    price = models.ForeignKey(LLMPrice, on_delete=models.PROTECT, related_name="usage_logs", db_index=False)
    priced_at = models.DateTimeField()
    hold = TenantFK(Hold, null=True, related_name="usage_logs")
    billing_event = TenantFK(BillingEvent, null=True, related_name="usage_logs")
    input_tokens = models.PositiveBigIntegerField(default=0)
    cached_input_tokens = models.PositiveBigIntegerField(default=0)
    cache_write_5m_tokens = models.PositiveBigIntegerField(default=0)
    cache_write_1h_tokens = models.PositiveBigIntegerField(default=0)
    output_tokens = models.PositiveBigIntegerField(default=0)
    reasoning_tokens = models.PositiveBigIntegerField(default=0)
    total_tokens = models.PositiveBigIntegerField(default=0)
    cost_usd = UsdField(default=0, help_text=_("What the provider costs."))
    charged_usd = UsdField(default=0, help_text=_("What the wallet paid."))
    markup_bps = models.PositiveIntegerField(default=0)
    latency_ms = models.PositiveIntegerField(null=True)
    time_to_first_token_ms = models.PositiveIntegerField(null=True)
    api_status_code = models.PositiveSmallIntegerField(null=True)
    user_api_key_used = models.BooleanField(default=False, help_text=_("Whether the call ran on the user's own key."))
    key_source = models.CharField(max_length=10, choices=KeySource)
    model_settings = models.JSONField(default=dict, blank=True)
    status = models.CharField(max_length=12, choices=Status)
    error_code = models.CharField(max_length=60, blank=True)
    error_message = models.CharField(max_length=500, blank=True)
    is_estimate = models.BooleanField(default=False, help_text=_("Tokens were estimated: the provider reported none."))
    provider_request_id = models.CharField(max_length=200, blank=True)

    objects = UsageLogQuerySet.as_manager()

    class Meta:
        db_table = "usage_logs"
        constraints = [
            *TenantModel.Meta.constraints,
            models.UniqueConstraint(fields=["workspace", "message", "attempt"], name="usage_logs_once_per_attempt"),
            models.CheckConstraint(
                condition=Q(charged_usd=0, billing_event__isnull=True)
                | Q(charged_usd__gt=0, billing_event__isnull=False),
                name="usage_logs_charge_has_event",
            ),
            models.CheckConstraint(condition=Q(cost_usd__gte=0), name="usage_logs_cost_not_negative"),
            models.UniqueConstraint(fields=["workspace", "billing_event"], name="usage_logs_event_once"),
        ]
        indexes = [
            models.Index(fields=["workspace", "-created_at", "-id"], name="usage_logs_by_time"),
            models.Index(fields=["workspace", "conversation", "-created_at"], name="usage_logs_by_conversation"),
            models.Index(fields=["workspace", "user", "-created_at"], name="usage_logs_by_user"),
            models.Index(fields=["workspace", "llm", "-created_at"], name="usage_logs_by_llm"),
            models.Index(fields=["workspace", "access_token", "-created_at"], name="usage_logs_by_token"),
            # For operators, who look at all workspaces at once: no tenant's query may use it.
            models.Index(fields=["created_at"], name="usage_logs_by_moment"),
            # And who filter by what is rare; costs a call that went well on the house's key nothing.
            models.Index(
                fields=["id", "status", "key_source", "is_estimate"],
                condition=~Q(status="success") | ~Q(key_source="global") | Q(is_estimate=True),
                name="usage_logs_unusual",
            ),
            # And who ask what calls would cost at another price: those of which the sums don't tell it (analytics.repricing).
            models.Index(
                fields=["workspace", "llm", "-created_at"],
                condition=Q(cache_write_1h_tokens__gt=0)
                | Q(status__in=["error", "lost"], total_tokens__gt=0)
                | Q(
                    GreaterThan(
                        F("input_tokens")
                        + F("cached_input_tokens")
                        + F("cache_write_5m_tokens")
                        + F("cache_write_1h_tokens"),
                        LONG_PROMPT,
                    )
                ),
                name="usage_logs_priced_apart",
            ),
            models.Index(
                fields=["provider_request_id"],
                condition=~Q(provider_request_id=""),
                name="usage_logs_by_request",
            ),
        ]

    def __str__(self) -> str:
        return _("%(status)s: %(tokens)s tokens") % {"status": self.get_status_display(), "tokens": self.total_tokens}


class ConversationLLM(TenantModel):
    """What one model did in one conversation; derived from UsageLog, updated in the same transaction."""

    conversation = TenantFK(Conversation, related_name="conversation_llms")
    llm = models.ForeignKey(LLM, on_delete=models.PROTECT, related_name="conversation_llms", db_index=False)
    first_used_at = models.DateTimeField()
    last_used_at = models.DateTimeField()
    message_count = models.PositiveIntegerField(default=0)
    input_tokens = models.PositiveBigIntegerField(default=0)
    output_tokens = models.PositiveBigIntegerField(default=0)
    total_cost = UsdField(default=0, help_text=_("What the wallet paid, in USD."))

    class Meta:
        db_table = "conversation_llms"
        constraints = [
            *TenantModel.Meta.constraints,
            models.UniqueConstraint(fields=["workspace", "conversation", "llm"], name="conversation_llms_once"),
        ]

    def __str__(self) -> str:
        return _("%(llm)s in %(conversation)s") % {"llm": self.llm_id, "conversation": self.conversation_id}
