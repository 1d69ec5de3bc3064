"""The back office: a list as a CSV file, with the filters and the search that it is shown with.

It is read in pages by the key of the last row, the newest first, each a short statement of its own: a million rows take no
more memory than a page, and nothing is held while whoever downloads takes their time.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, ClassVar

from auditlog.models import LogEntry
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import ERROR_FLAG
from django.core.exceptions import PermissionDenied
from django.core.handlers.asgi import ASGIRequest
from django.db import models
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponseBase, HttpResponseRedirect, StreamingHttpResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.http import content_disposition_header
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_GET

from synapscale.common import audit
from synapscale.common.csv_text import lines, safe
from synapscale.common.db import in_background
from synapscale.common.listing import asked_by_address
from synapscale.common.money import usd_text
from synapscale.common.tenancy import fleet_wide

PAGE = 2_000
DOWNLOADED = gettext_lazy("Downloaded as CSV.")
Column = str | tuple[str, str]
"""A field, or a name and the look-up that it stands for."""


def _cell(value: Any) -> str:
    """Only text can be a formula; numbers stay exact, and times are UTC's."""
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case Decimal():
            return usd_text(value)
        case datetime():
            return value.astimezone(UTC).isoformat()
        case int() | uuid.UUID():
            return str(value)
    return safe(str(value))


def pieces(rows: QuerySet[Any], columns: Sequence[Column]) -> Iterator[bytes]:
    """``rows`` as CSV, the names of ``columns`` first."""
    named = [(column, column) if isinstance(column, str) else column for column in columns]
    yield lines([[name for name, _ in named]])
    found = rows.prefetch_related(None).order_by("-pk").values_list("pk", *(lookup for _, lookup in named))
    after: Any = None
    while True:
        page = found if after is None else found.filter(pk__lt=after)
        with fleet_wide():  # the view that began this has returned long ago
            read = list(page[:PAGE])
        if read:
            yield lines([[_cell(value) for value in row[1:]] for row in read])
        if len(read) < PAGE:
            return
        after = read[-1][0]


async def _stream(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    """Each piece is made by one job on a thread in the background, so no message waits behind a download."""
    while (piece := await in_background(next, pieces, None)) is not None:
        yield piece


class Exports:
    """Mixed into a model's admin: “Download CSV” on its list, where ``export_columns`` names what is in it."""

    model: type[models.Model]
    opts: Any
    admin_site: Any
    export_columns: ClassVar[tuple[Column, ...]] = ()
    """Nothing secret, and nothing that customers wrote to a model."""
    export_permission = ""
    """Who may download needs this, and must be allowed to see the list."""

    def has_export_permission(self, request: HttpRequest) -> bool:
        return (
            bool(self.export_columns)
            and self.has_view_permission(request)  # type: ignore[attr-defined]
            and request.user.has_perm(self.export_permission)
        )

    @property
    def _export_name(self) -> str:
        return f"{self.opts.app_label}_{self.opts.model_name}_export"

    def get_urls(self) -> list[URLPattern]:
        patterns: list[URLPattern] = super().get_urls()  # type: ignore[misc]
        if not self.export_columns:
            return patterns
        view = self.admin_site.admin_view(require_GET(self.export_view))
        return [path("export/", view, name=self._export_name), *patterns]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        response = super().changelist_view(request, extra_context)  # type: ignore[misc]
        context = getattr(response, "context_data", None)
        if context is not None and "cl" in context and self.has_export_permission(request):
            given = request.GET.copy()
            given.pop(ERROR_FLAG, None)
            query = given.urlencode()
            url = reverse(f"{self.admin_site.name}:{self._export_name}")
            button = {"title": _("Download CSV"), "icon": "download", "path": f"{url}?{query}" if query else url}
            context["actions_list"] = [*context.get("actions_list", ()), button]
        return response

    def export_view(self, request: HttpRequest) -> HttpResponseBase:
        if not self.has_export_permission(request):
            raise PermissionDenied
        if ERROR_FLAG in request.GET:  # filters were left out: nobody has asked for the file of all rows
            return HttpResponseRedirect(f"../?{request.GET.urlencode()}")
        try:
            rows = self.get_changelist_instance(request).queryset  # type: ignore[attr-defined]
            with asked_by_address(request):
                rows.exists()  # what the database refuses it refuses here, not when half of the answer is sent
        except IncorrectLookupParameters:
            return HttpResponseRedirect(f"../?{request.GET.urlencode()}")  # to the list, for it to judge
        # It is about no single row, so it is noted in the history of whoever downloads.
        audit.record(
            request.user,  # type: ignore[arg-type]
            what=DOWNLOADED,
            action=LogEntry.Action.ACCESS,
            list=self.opts.label,
            filters=request.GET.urlencode(),
        )
        made = pieces(rows, self.export_columns)
        # Under WSGI there is no loop that could wait for the database.
        content: Any = _stream(made) if isinstance(request, ASGIRequest) else made
        response = StreamingHttpResponse(content, content_type="text/csv; charset=utf-8")
        name = f"{self.opts.db_table}_{timezone.now():%Y-%m-%d}.csv"
        response["Content-Disposition"] = content_disposition_header(True, name) or "attachment"
        response["X-Content-Type-Options"] = "nosniff"
        return response

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type:
        shown: type = super().get_changelist(request, **kwargs)  # type: ignore[misc]
        match = request.resolver_match
        if match is not None and match.url_name == self._export_name:
            return type("Uncounted", (shown,), {"get_results": lambda self, request: None})
        return shown
