"""Access tokens, and who is calling with one."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import django_filters
from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from synapscale.common.errors import Forbidden
from synapscale.common.parsing import StrictQuery
from workspaces import issuing
from workspaces.api.serializers import (
    AccessTokenSerializer,
    MeSerializer,
    NewAccessTokenSerializer,
    RotationSerializer,
)
from workspaces.authentication import Caller, caller
from workspaces.models import AccessToken, Scope
from workspaces.permissions import ANY_SCOPE


class AccessTokenFilter(django_filters.FilterSet):
    user = django_filters.UUIDFilter(field_name="user_id", label="Of one member; admins only.")
    all = django_filters.BooleanFilter(method="pass_on", label="Of the whole workspace; admins only.")

    class Meta:
        model = AccessToken
        fields: list[str] = []

    def pass_on(self, tokens: QuerySet[AccessToken], name: str, value: bool) -> QuerySet[AccessToken]:
        return tokens

    def filter_queryset(self, queryset: QuerySet[AccessToken]) -> QuerySet[AccessToken]:
        tokens = super().filter_queryset(queryset)
        asks_for_others = self.form.cleaned_data["all"] or self.form.cleaned_data["user"]
        return tokens if asks_for_others or self.request is None else tokens.filter(user=self.request.user)


class AccessTokenViewSet(
    StrictQuery, mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet[AccessToken]
):
    """The caller's access tokens for this workspace, revoked ones too.

    Admins and owners, with a token of scope `admin`, also see (`?user=`, `?all=true`) and revoke those of others.
    """

    serializer_class = AccessTokenSerializer
    filterset_class = AccessTokenFilter
    scopes_to_read = scopes_to_write = frozenset({Scope.KEYS})
    http_method_names = ["get", "post", "patch", "delete", "head", "options"]
    queryset = AccessToken.objects.none()
    lookup_value_regex = "[0-9a-f-]{36}"

    def get_queryset(self) -> QuerySet[AccessToken]:
        if self.request.auth is None:
            return self.queryset
        who = caller(self.request)
        tokens = AccessToken.objects.filter(workspace=who.workspace)
        return tokens if _sees_others(who) else tokens.filter(user=who.user)

    def filter_queryset(self, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return super().filter_queryset(queryset) if self.action == "list" else queryset

    @extend_schema(responses={201: NewAccessTokenSerializer})
    def create(self, request: Request, **kwargs: Any) -> Response:
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        rules = dict(serializer.validated_data)
        return self._shown_once(*issuing.issue(by=caller(request).token, name=rules.pop("name"), rules=rules))

    def partial_update(self, request: Request, **kwargs: Any) -> Response:
        token = self._own()
        serializer = self.get_serializer(token, data=request.data, partial=True)
        serializer.is_valid(raise_exception=True)
        token = issuing.change(token=token, by=caller(request).token, changes=serializer.validated_data)
        return Response(self.get_serializer(token).data)

    def destroy(self, request: Request, **kwargs: Any) -> Response:
        """Revoke it, from the next request on; the row stays."""
        issuing.revoke_noted(self.get_object())
        return Response(status=204)

    @extend_schema(request=RotationSerializer, responses={201: NewAccessTokenSerializer})
    @action(detail=True, methods=["post"])
    def rotate(self, request: Request, **kwargs: Any) -> Response:
        """Replace it by a new one with the same rules. The old one is revoked, or expires after `grace_seconds`."""
        token = self._own()
        serializer = RotationSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        grace = timedelta(seconds=serializer.validated_data["grace_seconds"])
        return self._shown_once(*issuing.rotate(token=token, by=caller(request).token, grace=grace))

    def _own(self) -> AccessToken:
        token = self.get_object()
        if token.user_id != caller(self.request).user.pk:
            raise Forbidden("Tokens of others can be revoked, neither changed nor rotated.")
        return token

    def _shown_once(self, token: AccessToken, raw: str) -> Response:
        data = {**self.get_serializer(token).data, "token": raw}
        return Response(data, status=201, headers={"Cache-Control": "no-store"})


class MeView(StrictQuery, APIView):
    """Who is calling: the user, the workspace with the role in it, and the token's rules."""

    scopes_to_read = ANY_SCOPE
    scopes_to_write = frozenset({Scope.KEYS})

    @extend_schema(responses=MeSerializer)
    def get(self, request: Request) -> Response:
        return Response(self._serializer(request).data)

    @extend_schema(request=MeSerializer, responses=MeSerializer)
    def patch(self, request: Request) -> Response:
        serializer = self._serializer(request, data=request.data, partial=True)
        serializer.is_valid(raise_exception=True)
        serializer.save()
        return Response(serializer.data)

    def _serializer(self, request: Request, **kwargs: Any) -> MeSerializer:
        who = caller(request)
        return MeSerializer(who.user, context={"caller": who}, **kwargs)


def _sees_others(who: Caller) -> bool:
    return who.membership.may_administer and Scope.ADMIN in who.token.scopes
