"""Back office: what of the figures is looked at there."""

from analytics.alert_admin import AlertAdmin, AlertDeliveryAdmin, AlertRuleAdmin, WebhookEndpointAdmin

__all__ = ["AlertAdmin", "AlertDeliveryAdmin", "AlertRuleAdmin", "WebhookEndpointAdmin"]
