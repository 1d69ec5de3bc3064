from django.apps import AppConfig


class AnalyticsConfig(AppConfig):
    name = "analytics"

    def ready(self) -> None:
        from django.db.models.signals import post_save

        from analytics import engine, receivers, rollups
        from analytics.reports import runs
        from conversations.models import UsageLog
        from synapscale.common import periodic

        engine.connect()
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
