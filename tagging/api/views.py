from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from django.db.models import QuerySet
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers as rest_serializers
from rest_framework import viewsets
from rest_framework.decorators import action
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response

from synapscale.common.errors import Forbidden
from synapscale.common.errors import NotFound as NoSuchTag
from synapscale.common.pagination import CursorPagination
from synapscale.common.parsing import StrictQuery
from tagging import links, names, vocabulary
from tagging.api.filtersets import TagFilter
from tagging.api.serializers import (
    AddedSerializer,
    BulkSerializer,
    MatchesSerializer,
    MergedSerializer,
    MergeSerializer,
    RemovedSerializer,
    TagNameSerializer,
    TagSerializer,
)
from tagging.models import Tag
from workspaces.authentication import caller
from workspaces.models import Scope
from workspaces.permissions import ReadOrMember

MAX_MATCHES = 50
DEFAULT_MATCHES = 20
KEY = OpenApiParameter("id", OpenApiTypes.STR, "path", description="The tag's id or its label, like `customer:acme`.")


class LabelPagination(CursorPagination):
    """In the order of labels, which are one of each."""

    ordering = ("label",)  # type: ignore[assignment]

    def decode_cursor(self, request: Any) -> Any:
        cursor = super().decode_cursor(request)
        if cursor is not None and cursor.position is not None:
            try:
                names.parse(str(cursor.position))
            except names.NotATag:
                raise NotFound from None  # which the base class says of all that is no cursor
        return cursor


class TagViewSet(StrictQuery, viewsets.GenericViewSet[Tag]):
    """The tags of the workspace. Members make them and put them on what they see; whoever made one, and admins, change it."""

    serializer_class = TagSerializer
    permission_classes = [ReadOrMember]
    scopes_to_read = {Scope.CHAT, Scope.READ}
    scopes_to_write = {Scope.CHAT}
    http_method_names = ["get", "post", "patch", "delete", "head", "options"]
    pagination_class = LabelPagination
    filterset_class = TagFilter
    queryset = Tag.objects.none()
    lookup_value_regex = "[^/]+"

    @property
    def query_parameters(self) -> tuple[str, ...]:  # type: ignore[override]
        return ("q", "limit") if self.action == "autocomplete" else ()

    def get_queryset(self) -> QuerySet[Tag]:
        if self.request.auth is None:
            return self.queryset
        return Tag.objects.filter(workspace=caller(self.request).workspace)

    def list(self, request: Request) -> Response:
        page = self.paginate_queryset(self.filter_queryset(self.get_queryset()))
        assert page is not None
        return self.get_paginated_response(self._shown(page, many=True))

    @extend_schema(parameters=[KEY])
    def retrieve(self, request: Request, pk: str) -> Response:
        return Response(self._shown(self._tag(pk)))

    def create(self, request: Request) -> Response:
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        who = caller(request)
        tag = vocabulary.create(workspace_id=who.workspace.pk, created_by=who.user, **serializer.validated_data)
        return Response(self._shown(tag), status=201)

    @extend_schema(parameters=[KEY])
    def partial_update(self, request: Request, pk: str) -> Response:
        tag = self._own(pk)
        serializer = self.get_serializer(tag, data=request.data, partial=True)
        serializer.is_valid(raise_exception=True)
        return Response(self._shown(vocabulary.change(tag, **serializer.validated_data)))

    @extend_schema(parameters=[KEY])
    def destroy(self, request: Request, pk: str) -> Response:
        vocabulary.delete(self._own(pk))
        return Response(status=204)

    @extend_schema(parameters=[KEY], request=MergeSerializer, responses=MergedSerializer)
    @action(detail=True, methods=["post"])
    def merge(self, request: Request, pk: str) -> Response:
        """Put another tag on whatever carries this one, and delete this one."""
        source = self._own(pk)
        serializer = MergeSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        try:
            into = self._own(serializer.validated_data["into"])
        except NoSuchTag as error:
            raise NoSuchTag(error.message, details={"into": [error.message]}) from None
        moved = vocabulary.merge(source, into=into)
        return Response({"moved": moved, "tag": self._shown(into)})

    @extend_schema(
        responses=MatchesSerializer,
        filters=False,
        parameters=[
            OpenApiParameter("q", description="How the label, or the value, begins."),
            OpenApiParameter("limit", OpenApiTypes.INT, description=f"1 to {MAX_MATCHES}."),
        ],
    )
    @action(detail=False, methods=["get"], pagination_class=None, filterset_class=None)
    def autocomplete(self, request: Request) -> Response:
        """Tags that begin with what has been typed so far."""
        found = vocabulary.matching(
            request.query_params.get("q", ""), workspace_id=caller(request).workspace.pk, limit=_limit(request)
        )
        return Response({"results": TagNameSerializer(found, many=True).data})

    @extend_schema(request=BulkSerializer, responses=AddedSerializer)
    @action(detail=False, methods=["post"])
    def add(self, request: Request) -> Response:
        """Put every tag on every target: all of it or, if something is unknown, nothing. Doing it again changes nothing."""
        tags, targets = self._pairs(request)
        who = caller(request)
        return Response({"added": links.put(tags, targets, workspace_id=who.workspace.pk, user=who.user)})

    @extend_schema(request=BulkSerializer, responses=RemovedSerializer)
    @action(detail=False, methods=["post"])
    def remove(self, request: Request) -> Response:
        """Take every tag off every target. What a rule had set does not come back."""
        tags, targets = self._pairs(request)
        who = caller(request)
        return Response({"removed": links.take_off(tags, targets, workspace_id=who.workspace.pk, user=who.user)})

    def _pairs(self, request: Request) -> tuple[Sequence[Tag], Sequence[links.Target]]:
        serializer = BulkSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        who, given = caller(request), serializer.validated_data
        targets = list(dict.fromkeys(links.Target(one["type"], one["id"]) for one in given["targets"]))
        links.check_targets(targets, membership=who.membership)
        return vocabulary.resolve(given["tags"], workspace_id=who.workspace.pk), targets

    def _tag(self, key: str) -> Tag:
        return vocabulary.find(workspace_id=caller(self.request).workspace.pk, key=key)

    def _own(self, key: str) -> Tag:
        tag = self._tag(key)
        if not vocabulary.may_change(tag, membership=caller(self.request).membership):
            raise Forbidden("Only who made a tag, and admins, may change it.")
        return tag

    def _shown(self, found: Any, *, many: bool = False) -> Any:
        tags = found if many else [found]
        counted = vocabulary.counts(tags, workspace_id=caller(self.request).workspace.pk)
        context = {**self.get_serializer_context(), "counts": counted}
        return TagSerializer(found, many=many, context=context).data


def _limit(request: Request) -> int:
    given = request.query_params.get("limit", str(DEFAULT_MATCHES))
    if not re.fullmatch("[0-9]{1,3}", given) or not 1 <= int(given) <= MAX_MATCHES:
        raise rest_serializers.ValidationError({"limit": [f"Give a whole number from 1 to {MAX_MATCHES}."]})
    return int(given)
