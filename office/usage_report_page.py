"""Back office: ``manage.py usage_report`` as a page, and its files as downloads. The report is the command's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from auditlog.models import LogEntry
from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.core.validators import MaxValueValidator, MinValueValidator
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import formats, timezone
from django.utils.http import content_disposition_header
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_GET
from rest_framework.serializers import ValidationError
from unfold.widgets import INPUT_CLASSES, UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from analytics.periods import midnight
from conversations.windows import zone
from office import shown
from office.usage_report import CONTENT_TYPES, By, Format, UsageReport, usage_report, write
from synapscale.common import audit
from synapscale.common.errors import Refusal
from workspaces.models import Workspace

PERMISSION = "conversations.view_usagelog"
DAYS = 30
SHOWN = 200
"""Rows on the page; the files have all of them."""
DOWNLOADED = gettext_lazy("Downloaded a usage report.")

_GROUPS = {
    By.DAY: gettext_lazy("Day"),
    By.MODEL: gettext_lazy("Model"),
    By.PROVIDER: gettext_lazy("Provider"),
    By.USER: gettext_lazy("User"),
    By.WORKSPACE: gettext_lazy("Workspace"),
    By.TAG: gettext_lazy("Tag"),
}


@dataclass(frozen=True, slots=True)
class _Shown:
    """A metric on the page."""

    name: str
    title: Any
    text: Callable[[Any], str]


_METRICS = (
    _Shown("calls", gettext_lazy("Calls"), shown.count),
    _Shown("failed", gettext_lazy("Failed"), shown.count),
    _Shown("error_rate", gettext_lazy("Error rate"), shown.percent),
    _Shown("total_tokens", gettext_lazy("Tokens"), shown.count),
    _Shown("cost", gettext_lazy("Charged"), lambda text: shown.usd(Decimal(text))),
    _Shown("provider_cost", gettext_lazy("Cost at the provider"), lambda text: shown.usd(Decimal(text))),
    _Shown("own_key_share", gettext_lazy("On own keys"), shown.percent),
    _Shown(
        "average_latency_ms",
        gettext_lazy("Average latency"),
        lambda text: shown.milliseconds(None if text is None else round(Decimal(text))),
    ),
)
_MONEY = frozenset({"cost", "provider_cost"})


@dataclass(frozen=True, slots=True)
class _Page:
    """Where a row of the report leads."""

    permission: str
    url: Callable[[str], str]
    filter: str = ""
    """By what the list of usage is narrowed to it, where it can be."""


def _row_of(name: str) -> Callable[[str], str]:
    return lambda key: reverse(f"admin:{name}_change", args=[key])


_PAGES = {
    By.MODEL: _Page("llm.view_llm", _row_of("llm_llm"), "llm__id__exact"),
    By.PROVIDER: _Page(
        "llm.view_llm", lambda key: f"{reverse('admin:llm_llm_changelist')}?{urlencode({'provider__exact': key})}"
    ),
    By.USER: _Page("workspaces.view_user", _row_of("workspaces_user"), "user__id__exact"),
    By.WORKSPACE: _Page("workspaces.view_workspace", _row_of("workspaces_workspace"), "workspace__id__exact"),
    By.TAG: _Page("tagging.view_tag", _row_of("tagging_tag")),
}


class _DayInput(forms.DateInput):
    input_type = "date"


def _day(label: Any, help_text: Any = "") -> forms.DateField:
    widget = _DayInput(format="%Y-%m-%d", attrs={"class": " ".join(INPUT_CLASSES)})
    years = [MinValueValidator(date(2000, 1, 1)), MaxValueValidator(date(2999, 12, 31))]
    return forms.DateField(
        label=label, help_text=help_text, widget=widget, input_formats=["%Y-%m-%d"], validators=years
    )


class ReportForm(forms.Form):
    """The options of the command, by their names."""

    by = forms.ChoiceField(label=gettext_lazy("By"), choices=list(_GROUPS.items()), widget=UnfoldAdminSelectWidget())
    workspace = forms.CharField(
        max_length=100,
        label=gettext_lazy("Workspace"),
        required=False,
        help_text=gettext_lazy("Its slug; empty: all workspaces."),
        widget=UnfoldAdminTextInputWidget(),
    )
    tag = forms.CharField(
        label=gettext_lazy("Tag"),
        required=False,
        max_length=100,
        help_text=gettext_lazy("By tag: a tag, or the beginning of some, like “customer:*”."),
        widget=UnfoldAdminTextInputWidget(),
    )
    tz = forms.CharField(
        label=gettext_lazy("Time zone"),
        max_length=60,
        help_text=gettext_lazy("Where days begin, like America/Sao_Paulo."),
        widget=UnfoldAdminTextInputWidget(),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        first = _day(gettext_lazy("From"))
        before = _day(gettext_lazy("To"), gettext_lazy("The day after the last: this day is not in the report."))
        self.fields = {"from": first, "to": before, **self.fields}

    def clean_workspace(self) -> Workspace | None:
        slug = self.cleaned_data["workspace"]
        if not slug:
            return None
        found = Workspace.objects.filter(slug=slug).first()
        if found is None:
            raise forms.ValidationError(_("There is no workspace with this slug."))
        return found

    def clean_tz(self) -> ZoneInfo:
        try:
            return zone(self.cleaned_data["tz"])
        except ValidationError:
            raise forms.ValidationError(_("This is no time zone: write it like America/Sao_Paulo.")) from None

    def report(self) -> UsageReport | None:
        """None where something was wrong, which is noted at its field then."""
        if not self.is_valid():
            return None
        given = self.cleaned_data
        try:
            return usage_report(
                first=given["from"],
                before=given["to"],
                by=By(given["by"]),
                tz=given["tz"],
                workspace=given["workspace"],
                tag=given["tag"],
            )
        except Refusal as refusal:
            option = next(iter(refusal.details), "")
            self.add_error(option if option in self.fields else None, refusal.message)
            return None


@require_GET
def view(request: HttpRequest) -> HttpResponseBase:
    if not request.user.has_perm(PERMISSION):
        raise PermissionDenied
    asked = {**_usual(), **request.GET.dict()}
    form = ReportForm(asked)
    report = form.report()
    format_ = request.GET.get("format", "")
    if report is not None and format_ in (Format.CSV, Format.JSON):
        return _file(request, report, Format(format_))
    return _page(request, form, report)


def _usual() -> dict[str, str]:
    """What is asked for where nothing is said: the last days, today included."""
    today = timezone.now().date()
    return {
        "from": (today - timedelta(days=DAYS - 1)).isoformat(),
        "to": (today + timedelta(days=1)).isoformat(),
        "by": By.MODEL,
        "tz": "UTC",
    }


def _file(request: HttpRequest, report: UsageReport, format_: Format) -> HttpResponse:
    audit.record(
        request.user,  # type: ignore[arg-type]
        what=DOWNLOADED,
        action=LogEntry.Action.ACCESS,
        filters=request.GET.urlencode(),
    )
    response = HttpResponse(b"".join(write(report, format_)), content_type=CONTENT_TYPES[format_])
    name = f"{report.file_stem}.{format_}"
    response["Content-Disposition"] = content_disposition_header(True, name) or "attachment"
    response["X-Content-Type-Options"] = "nosniff"
    return response


def _page(request: HttpRequest, form: ReportForm, report: UsageReport | None) -> TemplateResponse:
    context = {**admin.site.each_context(request), "title": _("Usage report"), "form": form, "report": report}
    if report is not None:
        places = {column.name: place for place, column in enumerate(report.columns)}
        found: dict[str, Any] = {
            "group": _GROUPS[report.by],
            "heads": [metric.title for metric in _METRICS],
            "rows": [_row(request, report, row, places) for row in report.rows[:SHOWN]],
            "totals": _cells(report.totals, places),
            "hidden": max(len(report.rows) - SHOWN, 0),
            "is_empty": not report.totals[places["calls"]],
        }
        context |= found
    return TemplateResponse(request, "admin/usage_report.html", context)


def _cells(row: Any, places: dict[str, int]) -> list[dict[str, str]]:
    """What is shown of each metric; of an amount that is rounded, the exact one too."""
    found = []
    for metric in _METRICS:
        value = row[places[metric.name]]
        text = metric.text(value)
        found.append({"text": text, "exact": f"${value}" if metric.name in _MONEY else ""})
    return found


def _row(request: HttpRequest, report: UsageReport, row: Any, places: dict[str, int]) -> dict[str, Any]:
    cells = _cells(row, places)
    if report.by == By.DAY:
        day = date.fromisoformat(row[0])
        calls = _calls_url(report, {}, day, day + timedelta(days=1))
        return {"name": formats.date_format(day, "SHORT_DATE_FORMAT"), "calls_url": calls, "cells": cells}
    key, name = row[:2]
    if key is None:
        return {"name": name or "–", "cells": cells}
    page = _PAGES[report.by]
    calls = _calls_url(report, {page.filter: key}, report.first, report.before) if page.filter else ""
    url = page.url(key) if request.user.has_perm(page.permission) else ""
    return {"name": name or key, "url": url, "calls_url": calls, "cells": cells}


def _calls_url(report: UsageReport, filters: dict[str, str], first: date, before: date) -> str:
    """The rows of usage behind a row of the report."""
    query = dict(filters)
    if report.workspace is not None:
        query["workspace__id__exact"] = str(report.workspace.pk)
    query["created_at__gte"] = midnight(first, report.tz).isoformat()
    query["created_at__lt"] = midnight(before, report.tz).isoformat()
    return f"{reverse('admin:conversations_usagelog_changelist')}?{urlencode(query)}"
