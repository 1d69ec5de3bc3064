"""Variables and secrets, of the caller and of the workspace."""

from __future__ import annotations

from typing import Any

import django_filters
from django.db.models import QuerySet
from rest_framework import mixins, viewsets
from rest_framework.request import Request
from rest_framework.response import Response

from synapscale.common.errors import Unprocessable
from synapscale.common.parsing import StrictQuery
from workspaces import variables
from workspaces.api.serializers import VariableSerializer
from workspaces.authentication import caller
from workspaces.models import Scope, User, UserVariable, Workspace
from workspaces.permissions import administered_workspace


class VariableFilter(django_filters.FilterSet):
    class Meta:
        model = UserVariable
        fields = ["category", "name", "is_active"]


class _VariableViewSet(
    StrictQuery, mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet[UserVariable]
):
    """Provider keys are listed among the others, and kept where they can be tried: at the endpoints for them."""

    serializer_class = VariableSerializer
    filterset_class = VariableFilter
    queryset = UserVariable.objects.none()
    lookup_value_regex = "[0-9a-f-]{36}"
    http_method_names = ["get", "post", "patch", "delete", "head", "options"]

    def owner(self) -> User | Workspace:
        raise NotImplementedError

    def get_queryset(self) -> QuerySet[UserVariable]:
        return self.queryset if self.request.auth is None else variables.variables_of(self.owner())

    def create(self, request: Request, **kwargs: Any) -> Response:
        owner = self.owner()
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        _refuse_provider_keys(serializer.validated_data["category"])
        variable = variables.create(owner=owner, **serializer.validated_data)
        return Response(self.get_serializer(variable).data, status=201)

    def partial_update(self, request: Request, **kwargs: Any) -> Response:
        variable = self.get_object()
        _refuse_provider_keys(variable.category)
        serializer = self.get_serializer(variable, data=request.data, partial=True)
        serializer.is_valid(raise_exception=True)
        variable = variables.change(variable=variable, changes=serializer.validated_data)
        return Response(self.get_serializer(variable).data)

    def destroy(self, request: Request, **kwargs: Any) -> Response:
        variable = self.get_object()
        _refuse_provider_keys(variable.category)
        variable.delete()
        return Response(status=204)


class UserVariableViewSet(_VariableViewSet):
    """The caller's own variables and secrets, the same in all of their workspaces."""

    scopes_to_read = scopes_to_write = frozenset({Scope.KEYS})

    def owner(self) -> User:
        return caller(self.request).user


class WorkspaceVariableViewSet(_VariableViewSet):
    """The workspace's variables and secrets: for admins and owners, with a token of scope `admin`."""

    scopes_to_read = scopes_to_write = frozenset({Scope.ADMIN})

    def owner(self) -> Workspace:
        return administered_workspace(self.request, self.kwargs["workspace_pk"])


def _refuse_provider_keys(category: str) -> None:
    if category == UserVariable.Category.API_KEY:
        raise Unprocessable(
            "Provider keys are listed here, and set, replaced, tried and deleted under api-keys.",
            code="provider_key",
            details={"category": [category]},
        )
