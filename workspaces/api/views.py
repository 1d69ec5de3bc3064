from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, viewsets
from rest_framework.generics import get_object_or_404
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response

from synapscale.common.parsing import StrictQuery
from workspaces import members
from workspaces.api.serializers import MemberSerializer, NewWorkspaceSerializer, WorkspaceSerializer
from workspaces.authentication import caller
from workspaces.models import Membership, Scope, Workspace
from workspaces.permissions import ReadOrAdmin


class WorkspaceViewSet(
    StrictQuery,
    mixins.ListModelMixin,
    mixins.RetrieveModelMixin,
    mixins.UpdateModelMixin,
    viewsets.GenericViewSet[Workspace],
):
    """The token's workspace and its rules. Admins and owners may change the rules; everybody may make another one."""

    serializer_class = WorkspaceSerializer
    permission_classes = [ReadOrAdmin]
    scopes_to_read = {Scope.READ, Scope.ADMIN}
    scopes_to_write = {Scope.ADMIN}
    queryset = Workspace.objects.none()
    http_method_names = ["get", "post", "patch", "head", "options"]

    def get_permissions(self) -> Any:
        # Whoever makes one owns it. What they may do in the token's has nothing to do with it.
        return [IsAuthenticated()] if self.action == "create" else super().get_permissions()

    def get_queryset(self) -> QuerySet[Workspace]:
        if self.request.auth is None:  # the schema generator asks without a caller
            return self.queryset
        return Workspace.objects.filter(pk=caller(self.request).workspace.pk)

    @extend_schema(request=NewWorkspaceSerializer, responses={201: NewWorkspaceSerializer})
    def create(self, request: Request) -> Response:
        serializer = NewWorkspaceSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        given = serializer.validated_data
        workspace = members.open_workspace(
            owner=caller(request).user,
            name=given["name"],
            slug=given["slug"],
            kind=given.get("kind", Workspace.Kind.INDIVIDUAL),
        )
        return Response(NewWorkspaceSerializer(workspace).data, status=201)


class MemberViewSet(StrictQuery, viewsets.GenericViewSet[Membership]):
    """The members of the token's workspace. Admins and owners keep them; everybody may leave."""

    serializer_class = MemberSerializer
    scopes_to_read = {Scope.READ, Scope.ADMIN}
    scopes_to_write = {Scope.ADMIN}
    queryset = Membership.objects.none()
    lookup_value_regex = "[0-9a-f-]{36}"

    def get_queryset(self) -> QuerySet[Membership]:
        if self.request.auth is None:
            return self.queryset
        workspace = get_object_or_404(
            Workspace.objects.filter(pk=caller(self.request).workspace.pk), pk=self.kwargs["workspace_pk"]
        )
        return workspace.memberships.select_related("user")

    def list(self, request: Request, **kwargs: Any) -> Response:
        page = self.paginate_queryset(self.filter_queryset(self.get_queryset()))
        return self.get_paginated_response(self.get_serializer(page, many=True).data)

    def retrieve(self, request: Request, pk: str, **kwargs: Any) -> Response:
        return Response(self.get_serializer(self.get_object()).data)

    def create(self, request: Request, **kwargs: Any) -> Response:
        self.get_queryset()
        ReadOrAdmin.require(request)
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        member = members.add_member(
            workspace=caller(request).workspace,
            email=serializer.validated_data["user"]["email"],
            role=serializer.validated_data.get("role", Membership.Role.MEMBER),
            by=caller(request).membership,
        )
        return Response(self.get_serializer(member).data, status=201)

    def partial_update(self, request: Request, pk: str, **kwargs: Any) -> Response:
        member = self.get_object()
        ReadOrAdmin.require(request)
        serializer = self.get_serializer(member, data=request.data, partial=True)
        serializer.is_valid(raise_exception=True)
        if "role" in serializer.validated_data:
            member = members.change_role(
                membership=member, role=serializer.validated_data["role"], by=caller(request).membership
            )
        return Response(self.get_serializer(member).data)

    def destroy(self, request: Request, pk: str, **kwargs: Any) -> Response:
        members.remove_member(membership=self.get_object(), by=caller(request).membership)
        return Response(status=204)
