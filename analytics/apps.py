from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class AnalyticsConfig(AppConfig):
    name = "analytics"
    verbose_name = _("Analytics")

    def ready(self) -> None:
        from django.db.models.signals import post_save

        from analytics import engine, receivers, rollups
        from analytics.alerting import delivering, evaluating
        from analytics.models import WebhookEndpoint
        from analytics.reports import runs
        from conversations.models import UsageLog
        from synapscale.common import periodic
        from workspaces import sealed

        engine.connect()
        sealed.register(WebhookEndpoint, bound_to=lambda endpoint: endpoint.bound_to)
        post_save.connect(receivers.usage_metered, sender=UsageLog, dispatch_uid="analytics.usage_metered")
        periodic.register(
            name="rollups",
            setting="ROLLUP_SECONDS",
            run=lambda: f"{rollups.roll_up()} calls added",
            description=_("add new calls to the sums"),
        )
        periodic.register(
            name="reports",
            setting="REPORT_SECONDS",
            run=runs.run_due,
            description=_("make the runs of reports that are due, and mail links to them"),
        )
        periodic.register(
            name="alerts",
            setting="ALERT_SECONDS",
            run=evaluating.evaluate_due,
            description=_("look at the alert rules, fire and resolve"),
        )
        periodic.register(
            name="alert_deliveries",
            setting="ALERT_DELIVERY_SECONDS",
            run=delivering.deliver_due,
            description=_("send mails and webhooks about alerts"),
        )
