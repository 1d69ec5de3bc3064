from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db.models import Count, QuerySet
from django.utils import timezone
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import mixins, viewsets
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from llm.api.serializers import LLMSerializer, ProviderListSerializer
from llm.circuits import CIRCUITS
from llm.keys import providers_with_key
from llm.models import LLM, LLMPrice, ProviderName
from llm.paths import PROVIDER_PARAMETER, OfProvider
from synapscale.common.filters import StrictFilterSet
from synapscale.common.parsing import StrictQuery
from workspaces.authentication import caller
from workspaces.permissions import ANY_SCOPE

_KEYLESS = {ProviderName.DEMO.value, ProviderName.PRIVATE.value}
"""Providers that the house needs no key for, or has it elsewhere; listed where there is a model of theirs."""


class LLMFilter(StrictFilterSet):
    class Meta:
        model = LLM
        fields = [
            "provider",
            "name",
            "supports_streaming",
            "supports_function_calling",
            "supports_vision",
            "supports_structured_output",
            "supports_reasoning",
            "supports_prompt_caching",
        ]


class ProviderLLMFilter(LLMFilter):
    class Meta(LLMFilter.Meta):
        exclude = ["provider"]


class LLMViewSet(StrictQuery, mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet[LLM]):
    """The models the workspace may call, with their prices of now."""

    serializer_class = LLMSerializer
    scopes_to_read = ANY_SCOPE
    filterset_class = LLMFilter
    queryset = LLM.objects.none()
    lookup_value_regex = "[0-9a-f-]{36}"

    def get_queryset(self) -> QuerySet[LLM]:
        if self.request.auth is None:
            return self.queryset
        who = caller(self.request)
        return LLM.objects.callable_in(who.workspace, access_token=who.token)

    def get_serializer_context(self) -> dict[str, Any]:
        context = dict(super().get_serializer_context())
        if self.request and self.request.auth is not None:
            who = caller(self.request)
            context["prices"] = LLMPrice.objects.filter(llm__is_active=True).by_llm(timezone.now())
            context["providers"] = providers_with_key(user=who.user, workspace=who.workspace)
        return context


@extend_schema_view(
    list=extend_schema(
        operation_id="llm_provider_models_list",
        parameters=[PROVIDER_PARAMETER],
    )
)
class ProviderLLMViewSet(OfProvider, LLMViewSet):
    """The models of one provider that the workspace may call, with their prices of now."""

    filterset_class = ProviderLLMFilter

    def get_queryset(self) -> QuerySet[LLM]:
        return super().get_queryset().filter(provider=self.kwargs.get("provider", ""))


class ProvidersView(StrictQuery, APIView):
    """The providers, how many of their models the workspace may call, and for which of them the house has a key."""

    scopes_to_read = ANY_SCOPE

    @extend_schema(responses=ProviderListSerializer)
    def get(self, request: Request) -> Response:
        who = caller(request)
        models = LLM.objects.callable_in(who.workspace, access_token=who.token)
        counts = dict(models.order_by().values_list("provider").annotate(n=Count("pk")))
        rows = [
            {
                "name": value,
                "display_name": label,
                "models": counts.get(value, 0),
                "is_configured": value in _KEYLESS or bool(settings.PROVIDERS[value]["api_key"]),
                "circuit": CIRCUITS.state(value),
            }
            for value, label in ProviderName.choices
            if value not in _KEYLESS or value in counts
        ]
        return Response(ProviderListSerializer({"results": rows}).data)
