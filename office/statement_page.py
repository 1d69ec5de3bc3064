"""Back office: the pages of statements. One finds a workspace, the other shows a month of it, or gives it as a file."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from auditlog.models import LogEntry
from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import Q
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.text import slugify
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.widgets import UnfoldAdminTextInputWidget

from office import statement_csv, statement_pdf, statement_sections
from office.dashboard import rows_url
from office.statements import Month, NotAMonth, Statement, statement
from synapscale.common import audit
from synapscale.common.panels import Tool
from workspaces.models import Workspace

PERMISSION = "billing.view_billingevent"
DOWNLOADED = gettext_lazy("Downloaded a statement.")
FOUND = 20
"""So many workspaces are shown of those that match."""
MONTHS = 120
"""So many months are offered; any other can be typed into the address."""


class MonthField(forms.CharField):
    """A month that has begun, as ``2026-10``."""

    def __init__(self, *, now: datetime, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.now = now

    def clean(self, value: Any) -> Month:
        text = super().clean(value)
        try:
            month = Month.parse(text)
        except NotAMonth:
            raise forms.ValidationError(_("“%(text)s” is no month: write it like 2026-10.") % {"text": text}) from None
        if month.start > self.now:
            raise forms.ValidationError(_("%(month)s has not begun yet.") % {"month": month})
        return month


class ChooseForm(forms.Form):
    """Whose statement, and of when."""

    q = forms.CharField(
        required=False,
        max_length=150,
        label=gettext_lazy("Workspace"),
        help_text=gettext_lazy("The beginning of its name or slug, or its id."),
        widget=UnfoldAdminTextInputWidget({"type": "search"}),
    )

    def __init__(self, *args: Any, now: datetime, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["month"] = MonthField(
            now=now,
            label=_("Month"),
            help_text=_("Of UTC, like 2026-10."),
            widget=UnfoldAdminTextInputWidget({"inputmode": "numeric", "maxlength": 7}),
        )


def choose(request: HttpRequest) -> HttpResponseBase:
    """Find the workspace."""
    _ask_permission(request)
    return _chooser(request)


def show(request: HttpRequest, workspace_id: uuid.UUID) -> HttpResponseBase:
    """A month of a workspace; without one, the last that is over."""
    _ask_permission(request)
    workspace = Workspace.objects.filter(pk=workspace_id).first()
    if workspace is None:
        return _chooser(request, said=_("There is no such workspace. Find it by its name:"), status=404)
    now = timezone.now()
    asked = request.GET.get("month", str(Month.of(now).previous))
    field = MonthField(now=now)
    try:
        month = field.clean(asked)
    except forms.ValidationError as error:
        return _page(request, workspace, None, now=now, asked=asked, errors=list(error.messages), status=400)
    match request.GET.get("format", ""):
        case "":
            return _page(request, workspace, statement(workspace, month, now=now), now=now, asked=str(month))
        case "csv":
            found = statement(workspace, month, now=now, listed=None)
            return _file(request, found, b"".join(statement_csv.write(found)), "csv", "text/csv; charset=utf-8")
        case "pdf":
            found = statement(workspace, month, now=now)
            return _file(request, found, statement_pdf.write(found), "pdf", "application/pdf")
        case other:
            said = _("There is no format “%(format)s”: there are csv and pdf.") % {"format": other}
            return _page(request, workspace, None, now=now, asked=str(month), errors=[said], status=400)


def file_name(found: Statement, ending: str) -> str:
    stem = f"statement_{slugify(found.workspace.slug)}_{found.month}"
    return f"{stem}{'_provisional' if found.is_provisional else ''}.{ending}"


def _ask_permission(request: HttpRequest) -> None:
    if not request.user.has_perm(PERMISSION):
        raise PermissionDenied


def _file(request: HttpRequest, found: Statement, content: bytes, ending: str, content_type: str) -> HttpResponse:
    audit.record(found.workspace, what=DOWNLOADED, action=LogEntry.Action.ACCESS, month=str(found.month), format=ending)
    disposition = f'attachment; filename="{file_name(found, ending)}"'
    return HttpResponse(content, content_type=content_type, headers={"Content-Disposition": disposition})


def _chooser(request: HttpRequest, *, said: str = "", status: int = 200) -> TemplateResponse:
    now = timezone.now()
    given = request.GET.dict()
    given.setdefault("month", str(Month.of(now).previous))
    form = ChooseForm(given, now=now)
    rows: list[Workspace] = []
    if form.is_valid():
        rows = _matching(form.cleaned_data["q"].strip())
    context = {
        **admin.site.each_context(request),
        "title": _("Statements"),
        "form": form,
        "said": said,
        "workspaces": rows[:FOUND],
        "has_more": len(rows) > FOUND,
        "wanted": given.get("q", "").strip(),
        "query": urlencode({"month": given["month"]}),
    }
    return TemplateResponse(
        request, "admin/office/statements.html", context, status=400 if form.errors and status == 200 else status
    )


def _matching(wanted: str) -> list[Workspace]:
    """The workspaces that begin so, by name; the newest where nothing is said. One more than is shown."""
    rows = Workspace.objects.only("name", "slug")
    if not wanted:
        return list(rows.order_by("-pk")[: FOUND + 1])
    try:
        return list(rows.filter(pk=uuid.UUID(wanted)))
    except ValueError:
        begins = Q(name__istartswith=wanted) | Q(slug__istartswith=wanted)
        return list(rows.filter(begins).order_by("name", "pk")[: FOUND + 1])


def _page(
    request: HttpRequest,
    workspace: Workspace,
    found: Statement | None,
    *,
    now: datetime,
    asked: str,
    errors: list[str] | None = None,
    status: int = 200,
) -> TemplateResponse:
    this_month = Month.of(now)
    month = found.month if found else None
    address = reverse("office_statement", args=[workspace.pk])
    context: dict[str, Any] = {
        **admin.site.each_context(request),
        "title": _("Statement"),
        "workspace": workspace,
        "address": address,
        "asked": asked,
        "errors": errors or [],
        "months": _months(found.since if found else Month.of(workspace.created_at), this_month, month),
        "choose_url": reverse("office_statements"),
    }
    if request.user.has_perm("workspaces.view_workspace"):
        context["workspace_url"] = reverse("admin:workspaces_workspace_change", args=[workspace.pk])
    if found is not None and month is not None:
        context |= {
            "statement": found,
            "month": month,
            "previous": month.previous if month > found.since else None,
            "next": month.next if month < this_month else None,
            "summary": statement_sections.summary(found),
            "proof": statement_sections.proof(found),
            "provisional": statement_sections.provisional(found),
            "about": statement_sections.about(found),
            "sections": statement_sections.sections(found),
            "ledger_url": rows_url(
                "billing_billingevent",
                workspace__id__exact=workspace.pk,
                created_at__gte=month.start.isoformat(),
                created_at__lt=month.end.isoformat(),
            ),
        }
    return TemplateResponse(request, "admin/office/statement.html", context, status=status)


def _months(since: Month, until: Month, shown: Month | None) -> list[Month]:
    """To choose from, the newest first; the one that is shown among them."""
    found: list[Month] = []
    month = until
    while month >= since and len(found) < MONTHS:
        found.append(month)
        month = month.previous
    return found if shown is None or shown in found else [*found, shown]


def tool(workspace_of: Callable[[Any], Any]) -> Tool:
    """The button that leads from a row's page to the statements of its workspace, whose key ``workspace_of`` gives."""
    return Tool(
        title=gettext_lazy("Statements"),
        icon="request_quote",
        url=lambda row: reverse("office_statement", args=[workspace_of(row)]),
        may_use=lambda request, row: request.user.has_perm(PERMISSION),
    )
