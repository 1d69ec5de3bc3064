"""Feedback as a whole: a list of it, what it says in all, and an export for evaluating models."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import django_filters
from django import forms
from django.core.exceptions import ValidationError
from django.core.handlers.asgi import ASGIRequest
from django.db.models import QuerySet
from django.http import StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema, extend_schema_field
from rest_framework import exceptions, mixins, serializers, viewsets
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from conversations import feedback_export, feedback_figures, feedback_summary, windows
from conversations.models import MessageFeedback
from conversations.models.feedback import NEGATIVE
from synapscale.common.filters import StrictBooleanFilter, StrictFilterSet
from synapscale.common.parsing import StrictQuery
from workspaces.authentication import caller
from workspaces.models import Scope
from workspaces.permissions import ReadOrAdmin

_UTC = ZoneInfo("UTC")


class _Moment(forms.Field):
    """A date (its midnight in UTC) or a time."""

    def to_python(self, value: Any) -> datetime | None:
        if value in self.empty_values:
            return None
        try:
            return windows.moment(value, "", _UTC)
        except exceptions.ValidationError:
            raise ValidationError(windows.SAID, code="invalid") from None


@extend_schema_field(OpenApiTypes.STR)
class MomentFilter(django_filters.IsoDateTimeFilter):
    field_class = _Moment  # type: ignore[assignment]  # any form field will do


@extend_schema_field({"type": "integer", "minimum": 1, "maximum": 5})
class StarsFilter(django_filters.TypedChoiceFilter):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(choices=[(str(n), str(n)) for n in feedback_figures.STARS], coerce=int, **kwargs)


class FeedbackFilter(StrictFilterSet):
    thumb = django_filters.ChoiceFilter(choices=MessageFeedback.Thumb.choices)
    category = django_filters.ChoiceFilter(choices=MessageFeedback.Category.choices)
    stars = StarsFilter()
    is_public = StrictBooleanFilter()
    negative = StrictBooleanFilter(method="filter_negative", label="Thumb down, one or two stars, unsafe or wrong.")
    user = django_filters.UUIDFilter(field_name="user_id")
    model = django_filters.CharFilter(field_name="message__model_used", label="Like `openai/gpt-6-astra`.")
    agent = django_filters.UUIDFilter(field_name="message__conversation__agent_id")
    start = MomentFilter(field_name="created_at", lookup_expr="gte", label="From then on: a date or a time.")
    end = MomentFilter(field_name="created_at", lookup_expr="lt", label="Before then: a date or a time.")

    class Meta:
        model = MessageFeedback
        fields: list[str] = []

    def filter_negative(self, rows: QuerySet[MessageFeedback], name: str, value: bool) -> QuerySet[MessageFeedback]:
        return rows.filter(NEGATIVE) if value else rows.filter(~NEGATIVE)


class ListedFeedbackSerializer(serializers.ModelSerializer[MessageFeedback]):
    """Feedback of anybody. ``text`` and ``suggestion`` are null where they are not for the caller to read."""

    conversation = serializers.UUIDField(source="message.conversation_id")
    model = serializers.CharField(source="message.model_used", help_text="Which model answered.")
    agent = serializers.UUIDField(source="message.conversation.agent_id", allow_null=True)
    text = serializers.SerializerMethodField()
    suggestion = serializers.SerializerMethodField()
    is_negative = serializers.BooleanField()
    review_status = serializers.SerializerMethodField(
        help_text="For admins and owners: “open”, “done”, or empty where there is nothing to review. Null for others."
    )

    class Meta:
        model = MessageFeedback
        fields = [
            "id",
            "message",
            "conversation",
            "model",
            "agent",
            "user",
            "thumb",
            "stars",
            "category",
            "text",
            "suggestion",
            "is_public",
            "is_negative",
            "review_status",
            "created_at",
            "updated_at",
        ]
        # A blank one is described only where it could be written.
        read_only_fields = [name for name in fields if name not in {"thumb", "category"}]

    def get_text(self, feedback: MessageFeedback) -> str | None:
        return self._readable(feedback, "text")

    def get_suggestion(self, feedback: MessageFeedback) -> str | None:
        return self._readable(feedback, "suggestion")

    def get_review_status(self, feedback: MessageFeedback) -> str | None:
        return feedback.review_status if caller(self.context["request"]).membership.may_administer else None

    @staticmethod
    def _readable(feedback: Any, name: str) -> str | None:
        text: str = getattr(feedback, name)
        return text if feedback.shows_words else None


class FeedbackListView(StrictQuery, mixins.ListModelMixin, viewsets.GenericViewSet[MessageFeedback]):
    """Feedback, newest first: the caller's own, and what is public on answers that they may read. Admins and owners see
    all of the workspace, without the words of what is private.
    """

    serializer_class = ListedFeedbackSerializer
    scopes_to_read = {Scope.CHAT, Scope.READ}
    filterset_class = FeedbackFilter
    queryset = MessageFeedback.objects.none()

    def get_queryset(self) -> QuerySet[MessageFeedback]:
        if self.request.auth is None:
            return self.queryset
        membership = caller(self.request).membership
        rows = MessageFeedback.objects.visible_to(membership).with_words_for(membership)
        return rows.select_related("message__conversation").defer(*_unshown("message"))


def _unshown(path: str) -> Iterable[str]:
    """The long columns of an answer and its conversation."""
    message = ("content", "attachments", "tool_calls", "metadata", "call", "error_message")
    return [f"{path}__{name}" for name in (*message, "conversation__context", "conversation__settings")]


class FeedbackFiguresSerializer(serializers.Serializer[Any]):
    """What feedback says in all."""

    count = serializers.IntegerField()
    up = serializers.IntegerField()
    down = serializers.IntegerField()
    negative = serializers.IntegerField()
    average_stars = serializers.CharField(allow_null=True, help_text="Of those that gave stars, to two places.")
    stars = serializers.DictField(child=serializers.IntegerField())
    categories = serializers.DictField(child=serializers.IntegerField())
    satisfaction = serializers.CharField(
        allow_null=True, help_text="The share of the positive among the positive and the negative, from 0 to 1."
    )


class FeedbackGroupSerializer(FeedbackFiguresSerializer):
    key = serializers.CharField(allow_null=True, help_text="The model, the id of the agent or of the tag, or the day.")
    name = serializers.CharField(help_text="The same for people to read.")


class FeedbackSummarySerializer(serializers.Serializer[Any]):
    start = serializers.DateTimeField()
    end = serializers.DateTimeField()
    tz = serializers.CharField()
    total = FeedbackFiguresSerializer()
    groups = FeedbackGroupSerializer(many=True)


class FeedbackSummaryView(StrictQuery, APIView):
    """What the feedback says in all that the caller may see, and by model, agent, day or tag."""

    scopes_to_read = frozenset({Scope.CHAT, Scope.READ})
    query_parameters = ("group_by", *windows.PARAMETERS)

    @extend_schema(
        parameters=[OpenApiParameter("group_by", enum=[*feedback_summary.GROUPINGS]), *windows.SCHEMA],
        responses=FeedbackSummarySerializer,
    )
    def get(self, request: Request) -> Response:
        who, window = caller(request), windows.window_of(request.query_params)
        group_by = request.query_params.get("group_by", "")
        if group_by and group_by not in feedback_summary.GROUPINGS:
            said = f"Give one of {', '.join(feedback_summary.GROUPINGS)}."
            raise exceptions.ValidationError({"group_by": [said]})
        rows = feedback_summary.within(MessageFeedback.objects.visible_to(who.membership), window)
        groups = feedback_summary.GROUPINGS[group_by](rows, window, who.workspace.pk) if group_by else []
        return Response(
            {
                **window.as_json(),
                "total": feedback_figures.figures(rows).as_json(),
                "groups": [group.as_json() for group in groups],
            }
        )


class FeedbackExportView(StrictQuery, GenericAPIView[MessageFeedback]):
    """All feedback of the workspace, for admins and owners: a JSON object a line, the oldest first."""

    scopes_to_read = frozenset({Scope.READ, Scope.ADMIN})
    filterset_class = FeedbackFilter
    query_parameters = tuple(FeedbackFilter.base_filters)
    queryset = MessageFeedback.objects.none()
    pagination_class = None

    @extend_schema(
        operation_id="feedback_export",
        filters=True,
        responses={(200, "application/x-ndjson"): OpenApiResponse(OpenApiTypes.STR, "A JSON object a line.")},
    )
    def get(self, request: Request) -> StreamingHttpResponse:
        ReadOrAdmin.require(request)
        workspace = caller(request).workspace
        rows = self.filter_queryset(MessageFeedback.objects.filter(workspace=workspace))
        # Under WSGI there is no loop that could wait for the database.
        reads = feedback_export.stream if isinstance(request._request, ASGIRequest) else feedback_export.lines
        response = StreamingHttpResponse(reads(rows, workspace=workspace), content_type="application/x-ndjson")
        name = f"feedback-{workspace.slug}-{datetime.now(UTC):%Y-%m-%d}.jsonl"
        response["Content-Disposition"] = f'attachment; filename="{name}"'
        response["Cache-Control"] = "no-store"
        return response
