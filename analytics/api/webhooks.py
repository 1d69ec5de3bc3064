"""Webhook endpoints: for admins and owners of the workspace, and for operators."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from django.db.models import QuerySet
from django.views.decorators.debug import sensitive_variables
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import viewsets
from rest_framework.decorators import action
from rest_framework.generics import get_object_or_404
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from analytics.alerting import endpoints
from analytics.api.alert_rules import require_ownership, workspace_of
from analytics.api.alert_serializers import NewWebhookSerializer, WebhookSerializer, WebhookTestSerializer
from analytics.api.alerts import UUID, ByIdPagination
from analytics.api.permissions import Keeper, is_operator
from analytics.models import WebhookEndpoint
from synapscale.common.filters import StrictFilterSet
from synapscale.common.parsing import StrictQuery
from synapscale.common.views import AsyncActionsMixin
from workspaces.authentication import Caller, caller
from workspaces.models import Scope


class WebhookFilter(StrictFilterSet):
    class Meta:
        model = WebhookEndpoint
        fields = ["is_active"]


def visible_to(who: Caller) -> QuerySet[WebhookEndpoint]:
    return endpoints.visible_to(who.workspace, is_operator=is_operator(who, "view_webhookendpoint"))


class WebhookViewSet(StrictQuery, viewsets.ModelViewSet[WebhookEndpoint]):
    """Addresses that alerts are posted to, signed (docs/alerts.md)."""

    serializer_class = WebhookSerializer
    permission_classes = [Keeper]
    kept = "webhookendpoint"
    scopes_to_read = {Scope.BILLING}
    scopes_to_write = {Scope.ADMIN}
    http_method_names = ["get", "post", "patch", "delete", "head", "options"]
    filterset_class = WebhookFilter
    pagination_class = ByIdPagination
    queryset = WebhookEndpoint.objects.none()
    lookup_value_regex = UUID

    def get_queryset(self) -> QuerySet[WebhookEndpoint]:
        if self.request.auth is None:
            return self.queryset
        return visible_to(caller(self.request))

    @extend_schema(responses={201: NewWebhookSerializer})
    @sensitive_variables("secret")
    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """The answer carries the secret, which is not shown again."""
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        given, who = dict(serializer.validated_data), caller(request)
        workspace = workspace_of(who, given, permission="change_webhookendpoint")
        endpoint, secret = endpoints.create(WebhookEndpoint(workspace=workspace, created_by=who.user, **given))
        return self._with(secret, endpoint, status=201)

    def partial_update(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        endpoint = self._own()
        serializer = self.get_serializer(endpoint, data=request.data, partial=True)
        serializer.is_valid(raise_exception=True)
        return Response(self.get_serializer(endpoints.change(endpoint, serializer.validated_data)).data)

    def perform_destroy(self, endpoint: WebhookEndpoint) -> None:
        require_ownership(caller(self.request), endpoint)
        endpoints.delete(endpoint)

    @extend_schema(request=None, responses=NewWebhookSerializer)
    @action(detail=True, methods=["post"])
    @sensitive_variables("secret")
    def rotate(self, request: Request, pk: str) -> Response:
        """A new secret, in the answer alone; from now on nothing is signed with the old one."""
        endpoint = self._own()
        return self._with(endpoints.rotate(endpoint), endpoint)

    def _own(self) -> WebhookEndpoint:
        endpoint = self.get_object()
        require_ownership(caller(self.request), endpoint)
        return endpoint

    @sensitive_variables("secret")
    def _with(self, secret: str, endpoint: WebhookEndpoint, status: int = 200) -> Response:
        context = {**self.get_serializer_context(), "secret": secret}
        return Response(NewWebhookSerializer(endpoint, context=context).data, status=status)


@extend_schema(parameters=[OpenApiParameter("id", OpenApiTypes.UUID, location="path")])
class WebhookTestView(AsyncActionsMixin, StrictQuery, APIView):  # type: ignore[misc]  # its dispatch is a coroutine
    """Tries an endpoint out."""

    kept = "webhookendpoint"
    permission_classes = [Keeper]
    scopes_to_read = scopes_to_write = frozenset({Scope.ADMIN})

    @extend_schema(request=None, responses=WebhookTestSerializer)
    def post(self, request: Request, id: str) -> Coroutine[Any, Any, Response]:
        """Post a `ping` now, switched off or not, and say what became of it."""
        endpoint = get_object_or_404(visible_to(caller(request)), pk=id)
        require_ownership(caller(request), endpoint)
        return self._tested(endpoint)

    async def _tested(self, endpoint: WebhookEndpoint) -> Response:
        answer, milliseconds = await endpoints.test(endpoint)
        said = {
            "delivered": not answer.error,
            "status": answer.status,
            "error": answer.error,
            "milliseconds": milliseconds,
        }
        return Response(WebhookTestSerializer(said).data)
