"""Sums of calls, kept so that figures over months are read in milliseconds, and the calls that are in none of them yet.

Every call is in exactly one place: in all sums that it belongs to, or in the tail. A figure is what the sums say plus the
calls of the tail, read in one statement, so it is exact to the last call, whenever the sums were brought up to date.
"""

from __future__ import annotations

from django.db import models

from conversations.models import UsageLog
from llm.models import LLM
from synapscale.common.models import BaseModel, TenantFK, TenantModel
from synapscale.common.money import UsdField
from workspaces.models import User


class UsageTail(TenantModel):
    """A call that the sums don't know yet; written in the transaction that meters it, deleted in the one that adds it."""

    usage_log = TenantFK(UsageLog, related_name="tail")

    class Meta:
        db_table = "usage_tail"
        constraints = [
            *TenantModel.Meta.constraints,
            models.UniqueConstraint(fields=["workspace", "usage_log"], name="usage_tail_once"),
        ]

    def __str__(self) -> str:
        return f"Call {self.usage_log_id}, not summed yet"


class Sums(models.Model):
    """What is added up of calls; ``analytics.measures`` says what each of them is."""

    calls = models.PositiveBigIntegerField()
    messages = models.PositiveBigIntegerField()
    input_tokens = models.PositiveBigIntegerField()
    cached_input_tokens = models.PositiveBigIntegerField()
    cache_write_tokens = models.PositiveBigIntegerField()
    output_tokens = models.PositiveBigIntegerField()
    reasoning_tokens = models.PositiveBigIntegerField()
    total_tokens = models.PositiveBigIntegerField()
    charged_usd = UsdField()
    cost_usd = UsdField()
    timed_calls = models.PositiveBigIntegerField()
    latency_ms = models.PositiveBigIntegerField()
    timed_output_tokens = models.PositiveBigIntegerField()
    first_token_calls = models.PositiveBigIntegerField()
    first_token_ms = models.PositiveBigIntegerField()

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"Sums of {self.calls} calls"


class UsageHour(TenantModel, Sums):
    """An hour (UTC) of a workspace by model, key and status."""

    hour = models.DateTimeField()
    llm = models.ForeignKey(LLM, on_delete=models.PROTECT, related_name="+", db_index=False)
    key_source = models.CharField(max_length=10, choices=UsageLog.KeySource)
    status = models.CharField(max_length=12, choices=UsageLog.Status)

    class Meta:
        db_table = "usage_hours"
        constraints = [
            *TenantModel.Meta.constraints,
            models.UniqueConstraint(
                fields=["workspace", "hour", "llm", "key_source", "status"], name="usage_hours_once"
            ),
        ]


class UserDay(TenantModel, Sums):
    """A day (UTC) of a workspace by user, key and status."""

    day = models.DateTimeField(help_text="Its midnight, UTC.")
    user = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+", db_index=False)
    key_source = models.CharField(max_length=10, choices=UsageLog.KeySource)
    status = models.CharField(max_length=12, choices=UsageLog.Status)

    class Meta:
        db_table = "user_days"
        constraints = [
            *TenantModel.Meta.constraints,
            models.UniqueConstraint(fields=["workspace", "day", "user", "key_source", "status"], name="user_days_once"),
        ]


class AgentHour(TenantModel, Sums):
    """An hour (UTC) of a workspace by agent, key and status."""

    hour = models.DateTimeField()
    agent_key = models.UUIDField(help_text="The agent's id; all zeros for calls without one.")
    key_source = models.CharField(max_length=10, choices=UsageLog.KeySource)
    status = models.CharField(max_length=12, choices=UsageLog.Status)

    class Meta:
        db_table = "agent_hours"
        constraints = [
            *TenantModel.Meta.constraints,
            models.UniqueConstraint(
                fields=["workspace", "hour", "agent_key", "key_source", "status"], name="agent_hours_once"
            ),
        ]


