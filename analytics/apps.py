from django.apps import AppConfig


class AnalyticsConfig(AppConfig):
    name = "analytics"

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
            description="add new calls to the sums",
        )
        periodic.register(
            name="reports",
            setting="REPORT_SECONDS",
            run=runs.run_due,
            description="make the runs of reports that are due, and mail links to them",
        )
        periodic.register(
            name="alerts",
            setting="ALERT_SECONDS",
            run=evaluating.evaluate_due,
            description="look at the alert rules, fire and resolve",
        )
        periodic.register(
            name="alert_deliveries",
            setting="ALERT_DELIVERY_SECONDS",
            run=delivering.deliver_due,
            description="send mails and webhooks about alerts",
        )
