from django.contrib import admin
from django.urls import include, path, re_path
from django.views.generic import RedirectView
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView

from office import addresses, dashboard, key_checks, own_password, statement_page, usage_report_page
from synapscale import probes, scrape

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="swagger", permanent=False)),
    path("healthz", probes.healthz),
    path("readyz", probes.readyz),
    path("metrics", scrape.scrape),
    path("admin/language/", include("django.conf.urls.i18n")),
    path("admin/live/", admin.site.admin_view(dashboard.live), name="office_live"),
    path("admin/usage-report/", admin.site.admin_view(usage_report_page.view), name="office_usage_report"),
    path("admin/statements/", admin.site.admin_view(statement_page.choose), name="office_statements"),
    path("admin/statements/<uuid:workspace_id>/", admin.site.admin_view(statement_page.show), name="office_statement"),
    path(
        "admin/workspaces/uservariable/<uuid:object_id>/test/",
        admin.site.admin_view(key_checks.page),
        name="office_test_key",
    ),
    path(
        "admin/password_change/", admin.site.admin_view(own_password.view, cacheable=True), name="office_own_password"
    ),
    path("admin/search/", admin.site.admin_view(addresses.search), name="office_search"),
    re_path(r"^admin/r/", admin.site.admin_view(addresses.view_on_site)),
    path("admin/", admin.site.urls),
    path("api/schema/", SpectacularAPIView.as_view(), name="schema"),
    path("api/docs/", SpectacularSwaggerSplitView.as_view(url_name="schema"), name="swagger"),
    path("api/v1/", include("workspaces.api.urls")),
    path("api/v1/", include("llm.api.urls")),
    path("api/v1/", include("billing.api.urls")),
    path("api/v1/", include("conversations.api.urls")),
    path("api/v1/", include("tagging.api.urls")),  # after the figures of tags, which only conversations know
    path("api/v1/", include("analytics.api.urls")),
    path("v1/", include("conversations.compat.urls")),
]
handler400 = "synapscale.common.api_errors.bad_request"
handler403 = "synapscale.common.api_errors.permission_denied"
handler404 = "synapscale.common.api_errors.not_found"
handler500 = "synapscale.common.api_errors.server_error"