class UsageDay(TenantModel, Sums):
    """A day (UTC) of a workspace by model, key and status: for figures of many workspaces."""

    day = models.DateTimeField(help_text="Its midnight, UTC.")
    llm = models.ForeignKey(LLM, on_delete=models.PROTECT, related_name="+", db_index=False)
    key_source = models.CharField(max_length=10, choices=UsageLog.KeySource)
    status = models.CharField(max_length=12, choices=UsageLog.Status)

    class Meta:
        db_table = "usage_days"
        constraints = [
            *TenantModel.Meta.constraints,
            models.UniqueConstraint(fields=["workspace", "day", "llm", "key_source", "status"], name="usage_days_once"),
        ]


class LatencyDay(TenantModel):
    """How many answers of a model came within a step of ``analytics.latency``, on a day (UTC) of a workspace."""

    day = models.DateTimeField(help_text="Its midnight, UTC.")
    llm = models.ForeignKey(LLM, on_delete=models.PROTECT, related_name="+", db_index=False)
    step = models.PositiveSmallIntegerField()
    calls = models.PositiveBigIntegerField()

    class Meta:
        db_table = "latency_days"
        constraints = [
            *TenantModel.Meta.constraints,
            models.UniqueConstraint(fields=["workspace", "day", "llm", "step"], name="latency_days_once"),
        ]

    def __str__(self) -> str:
        return f"{self.calls} calls in step {self.step}"


class FleetHour(BaseModel, Sums):
    """An hour (UTC) of all workspaces by model, key and status, for operators. It is on no tenant's shard."""

    hour = models.DateTimeField()
    llm = models.ForeignKey(LLM, on_delete=models.PROTECT, related_name="+", db_index=False)
    key_source = models.CharField(max_length=10, choices=UsageLog.KeySource)
    status = models.CharField(max_length=12, choices=UsageLog.Status)

    class Meta:
        db_table = "fleet_hours"
        constraints = [
            models.UniqueConstraint(fields=["hour", "llm", "key_source", "status"], name="fleet_hours_once"),
        ]


class FleetLatencyDay(BaseModel):
    """How many answers of a model came within a step of ``analytics.latency``, on a day (UTC) of all workspaces."""

    day = models.DateTimeField(help_text="Its midnight, UTC.")
    llm = models.ForeignKey(LLM, on_delete=models.PROTECT, related_name="+", db_index=False)
    step = models.PositiveSmallIntegerField()
    calls = models.PositiveBigIntegerField()

    class Meta:
        db_table = "fleet_latency_days"
        constraints = [
            models.UniqueConstraint(fields=["day", "llm", "step"], name="fleet_latency_days_once"),
        ]

    def __str__(self) -> str:
        return f"{self.calls} calls in step {self.step}"


class HealthState(models.Model):
    """The status of a part of the system, and since when it has it."""

    class Status(models.TextChoices):
        OK = "ok", "OK"
        DEGRADED = "degraded", "Degraded"
        DOWN = "down", "Down"

    name = models.CharField(max_length=40, primary_key=True)
    status = models.CharField(max_length=10, choices=Status)
    since = models.DateTimeField()

    class Meta:
        db_table = "health_states"

    def __str__(self) -> str:
        return f"{self.name}: {self.status} since {self.since}"


class RollupState(models.Model):
    """One row: how far the sums are, and the lock of whoever brings them up to date."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1, editable=False)
    rolled_up_at = models.DateTimeField(null=True, help_text="When the tail was last found empty or emptied.")
    rebuilt_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "rollup_state"
        constraints = [models.CheckConstraint(condition=models.Q(id=1), name="rollup_state_one_row")]

    def __str__(self) -> str:
        return f"Sums as of {self.rolled_up_at}"


# Tables of this app, in files of their own.
from analytics.models_alerts import Alert, AlertRule, Severity, Subject  # noqa: E402
from analytics.models_delivery import AlertDelivery, AlertEvent, WebhookEndpoint  # noqa: E402
from analytics.models_reports import Report, ReportMail, ReportRun  # noqa: E402

__all__ = [
    "AgentHour",
    "Alert",
    "AlertDelivery",
    "AlertEvent",
    "AlertRule",
    "FleetHour",
    "FleetLatencyDay",
    "HealthState",
    "LatencyDay",
    "Report",
    "ReportMail",
    "ReportRun",
    "RollupState",
    "Severity",
    "Subject",
    "Sums",
    "UsageDay",
    "UsageHour",
    "UsageTail",
    "UserDay",
    "WebhookEndpoint",
]
