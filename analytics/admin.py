"""Back office: what of the figures is looked at there."""

from analytics.alert_admin import AlertAdmin, AlertRuleAdmin
from analytics.delivery_admin import AlertDeliveryAdmin, WebhookEndpointAdmin
from analytics.report_admin import ReportAdmin, ReportMailAdmin, ReportRunAdmin

__all__ = [
    "AlertAdmin",
    "AlertDeliveryAdmin",
    "AlertRuleAdmin",
    "ReportAdmin",
    "ReportMailAdmin",
    "ReportRunAdmin",
    "WebhookEndpointAdmin",
]
