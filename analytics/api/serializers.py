"""Shapes of the answers, for the schema."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rest_framework import serializers

from analytics.measures import METRICS, MONEY_METRICS, Metric
from analytics.periods import Granularity


def _field(metric: Metric) -> serializers.Field[Any, Any, Any, Any]:
    said = f"{metric.definition} In {metric.unit}."
    if metric.unit in ("calls", "messages", "tokens"):
        return serializers.IntegerField(help_text=said)
    return serializers.CharField(help_text=said, allow_null=True)


def _figures(names: Iterable[str]) -> dict[str, Any]:
    return {name: _field(METRICS[name]) for name in names}


UsageMetricsSerializer = type("UsageMetricsSerializer", (serializers.Serializer,), _figures(METRICS))
CostMetricsSerializer = type("CostMetricsSerializer", (serializers.Serializer,), _figures(MONEY_METRICS))


class GroupKeySerializer(serializers.Serializer[Any]):
    key = serializers.CharField(allow_null=True, help_text="For links and filters; null where the calls have none.")
    name = serializers.CharField(allow_blank=True)


def _groups() -> dict[str, Any]:
    from analytics.asking import GROUPS

    return {name: GroupKeySerializer(required=False) for name in GROUPS}


class HeadSerializer(serializers.Serializer[Any]):
    start = serializers.DateTimeField()
    end = serializers.DateTimeField()
    tz = serializers.CharField()
    of = serializers.ChoiceField(choices=["user", "workspace", "fleet"], help_text="Whose figures these are.")
    workspace = serializers.UUIDField(allow_null=True)
    granularity = serializers.ChoiceField(choices=list(Granularity), allow_null=True)
    group_by = serializers.ListField(child=serializers.CharField())


class GroupInPeriodSerializer(serializers.Serializer[Any]):
    calls = serializers.IntegerField()
    total_tokens = serializers.IntegerField()
    cost = serializers.CharField()
    provider_cost = serializers.CharField()
    vars().update(_groups())


def _table(name: str, metrics: Any) -> Any:
    group = type(f"{name}GroupSerializer", (metrics,), _groups())
    other = type(f"{name}OtherSerializer", (metrics,), {"groups": serializers.IntegerField()})
    period = type(
        f"{name}PeriodSerializer",
        (metrics,),
        {
            "start": serializers.DateTimeField(),
            "end": serializers.DateTimeField(),
            "groups": GroupInPeriodSerializer(many=True, required=False),
        },
    )
    return type(
        f"{name}TableSerializer",
        (HeadSerializer,),
        {
            "totals": metrics(),
            "groups": group(many=True, required=False),
            "other": other(required=False, allow_null=True, help_text="All groups beyond the limit."),
            "series": period(many=True),
        },
    )


UsageTableSerializer = _table("Usage", UsageMetricsSerializer)
CostTableSerializer = _table("Cost", CostMetricsSerializer)
