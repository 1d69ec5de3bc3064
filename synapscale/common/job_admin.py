"""Back office: how the periodic work stands, to look at. ``manage.py tick --list`` says the same."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.contrib import admin
from django.utils import formats, timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

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
    search_help_text = _("The beginning of a name.")

    @admin.display(description=_("State"))
    def state(self, row: PeriodicJob) -> str:
        now = timezone.now()
        if row.running_until and row.running_until > now:
            return gettext("running")
        if row.running_until:
            return gettext("broke off: its process has died")
        if row.error:
            return gettext("failed")
        due = _next_due(row)
        return gettext("due") if due and due <= now else gettext("well")

    @admin.display(description=_("Took"))
    def took(self, row: PeriodicJob) -> str | None:
        if row.started_at is None or row.finished_at is None or row.finished_at < row.started_at:
            return None  # it is running, or broke off
        seconds = formats.number_format(round((row.finished_at - row.started_at).total_seconds(), 1), decimal_pos=1)
        return gettext("%(number)s s") % {"number": seconds}

    @admin.display(description=_("Next due"))
    def next_due(self, row: PeriodicJob) -> datetime | str | None:
        job = _job(row)
        if job is None:
            return gettext("never: no such job any more")
        return _next_due(row) if job.seconds else gettext("with the next tick")

    @admin.display(description=_("What it does"))
    def does(self, row: PeriodicJob) -> str | None:
        job = _job(row)
        if job is None:
            return None
        text = (
            gettext("%(job)s, in each process (%(setting)s)") if job.is_everywhere else gettext("%(job)s (%(setting)s)")
        )
        return text % {"job": job.description, "setting": job.setting}


def _job(row: PeriodicJob) -> periodic.Job | None:
    return next((job for job in periodic.jobs() if job.name == row.name), None)


def _next_due(row: PeriodicJob) -> datetime | None:
    job = _job(row)
    if job is None or not job.seconds or row.started_at is None:
        return None
    return row.started_at + timedelta(seconds=job.seconds)
