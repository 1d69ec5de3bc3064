from __future__ import annotations

import django_filters
from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, viewsets
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from billing import ledger
from billing.api.serializers import BillingEventSerializer, WalletSerializer
from billing.models import BillingEvent
from synapscale.common.filters import StrictFilterSet
from synapscale.common.parsing import StrictQuery
from workspaces.authentication import caller
from workspaces.models import Scope


class WalletView(StrictQuery, APIView):
    """The workspace's balance, and what of it is reserved."""

    scopes_to_read = {Scope.BILLING}

    @extend_schema(responses=WalletSerializer)
    def get(self, request: Request) -> Response:
        return Response(WalletSerializer(ledger.wallet_of(caller(request).workspace.pk)).data)


class BillingEventFilter(StrictFilterSet):
    created_after = django_filters.IsoDateTimeFilter(field_name="created_at", lookup_expr="gte")
    created_before = django_filters.IsoDateTimeFilter(field_name="created_at", lookup_expr="lt")

    class Meta:
        model = BillingEvent
        fields = ["event_type", "reference"]


class BillingEventViewSet(
    StrictQuery, mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet[BillingEvent]
):
    """The workspace's ledger, newest first. Members and viewers see their own charges, admins and owners everything."""

    serializer_class = BillingEventSerializer
    scopes_to_read = {Scope.BILLING}
    filterset_class = BillingEventFilter
    queryset = BillingEvent.objects.none()
    lookup_value_regex = "[0-9a-f-]{36}"

    def get_queryset(self) -> QuerySet[BillingEvent]:
        if self.request.auth is None:
            return self.queryset
        who = caller(self.request)
        events = BillingEvent.objects.filter(workspace=who.workspace).select_related("original")
        return events if who.membership.may_administer else events.filter(user=who.user)
