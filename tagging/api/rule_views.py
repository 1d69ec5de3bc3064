"""Rules that set tags, what they have set, and what people decide about it."""

from __future__ import annotations

from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from synapscale.common.errors import Conflict, NotFound
from synapscale.common.pagination import CursorPagination
from synapscale.common.parsing import StrictQuery
from tagging import links, registry, rules, vocabulary
from tagging.api.filtersets import LinkFilter, RuleFilter
from tagging.api.serializers import ConditionListSerializer, LinkSerializer, RuleSerializer
from tagging.models import TagLink, TagRule
from workspaces.authentication import caller
from workspaces.models import Scope
from workspaces.permissions import ReadOrAdmin, ReadOrMember

_UUID = "[0-9a-f-]{36}"


class NewestFirstPagination(CursorPagination):
    """By ids alone, which are in the order of time: the tenant key serves that, and a merge has no other index to keep."""

    ordering = ("-id",)  # type: ignore[assignment]


class LinkViewSet(StrictQuery, mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet[TagLink]):
    """Which tags are on what the caller sees, and which are suggested: ``?state=suggested``, ``?target_id=``."""

    serializer_class = LinkSerializer
    permission_classes = [ReadOrMember]
    scopes_to_read = {Scope.CHAT, Scope.READ}
    scopes_to_write = {Scope.CHAT}
    filterset_class = LinkFilter
    pagination_class = NewestFirstPagination
    queryset = TagLink.objects.none()
    lookup_value_regex = _UUID

    def get_queryset(self) -> QuerySet[TagLink]:
        if self.request.auth is None:
            return self.queryset
        who = caller(self.request)
        is_reachable = Q(pk__in=[])
        for taggable in registry.all_taggables():
            rows = taggable.reachable(who.user, who.workspace).filter(pk=OuterRef("target_id"))
            is_reachable |= Q(Exists(rows), target_type=taggable.name)
        return TagLink.objects.filter(is_reachable, workspace=who.workspace).select_related("tag")

    @extend_schema(request=None, responses=LinkSerializer)
    @action(detail=True, methods=["post"])
    def accept(self, request: Request, pk: str) -> Response:
        """The tag belongs there. Remembered: the rule leaves it alone from now on."""
        return self._decided(accepts=True)

    @extend_schema(request=None, responses=LinkSerializer)
    @action(detail=True, methods=["post"])
    def reject(self, request: Request, pk: str) -> Response:
        """The tag does not belong there. Remembered: the rule does not set it there again."""
        return self._decided(accepts=False)

    def _decided(self, *, accepts: bool) -> Response:
        link = self.get_object()
        if not link.is_auto:
            raise Conflict("A person set this tag: take it off with tags/remove.", code="not_a_suggestion", status=422)
        links.check_targets(
            [links.Target(link.target_type, link.target_id)], membership=caller(self.request).membership
        )
        rules.decide(link, accepts=accepts, user=caller(self.request).user, now=timezone.now())
        return Response(self.get_serializer(link).data)


class RuleViewSet(StrictQuery, viewsets.ModelViewSet[TagRule]):
    """The workspace's rules. Admins and owners keep them; some come with every workspace, and can be switched off."""

    serializer_class = RuleSerializer
    permission_classes = [ReadOrAdmin]
    scopes_to_read = {Scope.CHAT, Scope.READ}
    scopes_to_write = {Scope.ADMIN}
    http_method_names = ["get", "post", "patch", "delete", "head", "options"]
    filterset_class = RuleFilter
    queryset = TagRule.objects.none()
    lookup_value_regex = _UUID

    def get_queryset(self) -> QuerySet[TagRule]:
        if self.request.auth is None:
            return self.queryset
        return TagRule.objects.filter(workspace=caller(self.request).workspace).select_related("tag")

    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        rules.ensure_builtin(caller(request).workspace.pk)
        page = self.paginate_queryset(self.filter_queryset(self.get_queryset()))
        assert page is not None
        return self.get_paginated_response(self._shown(page, many=True))

    def retrieve(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return Response(self._shown(self.get_object()))

    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        rule = TagRule(workspace=caller(request).workspace, created_by=caller(request).user)
        return Response(self._saved(rule, serializer.validated_data), status=201)

    def partial_update(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        rule = self.get_object()
        serializer = self.get_serializer(rule, data=request.data, partial=True)
        serializer.is_valid(raise_exception=True)
        return Response(self._saved(rule, serializer.validated_data))

    def perform_destroy(self, rule: TagRule) -> None:
        rules.delete(rule)

    @extend_schema(responses=ConditionListSerializer, filters=False)
    @action(detail=False, methods=["get"], pagination_class=None, filterset_class=None)
    def conditions(self, request: Request) -> Response:
        """What rules can look for, and what each can be told."""
        return Response(ConditionListSerializer({"results": rules.all_conditions()}).data)

    def _saved(self, rule: TagRule, given: dict[str, Any]) -> Any:
        if rule.is_builtin and {"condition", "name"} & set(given):
            raise Conflict("Name and condition of a rule that comes with every workspace stay.", code="rule_is_builtin")
        is_new, changed = rule._state.adding, {*given, "updated_at"}
        for name in given.keys() - {"tag"}:
            setattr(rule, name, given[name])
        if "tag" in given:
            label = given["tag"]
            found = vocabulary.resolve([label], workspace_id=rule.workspace_id, field="tag") if label else []
            rule.tag = found[0] if found else None
        if is_new or {"condition", "settings"} & set(given):
            # Not always: a rule can be switched off when nobody knows its condition any more.
            rule.settings = rules.checked(rule.condition, rule.settings)
            changed.add("settings")
        try:
            with transaction.atomic():
                if rule.tag_id is not None and (is_new or "tag" in given):
                    links.hold_tags([rule.tag_id], workspace_id=rule.workspace_id)
                if is_new:
                    rule.save(force_insert=True)
                else:
                    _hold(rule)
                    rule.save(update_fields=changed)
        except IntegrityError:
            others = TagRule.objects.filter(workspace_id=rule.workspace_id, name=rule.name, is_builtin=False)
            if not others.exclude(pk=rule.pk).exists():
                raise
            raise Conflict(f"There is a rule “{rule.name}” already.", code="rule_exists") from None
        return self._shown(rule)

    def _shown(self, found: Any, *, many: bool = False) -> Any:
        rows = found if many else [found]
        records = rules.records(rows)
        return RuleSerializer(found, many=many, context={**self.get_serializer_context(), "records": records}).data


def _hold(rule: TagRule) -> None:
    """Keep a rule until the transaction ends. Raises NotFound when it is gone meanwhile."""
    rows = TagRule.objects.select_for_update(no_key=True).filter(workspace_id=rule.workspace_id, pk=rule.pk)
    if rows.first() is None:
        raise NotFound("There is no such rule any more.")
