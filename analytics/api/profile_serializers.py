"""Shapes of what is said of one user, workspace, conversation or model, for the schema."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from analytics import health
from analytics.api.serializers import GroupKeySerializer, HeadSerializer, UsageMetricsSerializer
from analytics.models import HealthState


class KeyedUsageSerializer(UsageMetricsSerializer, GroupKeySerializer):
    """Figures of one of its kind."""


class OpinionsSerializer(serializers.Serializer[Any]):
    """``conversations.feedback_figures`` of the answers."""

    count = serializers.IntegerField()
    up = serializers.IntegerField()
    down = serializers.IntegerField()
    negative = serializers.IntegerField()
    average_stars = serializers.CharField(allow_null=True, help_text="To two places.")
    stars = serializers.DictField(child=serializers.IntegerField())
    categories = serializers.DictField(child=serializers.IntegerField())
    satisfaction = serializers.CharField(allow_null=True, help_text="Positive of all that were positive or negative.")


class FavoriteSerializer(GroupKeySerializer):
    calls = serializers.IntegerField()
    share = serializers.CharField(help_text="Of all their calls, from 0 to 1.")


class PersonSerializer(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    email = serializers.EmailField()
    name = serializers.CharField()


class TokensSerializer(serializers.Serializer[Any]):
    input = serializers.IntegerField()
    cached_input = serializers.IntegerField()
    output = serializers.IntegerField()
    reasoning = serializers.IntegerField()
    total = serializers.IntegerField()


class PercentilesSerializer(serializers.Serializer[Any]):
    p50 = serializers.IntegerField(allow_null=True, help_text="Median time to the whole answer, in ms.")
    p95 = serializers.IntegerField(allow_null=True)
    p99 = serializers.IntegerField(allow_null=True)
    average = serializers.CharField(allow_null=True, help_text="In ms.")


class LatencySerializer(PercentilesSerializer):
    average_first_token = serializers.CharField(allow_null=True, help_text="Mean time to the first token, in ms.")


class UserProfileSerializer(HeadSerializer):
    user = PersonSerializer()
    total_messages = serializers.IntegerField()
    total_cost = serializers.CharField(help_text="What the wallet paid, in USD.")
    favorite_model = FavoriteSerializer(allow_null=True, help_text="The one with most calls.")
    tokens = TokensSerializer()
    latency = LatencySerializer()
    own_key_share = serializers.CharField(allow_null=True)
    feedback = OpinionsSerializer(help_text="On their answers; members see their own and what is public.")
    totals = UsageMetricsSerializer()
    models = KeyedUsageSerializer(many=True)


class TeamUsageSerializer(serializers.Serializer[Any]):
    members = serializers.IntegerField()
    active_users = serializers.IntegerField(help_text="Who called a model in the window.")
    users = KeyedUsageSerializer(many=True, help_text="The dearest first, at most 200.")
    is_complete = serializers.BooleanField()


class CostBreakdownSerializer(serializers.Serializer[Any]):
    providers = KeyedUsageSerializer(many=True)
    models = KeyedUsageSerializer(many=True)


class WorkspaceProfileSerializer(HeadSerializer):
    name = serializers.CharField()
    totals = UsageMetricsSerializer()
    team_usage = TeamUsageSerializer()
    cost_breakdown = CostBreakdownSerializer()
    top_users = KeyedUsageSerializer(many=True, help_text="The ten dearest.")
    tags = KeyedUsageSerializer(
        many=True, help_text="The ten tags that people have put on most; a call counts under each of its tags."
    )
    agents = KeyedUsageSerializer(many=True)
    feedback = OpinionsSerializer()


class ConversationProfileSerializer(HeadSerializer):
    of = serializers.ChoiceField(choices=["conversation"], help_text="All of its calls, whoever made them.")
    conversation = serializers.UUIDField()
    total_messages = serializers.IntegerField()
    total_tokens = serializers.IntegerField()
    conversation_cost = serializers.CharField(help_text="What the wallet paid, in USD.")
    models_used = KeyedUsageSerializer(many=True)
    totals = UsageMetricsSerializer()


class RatesSerializer(serializers.Serializer[Any]):
    input_usd_per_mtok = serializers.CharField()
    output_usd_per_mtok = serializers.CharField()


class ModelFiguresSerializer(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    model = serializers.CharField()
    provider = serializers.CharField()
    is_active = serializers.BooleanField()
    usage = UsageMetricsSerializer()
    latency = PercentilesSerializer()
    tokens_per_second = serializers.CharField(allow_null=True)
    error_rate = serializers.CharField(allow_null=True)
    satisfaction = serializers.CharField(allow_null=True, help_text="Positive of all that were positive or negative.")
    feedback = OpinionsSerializer()
    cost_per_positive = serializers.CharField(
        allow_null=True, help_text="Provider cost of all its calls / answers rated positively, in USD."
    )
    price = RatesSerializer(allow_null=True, help_text="Of now.")


class ModelProfileSerializer(HeadSerializer, ModelFiguresSerializer):
    pass


class ComparisonSerializer(HeadSerializer):
    models = ModelFiguresSerializer(many=True, help_text="The most used first.")


class TopModelSerializer(GroupKeySerializer):
    calls = serializers.IntegerField()
    cost = serializers.CharField()


class OpenHoldsSerializer(serializers.Serializer[Any]):
    count = serializers.IntegerField()
    amount = serializers.CharField(help_text="Reserved for calls under way, in USD.")


class PulseSerializer(serializers.Serializer[Any]):
    at = serializers.DateTimeField()
    of = serializers.ChoiceField(choices=["user", "workspace", "fleet"], help_text="Whose figures these are.")
    minutes = serializers.IntegerField()
    requests_per_minute = serializers.CharField()
    average_cost_per_request = serializers.CharField(allow_null=True)
    error_rate = serializers.CharField(allow_null=True)
    average_latency_ms = serializers.CharField(allow_null=True)
    calls = serializers.IntegerField()
    failed = serializers.IntegerField()
    cost = serializers.CharField()
    top_models = TopModelSerializer(many=True)
    in_flight_calls = serializers.IntegerField()
    open_holds = OpenHoldsSerializer()


class CheckSerializer(serializers.Serializer[Any]):
    status = serializers.ChoiceField(choices=HealthState.Status.choices)
    since = serializers.DateTimeField()
    value = serializers.JSONField(required=False, help_text="Figures, for staff.")
    detail = serializers.CharField(required=False, help_text="For staff.")


class ChecksSerializer(serializers.Serializer[Any]):
    vars().update({name: CheckSerializer() for name in health.CHECKS})


class HealthSerializer(serializers.Serializer[Any]):
    at = serializers.DateTimeField()
    status = serializers.ChoiceField(
        choices=HealthState.Status.choices,
        help_text="`down` where no model can be called, `degraded` where a check fails.",
    )
    checks = ChecksSerializer()
