"""What analytics owns: sums of calls, and alerts with the rules that fire them and the outbox that tells of them."""

from analytics.models.alerts import Alert, AlertRule, Severity, Subject
from analytics.models.delivery import AlertDelivery, AlertEvent, WebhookEndpoint
from analytics.models.sums import (
    FleetHour,
    FleetLatencyDay,
    FleetModel,
    LatencyDay,
    RollupState,
    Sums,
    UsageDay,
    UsageHour,
    UsageTail,
    UserDay,
)

__all__ = [
    "Alert",
    "AlertDelivery",
    "AlertEvent",
    "AlertRule",
    "FleetHour",
    "FleetLatencyDay",
    "FleetModel",
    "LatencyDay",
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
