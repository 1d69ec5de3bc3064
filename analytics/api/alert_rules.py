"""Rules that fire alerts: everybody in the workspace reads its own and the built-in ones; admins and owners keep its own,
operators theirs.
"""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from analytics.alerting import conditions, rules
from analytics.api.alert_serializers import AlertConditionListSerializer, AlertRuleSerializer
from analytics.api.alerts import UUID, ByIdPagination
from analytics.api.permissions import ReadOrKeeper, is_operator
from analytics.models import AlertRule
from synapscale.common.errors import Conflict, Forbidden
from synapscale.common.filters import StrictFilterSet
from synapscale.common.parsing import StrictQuery
from workspaces.authentication import Caller, caller
from workspaces.models import Scope, Workspace

MAX_PER_WORKSPACE = 50
"""Each costs a statement every time that rules are looked at."""


def workspace_of(who: Caller, given: dict[str, Any], *, permission: str) -> Workspace | None:
    """Whose a new row is: what ``owner`` says, which is taken out of ``given``; operators need ``permission`` for one of
    theirs. Raises Forbidden.
    """
    if given.pop("owner", "workspace") == "workspace":
        if not who.membership.may_administer:
            raise Forbidden(ReadOrKeeper.message)
        return who.workspace
    if not is_operator(who, permission):
        raise Forbidden("Only operators may do this.")
    return None


def require_ownership(who: Caller, row: Any) -> None:
    """Raises Forbidden where the caller may see ``row``, but not change it. Operators keep their own: what is a
    workspace's they change as its admins, if they are.
    """
    if row.workspace_id is None and not is_operator(who, f"change_{row._meta.model_name}"):
        raise Forbidden("This is the operators'.")
    if row.workspace_id is not None and not who.membership.may_administer:
        raise Forbidden(ReadOrKeeper.message)


class AlertRuleFilter(StrictFilterSet):
    class Meta:
        model = AlertRule
        fields = ["condition", "scope", "severity", "is_active", "is_builtin"]


class AlertRuleViewSet(StrictQuery, viewsets.ModelViewSet[AlertRule]):
    """What is watched, and from where on it is too much."""

    serializer_class = AlertRuleSerializer
    permission_classes = [ReadOrKeeper]
    kept = "alertrule"
    scopes_to_read = {Scope.BILLING}
    scopes_to_write = {Scope.ADMIN}
    http_method_names = ["get", "post", "patch", "delete", "head", "options"]
    filterset_class = AlertRuleFilter
    pagination_class = ByIdPagination
    queryset = AlertRule.objects.none()
    lookup_value_regex = UUID

    def get_queryset(self) -> QuerySet[AlertRule]:
        if self.request.auth is None:
            return self.queryset
        who = caller(self.request)
        return rules.visible_to(who.workspace, is_operator=is_operator(who, "view_alertrule"))

    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        rules.ensure_builtin()
        return super().list(request, *args, **kwargs)

    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        given, who = dict(serializer.validated_data), caller(request)
        workspace = workspace_of(who, given, permission="add_alertrule")
        with transaction.atomic():
            if workspace:
                Workspace.objects.select_for_update(no_key=True).get(pk=workspace.pk)  # counted one after another
                if AlertRule.objects.filter(workspace=workspace).count() >= MAX_PER_WORKSPACE:
                    raise Conflict(f"There are {MAX_PER_WORKSPACE} rules already.", code="too_many_rules")
            rule = rules.save(AlertRule(workspace=workspace, created_by=who.user), given)
        return Response(self.get_serializer(rule).data, status=201)

    def partial_update(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        rule = self.get_object()
        require_ownership(caller(request), rule)
        serializer = self.get_serializer(rule, data=request.data, partial=True)
        serializer.is_valid(raise_exception=True)
        return Response(self.get_serializer(rules.save(rule, serializer.validated_data)).data)

    def perform_destroy(self, rule: AlertRule) -> None:
        require_ownership(caller(self.request), rule)
        rules.delete(rule)

    @extend_schema(responses=AlertConditionListSerializer, filters=False)
    @action(detail=False, methods=["get"], pagination_class=None, filterset_class=None)
    def conditions(self, request: Request) -> Response:
        """What rules can watch for, and what each can be told."""
        found = [
            {
                "key": one.key,
                "title": one.title,
                "unit": one.unit,
                "scopes": one.scopes,
                "settings": [
                    {"name": name, "help": setting.help, "default": setting.default}
                    for name, setting in one.settings.items()
                ],
            }
            for one in conditions.all_conditions()
        ]
        return Response(AlertConditionListSerializer({"results": found}).data)
