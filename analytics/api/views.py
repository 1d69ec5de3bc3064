"""Usage and costs, by whatever they can be told apart by."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from analytics import asking, tables
from analytics.api.serializers import CostTableSerializer, UsageTableSerializer
from analytics.asking import GROUPS
from analytics.measures import METRICS, MONEY_METRICS
from analytics.periods import Granularity
from conversations import windows
from conversations.models import UsageLog
from llm.models import ProviderName
from synapscale.common.parsing import StrictQuery
from workspaces.authentication import caller
from workspaces.models import Scope


def _several(name: str, choices: Any, description: str) -> OpenApiParameter:
    items = {"type": "string", "enum": list(choices)} if choices else {"type": "string"}
    return OpenApiParameter(name, {"type": "array", "items": items}, description=description)


FILTERS = [
    *windows.SCHEMA,
    OpenApiParameter("workspace", description="Its id or slug. Staff see all workspaces without it."),
    OpenApiParameter("user", description="A user's id, or `me`. Members see their own calls alone."),
    OpenApiParameter("llm", description="A model's id, or `provider/name`."),
    OpenApiParameter("provider", enum=ProviderName.values, description="Of the model."),
    OpenApiParameter("agent", description="An agent's id."),
    _several(
        "tag", None, "Only calls that count for such a tag, like `customer:acme` or `topic:*`; of several, for each."
    ),
    _several("key_source", UsageLog.KeySource.values, "On whose key; one or several."),
    _several("status", UsageLog.Status.values, "How the calls ended; one or several."),
]
TABLE = [
    *FILTERS,
    OpenApiParameter("granularity", enum=list(Granularity), description="Of the series; otherwise `day`."),
    _several("group_by", GROUPS, "Up to three, repeated or parted by commas."),
    OpenApiParameter(
        "limit", int, description="How many groups are shown, the dearest first; otherwise 20, at most 200."
    ),
]


class _TableView(StrictQuery, APIView):
    scopes_to_read = scopes_to_write = frozenset({Scope.BILLING})
    query_parameters = asking.PARAMETERS
    metrics: tuple[str, ...] = tuple(METRICS)

    def table(self, request: Request) -> Response:
        asked = asking.asked_for(caller(request), request.query_params, granularity=Granularity.DAY)
        return Response(tables.table_of(asked, names=self.metrics))


class UsageView(_TableView):
    """Calls, tokens, money and speed: totals, groups and a series over time."""

    @extend_schema(operation_id="analytics_usage_retrieve", parameters=TABLE, responses=UsageTableSerializer)
    def get(self, request: Request) -> Response:
        return self.table(request)


class CostsView(_TableView):
    """The money alone: totals, groups and a series over time."""

    metrics = MONEY_METRICS

    @extend_schema(operation_id="analytics_costs_retrieve", parameters=TABLE, responses=CostTableSerializer)
    def get(self, request: Request) -> Response:
        return self.table(request)
