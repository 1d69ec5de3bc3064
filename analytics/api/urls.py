from django.urls import re_path

from analytics.api.views import CostsView, UsageView

urlpatterns = [
    re_path(r"^analytics/usage/?$", UsageView.as_view(), name="analytics-usage"),
    re_path(r"^analytics/costs/?$", CostsView.as_view(), name="analytics-costs"),
]
