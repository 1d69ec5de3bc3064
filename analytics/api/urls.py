from django.urls import include, path, re_path

from analytics.api.alert_rules import AlertRuleViewSet
from analytics.api.alerts import AlertViewSet
from analytics.api.profiles import ComparisonView, ConversationView, ModelView, UserView, WorkspaceView
from analytics.api.pulse import HealthView, LiveView, MetricsView
from analytics.api.reports import UUID, ReportRunViewSet, ReportViewSet
from analytics.api.views import CostsView, UsageView
from analytics.api.webhooks import WebhookTestView, WebhookViewSet
from synapscale.common.views import OptionalSlashRouter

KEY = r"(?P<key>[^/]+)"
reports = OptionalSlashRouter()
reports.register("analytics/reports", ReportViewSet, basename="report")
reports.register(rf"analytics/reports/(?P<report_pk>{UUID})/runs", ReportRunViewSet, basename="report-run")
alerts = OptionalSlashRouter()
alerts.register("analytics/alerts", AlertViewSet, basename="alert")
alerts.register("analytics/alert-rules", AlertRuleViewSet, basename="alert-rule")
alerts.register("analytics/webhooks", WebhookViewSet, basename="webhook")
webhook_test = re_path(rf"^analytics/webhooks/(?P<id>{UUID})/test/?$", WebhookTestView.as_view(), name="webhook-test")
urlpatterns = [
    re_path(r"^analytics/usage/?$", UsageView.as_view(), name="analytics-usage"),
    re_path(r"^analytics/costs/?$", CostsView.as_view(), name="analytics-costs"),
    re_path(rf"^analytics/users/{KEY}/?$", UserView.as_view(), name="analytics-user"),
    re_path(rf"^analytics/workspaces/{KEY}/?$", WorkspaceView.as_view(), name="analytics-workspace"),
    re_path(rf"^analytics/conversations/{KEY}/?$", ConversationView.as_view(), name="analytics-conversation"),
    re_path(r"^analytics/llms/(?P<key>.+?)/?$", ModelView.as_view(), name="analytics-llm"),
    re_path(r"^analytics/models/compare/?$", ComparisonView.as_view(), name="analytics-compare"),
    re_path(r"^analytics/health/?$", HealthView.as_view(), name="analytics-health"),
    re_path(r"^analytics/metrics/?$", MetricsView.as_view(), name="analytics-metrics"),
    re_path(r"^analytics/live/?$", LiveView.as_view(), name="analytics-live"),
    path("", include(reports.urls)),
    path("", include([webhook_test, *alerts.urls])),
]
