"""Calls that bring their whole prompt: made on the road of every message, counted, or estimated."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from conversations import estimates, token_counts
from conversations.api.answering import ANSWERS, IDEMPOTENCY_KEY, AnsweringMixin
from conversations.api.one_shot_serializers import (
    AskEstimateSerializer,
    ChatSerializer,
    CountTokensSerializer,
    EstimateListSerializer,
    GenerateSerializer,
    OneShotSerializer,
    TokenCountSerializer,
)
from conversations.offers import Asker
from llm.paths import PROVIDER_PARAMETER, OfProvider
from synapscale.common.parsing import StrictQuery
from synapscale.common.views import AsyncActionsMixin
from workspaces.authentication import caller
from workspaces.models import Scope
from workspaces.permissions import ReadOrMember

_CHAT = frozenset({Scope.CHAT})
_ANSWERED = (
    "Answers `{message, usage, cost}`, as a message of a conversation; with `stream` true, its server-sent events. "
    "The call is kept in the caller's conversation of kind `api`."
)


class OneShotView(AnsweringMixin, StrictQuery, APIView):  # type: ignore[misc]  # its dispatch is a coroutine
    """A call to be made. ``provider`` in the address binds it to the models of that provider."""

    permission_classes = [ReadOrMember]
    scopes_to_read = scopes_to_write = _CHAT
    serializer_class: type[OneShotSerializer]

    def post(self, request: Request, provider: str = "") -> Any:
        serializer = self.serializer_class(data=request.data, context={"provider": provider})
        serializer.is_valid(raise_exception=True)
        return self.answered(serializer.ask())


class GenerateView(OneShotView):
    serializer_class = GenerateSerializer

    @extend_schema(request=GenerateSerializer, responses=ANSWERS, parameters=[IDEMPOTENCY_KEY], description=_ANSWERED)
    def post(self, request: Request, provider: str = "") -> Any:
        return super().post(request, provider)


class ProviderGenerateView(OfProvider, GenerateView):  # type: ignore[misc]
    @extend_schema(
        operation_id="llm_provider_generate_create",
        request=GenerateSerializer,
        responses=ANSWERS,
        parameters=[PROVIDER_PARAMETER, IDEMPOTENCY_KEY],
        description=f"{_ANSWERED} Only a model of the provider answers: `llm`, the default where it is one of the "
        "provider's, or the cheapest that may be called.",
    )
    def post(self, request: Request, provider: str = "") -> Any:
        return super().post(request, provider)


class ChatView(OneShotView):
    serializer_class = ChatSerializer

    @extend_schema(request=ChatSerializer, responses=ANSWERS, parameters=[IDEMPOTENCY_KEY], description=_ANSWERED)
    def post(self, request: Request, provider: str = "") -> Any:
        return super().post(request, provider)


class CountTokensView(AsyncActionsMixin, StrictQuery, APIView):  # type: ignore[misc]  # its dispatch is a coroutine
    """How long a prompt is: by the provider's own count where it gives one for free, else by an estimate."""

    permission_classes = [ReadOrMember]
    scopes_to_read = scopes_to_write = _CHAT

    @extend_schema(request=CountTokensSerializer, responses=TokenCountSerializer)
    def post(self, request: Request, provider: str = "") -> Any:
        who = caller(request)
        serializer = CountTokensSerializer(data=request.data, context={"provider": provider})
        serializer.is_valid(raise_exception=True)
        asker = Asker(who.user, who.workspace, who.token)
        return _counted(token_counts.prepare(asker=asker, ask=serializer.ask()))


class ProviderCountTokensView(OfProvider, CountTokensView):  # type: ignore[misc]
    """The same, of a model of one provider."""

    @extend_schema(
        operation_id="llm_provider_count_tokens_create",
        request=CountTokensSerializer,
        responses=TokenCountSerializer,
        parameters=[PROVIDER_PARAMETER],
    )
    def post(self, request: Request, provider: str = "") -> Any:
        return super().post(request, provider)


class EstimateView(StrictQuery, APIView):
    """What a prompt would cost on each model, before it is sent; the cheapest first."""

    permission_classes = [ReadOrMember]
    scopes_to_read = scopes_to_write = _CHAT

    @extend_schema(request=AskEstimateSerializer, responses=EstimateListSerializer)
    def post(self, request: Request) -> Response:
        who = caller(request)
        serializer = AskEstimateSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        rows = estimates.estimate(
            asker=Asker(who.user, who.workspace, who.token),
            ask=serializer.ask(),
            output_tokens=serializer.validated_data.get("output_tokens"),
            llms=serializer.validated_data.get("models"),
        )
        return Response(EstimateListSerializer({"results": rows}).data)


async def _counted(prepared: token_counts.Countable) -> Response:
    count = await token_counts.count(prepared)
    return Response({"model": str(prepared.llm), "input_tokens": count.tokens, "is_estimate": count.is_estimate})
