"""Alerts: members see those about themselves, admins and owners those of their workspace, operators all."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import django_filters
from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from analytics.alerting import evaluating
from analytics.api.alert_serializers import AlertSerializer
from analytics.api.permissions import ReadOrKeeper, is_operator
from analytics.models import Alert
from synapscale.common.errors import Forbidden
from synapscale.common.filters import StrictFilterSet
from synapscale.common.pagination import CursorPagination
from synapscale.common.parsing import StrictQuery
from synapscale.common.tenancy import fleet_wide
from workspaces.authentication import caller
from workspaces.models import Scope

UUID = "[0-9a-f-]{36}"


class ByIdPagination(CursorPagination):
    """Ids are in the order of time, and the tenant key serves them."""

    ordering = ("-id",)  # type: ignore[assignment]


class AlertFilter(StrictFilterSet):
    rule = django_filters.UUIDFilter(field_name="rule_id")
    workspace = django_filters.UUIDFilter(field_name="workspace_id", help_text="Operators see all without it.")

    class Meta:
        model = Alert
        fields = ["state", "severity", "subject_kind"]


class AlertViewSet(StrictQuery, mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet[Alert]):
    """What is, or was, over a rule's threshold; the newest first."""

    serializer_class = AlertSerializer
    permission_classes = [ReadOrKeeper]
    kept = "alert"
    scopes_to_read = {Scope.BILLING}
    scopes_to_write = {Scope.ADMIN}
    filterset_class = AlertFilter
    pagination_class = ByIdPagination
    queryset = Alert.objects.none()
    lookup_value_regex = UUID

    def get_queryset(self) -> QuerySet[Alert]:
        if self.request.auth is None:
            return self.queryset
        who, rows = caller(self.request), Alert.objects.select_related("rule")
        if self._is_operators:
            return rows
        rows = rows.filter(workspace=who.workspace)
        return rows if who.membership.may_administer else rows.filter(user=who.user)

    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        with self._reading():
            return super().list(request, *args, **kwargs)

    def retrieve(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        with self._reading():
            return super().retrieve(request, *args, **kwargs)

    @extend_schema(request=None, responses=AlertSerializer)
    @action(detail=True, methods=["post"])
    def acknowledge(self, request: Request, pk: str) -> Response:
        """Say that somebody looks after it. Saying it again changes nothing."""
        who = caller(request)
        with self._reading():
            alert = self.get_object()
        is_ours = alert.workspace_id == who.workspace.pk and who.membership.may_administer
        if not is_ours and not is_operator(who, "change_alert"):
            raise Forbidden(ReadOrKeeper.message)
        evaluating.acknowledge(alert, by=who.user)
        return Response(AlertSerializer(alert).data)

    def _reading(self) -> AbstractContextManager[None]:
        return fleet_wide() if self.request.auth is not None and self._is_operators else nullcontext()

    @property
    def _is_operators(self) -> bool:
        """Whether the caller sees the alerts of all workspaces."""
        return is_operator(caller(self.request), "view_alert")
