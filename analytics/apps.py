from django.apps import AppConfig


class AnalyticsConfig(AppConfig):
    name = "analytics"

    def ready(self) -> None:
        from django.db.models.signals import post_save

        from analytics import engine, receivers
        from analytics.models import WebhookEndpoint
        from conversations.models import UsageLog
        from workspaces import sealed

        engine.connect()
        sealed.register(WebhookEndpoint, bound_to=lambda endpoint: endpoint.bound_to)
        post_save.connect(receivers.usage_metered, sender=UsageLog, dispatch_uid="analytics.usage_metered")
