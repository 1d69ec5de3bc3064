"""What carries a tag costs, and how it was liked: one tag, or many beside one another."""

from __future__ import annotations

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from conversations import feedback_figures, tag_usage, windows
from conversations.api.feedback import FeedbackFiguresSerializer
from conversations.feedback_figures import Figures
from conversations.models import MessageFeedback
from conversations.tag_usage import Asked, ByModel, Usage
from synapscale.common.money import usd_text
from synapscale.common.parsing import StrictQuery
from tagging import vocabulary
from tagging.asked import MAX_PATTERNS, PARAMETER, patterns_of
from tagging.models import Tag
from workspaces.authentication import Caller, caller
from workspaces.models import Scope

MAX_TAGS = 100


class UsageFiguresSerializer(serializers.Serializer[Any]):
    """Sums over calls; one that fell back to other models counts once for each that was tried."""

    calls = serializers.IntegerField()
    failed = serializers.IntegerField(help_text="Of these calls, how many failed or were lost.")
    input_tokens = serializers.IntegerField()
    output_tokens = serializers.IntegerField()
    total_tokens = serializers.IntegerField()
    cost = serializers.CharField(help_text="What the wallet paid, in USD: an exact decimal.")
    provider_cost = serializers.CharField(help_text="What the providers ask, in USD: an exact decimal.")
    feedback = FeedbackFiguresSerializer()


class ModelUsageSerializer(UsageFiguresSerializer):
    model = serializers.CharField()


class WindowSerializer(serializers.Serializer[Any]):
    start = serializers.DateTimeField()
    end = serializers.DateTimeField()
    tz = serializers.CharField()
    of = serializers.ChoiceField(choices=["workspace", "user"], help_text="Whose calls: all, or the caller's alone.")


class TagReferenceSerializer(serializers.ModelSerializer[Tag]):
    class Meta:
        model = Tag
        fields = ["id", "label", "category"]
        read_only_fields = fields


class TagUsageSerializer(WindowSerializer, UsageFiguresSerializer):
    tag = TagReferenceSerializer()
    models = ModelUsageSerializer(many=True)


class TagRowSerializer(UsageFiguresSerializer):
    tag = TagReferenceSerializer()


class TagsUsageSerializer(WindowSerializer):
    total = UsageFiguresSerializer(help_text="Every call once, however many of the tags it has.")
    models = ModelUsageSerializer(many=True)
    tags = TagRowSerializer(many=True, help_text="The dearest first. A call counts under each of its tags.")
    is_complete = serializers.BooleanField(
        help_text=f"False: more than {MAX_TAGS} tags match, and the rest is left out."
    )


class TagUsageView(StrictQuery, APIView):
    """What one tag costs. Admins and owners see the workspace's figures, everybody else their own."""

    scopes_to_read = scopes_to_write = frozenset({Scope.BILLING})
    query_parameters = windows.PARAMETERS

    @extend_schema(
        operation_id="tags_usage_retrieve",
        parameters=[
            OpenApiParameter("key", OpenApiTypes.STR, "path", description="The tag's id or label."),
            *windows.SCHEMA,
        ],
        responses=TagUsageSerializer,
    )
    def get(self, request: Request, key: str) -> Response:
        who = caller(request)
        tag = vocabulary.find(workspace_id=who.workspace.pk, key=key)
        window = windows.window_of(request.query_params)
        asked = _asked(who, window)
        found = tag_usage.usage_of([tag], asked)
        return Response({"tag": _shown(tag), **_head(who, window), **_with_feedback(found, [tag], asked)})


class TagsUsageView(StrictQuery, APIView):
    """What many tags cost, side by side: ``?tag=customer:*``. A call with two of them counts once in the total."""

    scopes_to_read = scopes_to_write = frozenset({Scope.BILLING})
    query_parameters = (PARAMETER, *windows.PARAMETERS)

    @extend_schema(
        operation_id="tags_usage_list",
        parameters=[
            OpenApiParameter(
                PARAMETER,
                {"type": "array", "items": {"type": "string"}},
                required=True,
                description="Tags, or beginnings of them, like `customer:*`; one or several.",
            ),
            *windows.SCHEMA,
        ],
        responses=TagsUsageSerializer,
    )
    def get(self, request: Request) -> Response:
        who = caller(request)
        tags = _tags(request)
        window = windows.window_of(request.query_params)
        asked = _asked(who, window)
        shown = tags[:MAX_TAGS]
        by_tag = tag_usage.usage_by_tag(shown, asked)
        liked = tag_usage.feedback_of(shown, asked)
        rows = [
            {"tag": _shown(tag), **_figures(by_tag[tag.pk].total), "feedback": liked.get(tag.pk, Figures()).as_json()}
            for tag in shown
        ]
        rows.sort(key=lambda row: (-by_tag[row["tag"]["id"]].total.cost, row["tag"]["label"]))
        total = _with_feedback(tag_usage.usage_of(shown, asked), shown, asked)
        models = total.pop("models")
        return Response(
            {**_head(who, window), "total": total, "models": models, "tags": rows, "is_complete": len(tags) <= MAX_TAGS}
        )


def _tags(request: Request) -> list[Tag]:
    patterns = patterns_of(request.query_params)
    if not patterns:
        raise serializers.ValidationError({PARAMETER: [f"Give 1 to {MAX_PATTERNS} tags, like “customer:*”."]})
    rows = vocabulary.narrowed(Tag.objects.filter(workspace_id=caller(request).workspace.pk), patterns)
    return list(rows.order_by("label")[: MAX_TAGS + 1])


def _asked(who: Caller, window: windows.Window) -> Asked:
    user_id = None if who.membership.may_administer else who.user.pk
    return Asked(workspace_id=who.workspace.pk, start=window.start, end=window.end, user_id=user_id)


def _head(who: Caller, window: windows.Window) -> dict[str, Any]:
    return {**window.as_json(), "of": "workspace" if who.membership.may_administer else "user"}


def _with_feedback(found: ByModel, tags: list[Tag], asked: Asked) -> dict[str, Any]:
    """The sums in all and by model, each with what people think of the answers of these calls."""
    rows = tag_usage.feedback_on(tags, asked) if tags else MessageFeedback.objects.none()
    liked = feedback_figures.figures_by(rows, "message__model_used") if tags else {}
    models = [
        {"model": model, **_figures(usage), "feedback": liked.get(model, Figures()).as_json()}
        for model, usage in found.models.items()
    ]
    in_all = feedback_figures.figures(rows) if tags else Figures()
    return {**_figures(found.total), "feedback": in_all.as_json(), "models": models}


def _figures(usage: Usage) -> dict[str, Any]:
    return {
        "calls": usage.calls,
        "failed": usage.failed,
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "total_tokens": usage.total_tokens,
        "cost": usd_text(usage.cost),
        "provider_cost": usd_text(usage.provider_cost),
    }


def _shown(tag: Tag) -> dict[str, Any]:
    return {"id": tag.pk, "label": tag.label, "category": tag.category}
