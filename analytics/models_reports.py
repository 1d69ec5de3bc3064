"""Reports that people keep, their runs, and the mails that say that a run is there."""

from __future__ import annotations

from typing import Self

from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from synapscale.common.models import TenantFK, TenantModel
from synapscale.common.moments import day
from workspaces.models import Membership, User


class ReportQuerySet(models.QuerySet["Report"]):
    def visible_to(self, membership: Membership) -> Self:
        """One's own and those that one is sent; for admins, owners and staff who may see reports all of the workspace.
        What reaches beyond the workspace is for staff who may see the usage of all, and for whoever made it.
        """
        user = membership.user
        rows = self.filter(workspace_id=membership.workspace_id)
        if user.has_staff_perm("analytics.view_report"):
            return rows
        if not user.has_staff_perm("conversations.view_usagelog"):
            rows = rows.filter(Q(is_for_staff=False) | Q(created_by=user))
        if membership.may_administer:
            return rows
        sent = ReportMail.objects.filter(workspace_id=membership.workspace_id, user=user)
        return rows.filter(Q(created_by=user) | Q(pk__in=sent.values("report_id")))


class Report(TenantModel):
    """What to tell of which calls, in which window, and when. No figures: those are read when it is downloaded."""

    class Kind(models.TextChoices):
        FIGURES = "figures", _("Figures by period and group")
        CALLS = "calls", _("Calls, one by one")

    class Period(models.TextChoices):
        TODAY = "today", _("Today, until now")
        YESTERDAY = "yesterday", _("Yesterday")
        LAST_7_DAYS = "last_7_days", _("The seven days before today")
        LAST_30_DAYS = "last_30_days", _("The thirty days before today")
        THIS_MONTH = "this_month", _("This month, until now")
        LAST_MONTH = "last_month", _("The month before this one")
        FIXED = "fixed", _("From one time to another")

    class Schedule(models.TextChoices):
        NONE = "none", _("On demand")
        DAILY = "daily", _("Every day")
        WEEKLY = "weekly", _("On Mondays")
        MONTHLY = "monthly", _("On the first of the month")

    class Format(models.TextChoices):
        CSV = "csv", _("CSV")
        JSON = "json", _("JSON, one array")
        JSONL = "jsonl", _("JSON, an object a line")
        PARQUET = "parquet", _("Parquet")

    name = models.CharField(max_length=100)
    created_by = models.ForeignKey(
        User,
        on_delete=models.PROTECT,
        related_name="reports",
        db_index=False,
        help_text=_("Whose rights the report has: it shows what they may see when it is read."),
    )
    kind = models.CharField(max_length=10, choices=Kind)
    definition = models.JSONField(
        default=dict, blank=True, help_text=_("Filters, groups and granularity, as analytics/usage takes them.")
    )
    period = models.CharField(max_length=15, choices=Period)
    start_at = models.DateTimeField(null=True, blank=True, help_text=_("Of a fixed period."))
    end_at = models.DateTimeField(null=True, blank=True, help_text=_("Of a fixed period; before then."))
    tz = models.CharField(max_length=64, default="UTC")
    schedule = models.CharField(max_length=10, choices=Schedule, default=Schedule.NONE)
    hour = models.PositiveSmallIntegerField(
        default=6, help_text=_("When it runs by schedule, 0 to 23, in its time zone.")
    )
    recipients = models.JSONField(default=list, blank=True, help_text=_("Ids of members who get a link by e-mail."))
    format = models.CharField(max_length=10, choices=Format, default=Format.CSV)
    is_for_staff = models.BooleanField(default=False, help_text=_("Whether it reaches beyond its workspace."))
    next_run_at = models.DateTimeField(null=True, blank=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects = ReportQuerySet.as_manager()

    class Meta:
        db_table = "reports"
        constraints = [
            *TenantModel.Meta.constraints,
            models.UniqueConstraint(fields=["workspace", "name"], name="reports_once"),
            models.CheckConstraint(
                condition=Q(period="fixed", start_at__isnull=False, end_at__isnull=False, start_at__lt=F("end_at"))
                | (~Q(period="fixed") & Q(start_at__isnull=True, end_at__isnull=True)),
                name="reports_fixed_window",
            ),
            models.CheckConstraint(
                condition=Q(schedule="none", next_run_at__isnull=True)
                | (~Q(schedule="none") & Q(next_run_at__isnull=False)),
                name="reports_scheduled",
            ),
            models.CheckConstraint(condition=Q(hour__gte=0, hour__lte=23), name="reports_hour"),
        ]
        indexes = [
            models.Index(
                fields=["workspace", "next_run_at"], condition=Q(next_run_at__isnull=False), name="reports_due"
            ),
            models.Index(fields=["workspace", "created_by"], name="reports_by_maker"),
        ]

    def __str__(self) -> str:
        return self.name


class ReportRun(TenantModel):
    """A report with its window fixed. Calls are only ever added, so a window that has passed gives the same figures
    whenever it is read: what is kept is what was asked for, not the answer.
    """

    class State(models.TextChoices):
        QUEUED = "queued", _("Queued")
        DONE = "done", _("Done")
        FAILED = "failed", _("Failed")

    report = TenantFK(Report, related_name="runs")
    asked_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="report_runs", db_index=False)
    due_at = models.DateTimeField(null=True, blank=True, help_text=_("When it was due by schedule; empty: on demand."))
    idempotency_key = models.CharField(max_length=255, blank=True)
    kind = models.CharField(max_length=10, choices=Report.Kind)
    definition = models.JSONField(default=dict, blank=True, help_text=_("The report's, as it was then."))
    start_at = models.DateTimeField()
    end_at = models.DateTimeField()
    tz = models.CharField(max_length=64)
    format = models.CharField(max_length=10, choices=Report.Format)
    state = models.CharField(max_length=10, choices=State, default=State.QUEUED)
    rows = models.PositiveBigIntegerField(null=True, blank=True, help_text=_("How many, where that is known."))
    error = models.CharField(max_length=500, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "report_runs"
        constraints = [
            *TenantModel.Meta.constraints,
            models.UniqueConstraint(fields=["workspace", "report", "due_at"], name="report_runs_once_due"),
            models.UniqueConstraint(
                fields=["workspace", "report", "asked_by", "idempotency_key"],
                condition=~Q(idempotency_key=""),
                name="report_runs_once_asked",
            ),
            models.CheckConstraint(condition=Q(start_at__lte=F("end_at")), name="report_runs_window"),
            models.CheckConstraint(
                condition=Q(state="queued", finished_at__isnull=True, rows__isnull=True, error="")
                | Q(state="done", finished_at__isnull=False, error="")
                | (Q(state="failed", finished_at__isnull=False, rows__isnull=True) & ~Q(error="")),
                name="report_runs_state",
            ),
        ]
        indexes = [
            models.Index(fields=["workspace", "report", "-created_at", "-id"], name="report_runs_by_time"),
            models.Index(fields=["workspace", "id"], condition=Q(state="queued"), name="report_runs_queued"),
        ]

    def __str__(self) -> str:
        return _("%(report)s, %(start)s to %(end)s") % {
            "report": self.report_id,
            "start": day(self.start_at),
            "end": day(self.end_at),
        }


class ReportMail(TenantModel):
    """A link to a run that somebody is to get by e-mail, once."""

    report = TenantFK(Report, related_name="mails")
    run = TenantFK(ReportRun, related_name="mails")
    user = models.ForeignKey(User, on_delete=models.PROTECT, related_name="report_mails", db_index=False)
    tries = models.PositiveSmallIntegerField(default=0)
    next_try_at = models.DateTimeField(null=True, blank=True, help_text=_("Empty: sent, or given up."))
    mailed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "report_mails"
        constraints = [
            *TenantModel.Meta.constraints,
            models.UniqueConstraint(fields=["workspace", "run", "user"], name="report_mails_once"),
            models.CheckConstraint(
                condition=Q(mailed_at__isnull=True) | Q(next_try_at__isnull=True), name="report_mails_state"
            ),
        ]
        indexes = [
            models.Index(
                fields=["workspace", "next_try_at"], condition=Q(next_try_at__isnull=False), name="report_mails_due"
            ),
            models.Index(fields=["workspace", "user", "report"], name="report_mails_by_user"),
        ]

    def __str__(self) -> str:
        return _("Link to %(run)s for %(user)s") % {"run": self.run_id, "user": self.user_id}
