"""Reports: kept, run, and downloaded as files of any size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.core.handlers.asgi import ASGIRequest
from django.db.models import QuerySet
from django.http import Http404, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import get_object_or_404
from django.utils import timezone
from django.utils.http import content_disposition_header
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import serializers, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from analytics.api.report_serializers import NothingSerializer, ReportRunSerializer, ReportSerializer
from analytics.asking import Asked, sees_fleet
from analytics.models import Report, ReportRun
from analytics.reports import definitions, files, runs, saving
from analytics.reports.formats import WRITERS, Format
from analytics.reports.windows import window_of
from synapscale.common.errors import Forbidden, Refusal
from synapscale.common.parsing import StrictQuery
from workspaces.authentication import Caller, caller, caller_of, raw_token
from workspaces.models import Scope
from workspaces.permissions import ReadOrMember

FORMAT = OpenApiParameter("format", enum=Format.values, description="Otherwise the report's own.")
KEY = OpenApiParameter(
    "Idempotency-Key", OpenApiTypes.STR, "header", description="The same key again answers with the same run."
)
UUID = "[0-9a-f-]{36}"
REPORT = OpenApiParameter("report_pk", OpenApiTypes.UUID, "path")
DOWNLOAD = {
    (200, writer.content_type.partition(";")[0]): OpenApiResponse(
        OpenApiTypes.BINARY if format_ is Format.PARQUET else OpenApiTypes.STR, "The rows, streamed."
    )
    for format_, writer in WRITERS.items()
}


def _report(who: Caller, pk: str) -> Report:
    return get_object_or_404(Report.objects.visible_to(who.membership), pk=pk)


def _format(request: Request, default: str) -> str:
    given = request.query_params.get("format", default)
    if given not in Format.values:
        raise serializers.ValidationError({"format": [f"Give one of {', '.join(Format.values)}."]})
    return given


def _may_still(request: Request, asked: Asked, read: Callable[[Caller], Asked]) -> Callable[[], bool]:
    """Whether ``read`` gives whoever sent this request the calls of ``asked`` as things are by then: tokens are revoked,
    and people leave or get another role, while a file is being read.
    """

    def look() -> bool:
        who = caller_of(raw_token(request))
        if who is None or Scope.BILLING not in who.token.scopes:
            return False
        try:
            wanted = read(who).wanted
        except (Http404, Refusal):
            return False
        return (wanted.workspace_id, wanted.user_id) == (asked.wanted.workspace_id, asked.wanted.user_id)

    return look


def _download(
    request: Request, read: Callable[[Caller], Asked], *, kind: str, name: str, format_: str
) -> HttpResponseBase:
    """What ``read`` gives the caller, as a file. Of a HEAD nothing is read."""
    asked = read(caller(request))
    is_allowed = _may_still(request, asked, read)
    file = files.file_of(asked, kind=kind, name=name, format_=format_, is_allowed=is_allowed)
    response: HttpResponseBase
    if request.method == "HEAD":
        response = HttpResponse(content_type=file.content_type)
    else:
        # Under WSGI there is no loop that could wait for the database.
        pieces = file.stream() if isinstance(request._request, ASGIRequest) else file.pieces
        response = StreamingHttpResponse(pieces, content_type=file.content_type)
    response["Content-Disposition"] = content_disposition_header(True, file.name) or "attachment"
    response["Cache-Control"] = "no-store"
    response["X-Content-Type-Options"] = "nosniff"
    return response


class ReportViewSet(StrictQuery, viewsets.GenericViewSet[Report]):
    """The reports of the workspace: one's own and those one has been sent; for admins and owners all. A report shows what both
    its maker and its reader may see: members their own calls, admins and owners the workspace's, staff all.
    """

    serializer_class = ReportSerializer
    permission_classes = [ReadOrMember]
    scopes_to_read = scopes_to_write = frozenset({Scope.BILLING})
    http_method_names = ["get", "post", "patch", "delete", "head", "options"]
    queryset = Report.objects.none()
    filter_backends = []
    lookup_value_regex = UUID

    @property
    def query_parameters(self) -> tuple[str, ...]:  # type: ignore[override]
        return ("format",) if self.action == "download" else ()

    def get_queryset(self) -> QuerySet[Report]:
        return (
            self.queryset if self.request.auth is None else Report.objects.visible_to(caller(self.request).membership)
        )

    def list(self, request: Request) -> Response:
        page = self.paginate_queryset(self.get_queryset())
        assert page is not None
        return self.get_paginated_response(self.get_serializer(page, many=True).data)

    def retrieve(self, request: Request, pk: str) -> Response:
        return Response(self.get_serializer(_report(caller(request), pk)).data)

    def create(self, request: Request) -> Response:
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        report = saving.create(caller(request), **serializer.validated_data)
        return Response(self.get_serializer(report).data, status=201)

    def partial_update(self, request: Request, pk: str) -> Response:
        """By whoever made it: it shows what they may see."""
        who = caller(request)
        report = _report(who, pk)
        if report.created_by_id != who.user.pk:
            raise Forbidden("Only whoever made a report may change it.")
        serializer = self.get_serializer(report, data=request.data, partial=True)
        serializer.is_valid(raise_exception=True)
        return Response(self.get_serializer(saving.change(report, who, **serializer.validated_data)).data)

    def destroy(self, request: Request, pk: str) -> Response:
        """By whoever made it, or an admin or owner. Its runs go with it."""
        who = caller(request)
        report = _report(who, pk)
        if report.created_by_id != who.user.pk and not who.membership.may_administer:
            raise Forbidden("Only whoever made a report, and admins and owners, may delete it.")
        saving.delete(report)
        return Response(status=204)

    @extend_schema(
        request=NothingSerializer, parameters=[KEY], responses={200: ReportRunSerializer, 201: ReportRunSerializer}
    )
    @action(detail=True, methods=["post"])
    def run(self, request: Request, pk: str) -> Response:
        """Fix its window as of now. The run gives the same figures whenever it is downloaded."""
        report = _report(caller(request), pk)
        NothingSerializer(data=request.data).is_valid(raise_exception=True)
        key = request.headers.get("Idempotency-Key", "")
        if len(key) > 255 or "\x00" in key:
            raise serializers.ValidationError({"Idempotency-Key": ["It has at most 255 characters."]})
        run, is_new = runs.run_now(report, caller(request), idempotency_key=key)
        return Response(
            ReportRunSerializer(run, context=_seen(report, caller(request))).data, status=201 if is_new else 200
        )

    @extend_schema(parameters=[FORMAT], responses=DOWNLOAD)
    @action(detail=True, methods=["get"])
    def download(self, request: Request, pk: str) -> HttpResponseBase:
        """The report as of now."""
        report = _report(caller(request), pk)
        format_ = _format(request, report.format)
        window = window_of(report, now=timezone.now())

        def read(who: Caller) -> Asked:
            return definitions.of_report(_report(who, pk), window, reader=who)

        return _download(request, read, kind=report.kind, name=report.name, format_=format_)


def _seen(report: Report, who: Caller) -> dict[str, Any]:
    """Whether ``who`` sees as much as the report's maker does."""
    sees_all = sees_fleet(who.user) or who.membership.may_administer or report.created_by_id == who.user.pk
    return {"sees_all": sees_all}


