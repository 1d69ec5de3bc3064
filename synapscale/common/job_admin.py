"""Back office: how the periodic work stands, to look at. ``manage.py tick --list`` says the same."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.contrib import admin
from django.utils import timezone

from synapscale.common import periodic
from synapscale.common.admin import ViewOnlyAdmin
from synapscale.common.models import PeriodicJob


@admin.register(PeriodicJob)
class PeriodicJobAdmin(ViewOnlyAdmin):
    """One row for each job that ever ran, for all processes together."""

    list_display = ("name", "state", "started_at", "took", "succeeded_at", "next_due", "error", "runs", "failures")
    fields = ("does", *list_display, "finished_at", "running_until")
    readonly_fields = ("does", "state", "took", "next_due")
    ordering = ("name",)
    search_ids = ()
    search_fields = ("name__startswith",)
    search_help_text = "The beginning of a name."

    @admin.display(description="State")
    def state(self, row: PeriodicJob) -> str:
        now = timezone.now()
        if row.running_until and row.running_until > now:
            return "running"
        if row.running_until:
            return "broke off: its process has died"
        if row.error:
            return "failed"
        due = _next_due(row)
        return "due" if due and due <= now else "well"

    @admin.display(description="Took")
    def took(self, row: PeriodicJob) -> str | None:
        if row.started_at is None or row.finished_at is None or row.finished_at < row.started_at:
            return None  # it is running, or broke off
        return f"{(row.finished_at - row.started_at).total_seconds():.1f} s"

    @admin.display(description="Next due")
    def next_due(self, row: PeriodicJob) -> datetime | str | None:
        job = _job(row)
        if job is None:
            return "never: no such job any more"
        return _next_due(row) if job.seconds else "with the next tick"

    @admin.display(description="What it does")
    def does(self, row: PeriodicJob) -> str | None:
        job = _job(row)
        if job is None:
            return None
        return f"{job.description}{', in each process' if job.is_everywhere else ''} ({job.setting})"


def _job(row: PeriodicJob) -> periodic.Job | None:
    return next((job for job in periodic.jobs() if job.name == row.name), None)


def _next_due(row: PeriodicJob) -> datetime | None:
    job = _job(row)
    if job is None or not job.seconds or row.started_at is None:
        return None
    return row.started_at + timedelta(seconds=job.seconds)
