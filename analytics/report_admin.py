"""Back office: reports and their runs, to look at. They are made by those whose rights they have, so not here."""

from __future__ import annotations

from django.contrib import admin
from django.utils.translation import gettext_lazy as _

from analytics.models import Report, ReportMail, ReportRun
from synapscale.common.admin import ViewOnlyAdmin


@admin.register(Report)
class ReportAdmin(ViewOnlyAdmin):
    list_display = ("created_at", "workspace", "name", "kind", "period", "schedule", "next_run_at", "created_by")
    list_filter = ("kind", "schedule", "is_for_staff", "created_at")
    list_select_related = ("workspace", "created_by")
    list_defer = ("definition", "recipients")
    search_fields = ("name__startswith", "workspace__slug", "created_by__email")
    search_help_text = _("An id, the beginning of a name, a workspace's slug or its maker's e-mail address.")


@admin.register(ReportRun)
class ReportRunAdmin(ViewOnlyAdmin):
    list_display = ("created_at", "workspace", "report", "start_at", "end_at", "state", "rows", "due_at", "finished_at")
    list_filter = ("state", "kind", "created_at")
    list_select_related = ("workspace", "report")
    list_defer = ("definition",)
    search_ids = ("pk", "workspace_id", "report_id")
    search_fields = ("workspace__slug",)
    search_help_text = _("An id, that of a report or a workspace's slug.")


@admin.register(ReportMail)
class ReportMailAdmin(ViewOnlyAdmin):
    """Links that were sent, wait, or were given up."""

    list_display = ("created_at", "workspace", "report", "user", "tries", "next_try_at", "mailed_at")
    list_filter = ("created_at",)
    list_select_related = ("workspace", "report", "user")
    search_ids = ("pk", "workspace_id", "run_id", "report_id")
    search_fields = ("workspace__slug", "user__email")
    search_help_text = _("An id, that of a run or a report, a workspace's slug or an e-mail address.")