class ReportRunViewSet(StrictQuery, viewsets.GenericViewSet[ReportRun]):
    """The runs of a report, newest first."""

    serializer_class = ReportRunSerializer
    permission_classes = [ReadOrMember]
    scopes_to_read = frozenset({Scope.BILLING})
    http_method_names = ["get", "head", "options"]
    queryset = ReportRun.objects.none()
    filter_backends = []
    lookup_value_regex = UUID

    @property
    def query_parameters(self) -> tuple[str, ...]:  # type: ignore[override]
        return ("format",) if self.action == "download" else ()

    def get_queryset(self) -> QuerySet[ReportRun]:
        return self.queryset

    @extend_schema(parameters=[REPORT])
    def list(self, request: Request, report_pk: str) -> Response:
        report = _report(caller(request), report_pk)
        page = self.paginate_queryset(_runs(report))
        assert page is not None
        shown = ReportRunSerializer(page, many=True, context=_seen(report, caller(request)))
        return self.get_paginated_response(shown.data)

    @extend_schema(parameters=[REPORT])
    def retrieve(self, request: Request, report_pk: str, pk: str) -> Response:
        report = _report(caller(request), report_pk)
        run = get_object_or_404(_runs(report), pk=pk)
        return Response(ReportRunSerializer(run, context=_seen(report, caller(request))).data)

    @extend_schema(parameters=[REPORT, FORMAT], responses=DOWNLOAD)
    @action(detail=True, methods=["get"])
    def download(self, request: Request, report_pk: str, pk: str) -> HttpResponseBase:
        """The calls of its window, or the figures of them."""
        report = _report(caller(request), report_pk)
        run = get_object_or_404(_runs(report), pk=pk)
        format_ = _format(request, run.format)

        def read(who: Caller) -> Asked:
            found = _runs(_report(who, report_pk)).select_related("report")
            return runs.readable(get_object_or_404(found, pk=pk), who)

        return _download(request, read, kind=run.kind, name=report.name, format_=format_)


def _runs(report: Report) -> QuerySet[ReportRun]:
    return ReportRun.objects.filter(workspace_id=report.workspace_id, report=report)
