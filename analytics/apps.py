from django.apps import AppConfig


class AnalyticsConfig(AppConfig):
    name = "analytics"

    def ready(self) -> None:
        from django.db.models.signals import post_save

        from analytics import engine, receivers
        from conversations.models import UsageLog

        engine.connect()
        post_save.connect(receivers.usage_metered, sender=UsageLog, dispatch_uid="analytics.usage_metered")
