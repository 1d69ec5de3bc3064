"""The last minutes, once or again and again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from django.db import DatabaseError
from django.http import StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from analytics import asking, health, pulse
from analytics.api.profile_serializers import HealthSerializer, PulseSerializer
from analytics.api.profiles import WORKSPACE
from analytics.asking import Asked
from synapscale.common.api_errors import error_body
from synapscale.common.db import in_db
from synapscale.common.parsing import StrictQuery
from synapscale.common.sse import event, sse_response
from synapscale.common.views import AsyncActionsMixin, require_asgi
from workspaces.authentication import caller, caller_of, raw_token
from workspaces.models import Scope

MINUTES = OpenApiParameter("minutes", int, description=f"How many; otherwise {pulse.MINUTES}, at most 60.")
SECONDS = OpenApiParameter("seconds", int, description="Between two events; otherwise 5, at most 60.")
LONGEST_SECONDS = 3600
"""A stream ends then; clients connect again."""


def _number(request: Request, name: str, default: int) -> int:
    given = request.query_params.get(name, str(default))
    if not given.isascii() or not given.isdigit() or not 1 <= int(given[:4]) <= 60:
        raise serializers.ValidationError({name: ["Give a whole number from 1 to 60."]})
    return int(given)


def _pulse(asked: Asked, minutes: int) -> dict[str, Any]:
    return {"of": asked.of, **pulse.metrics_of(asked.wanted, minutes=minutes)}


class MetricsView(StrictQuery, APIView):
    """What goes on now: the last minutes, and what is under way."""

    scopes_to_read = scopes_to_write = frozenset({Scope.BILLING})
    query_parameters = ("minutes", "workspace")

    @extend_schema(
        operation_id="analytics_metrics_retrieve", parameters=[MINUTES, WORKSPACE], responses=PulseSerializer
    )
    def get(self, request: Request) -> Response:
        minutes = _number(request, "minutes", pulse.MINUTES)
        return Response(_pulse(asking.asked_for(caller(request), request.query_params), minutes))


class HealthView(StrictQuery, APIView):
    """How the whole system does, each part with its status and since when. Staff who may see the usage of all see the
    figures as well.
    """

    scopes_to_read = scopes_to_write = frozenset({Scope.BILLING})
    query_parameters = ()

    @extend_schema(operation_id="analytics_health_retrieve", responses=HealthSerializer)
    def get(self, request: Request) -> Response:
        return Response(health.as_json(with_values=asking.sees_fleet(caller(request).user)))


class LiveView(AsyncActionsMixin, StrictQuery, APIView):  # type: ignore[misc]
    """``metrics`` again and again, as server-sent events named ``metrics``. It ends after an hour, or when the token does."""

    scopes_to_read = scopes_to_write = frozenset({Scope.BILLING})
    query_parameters = ("minutes", "seconds", "workspace")

    @extend_schema(
        operation_id="analytics_live_retrieve",
        parameters=[MINUTES, SECONDS, WORKSPACE],
        responses={
            (200, "text/event-stream"): OpenApiResponse(OpenApiTypes.STR, "Events, each with what `metrics` says.")
        },
    )
    def get(self, request: Request) -> StreamingHttpResponse:
        require_asgi(request)
        minutes, seconds = _number(request, "minutes", pulse.MINUTES), _number(request, "seconds", 5)
        asking.asked_for(caller(request), request.query_params)  # refused before the first byte
        return sse_response(_events(request, minutes=minutes, seconds=seconds))


async def _events(request: Request, *, minutes: int, seconds: int) -> AsyncIterator[bytes]:
    loop = asyncio.get_running_loop()
    until = loop.time() + LONGEST_SECONDS
    while loop.time() < until:
        try:
            found = await in_db(_now, request, minutes)
        except DatabaseError:
            yield event("error", error_body("database_unavailable", "The database is away.", request=request))
            return
        except serializers.ValidationError:  # what was asked for at first is there no more, or not for them
            yield event("error", error_body("permission_denied", "You may not see this any more.", request=request))
            return
        if found is None:
            yield event(
                "error", error_body("not_authenticated", "The access token is no longer valid.", request=request)
            )
            return
        yield event("metrics", found)
        await asyncio.sleep(seconds)


def _now(request: Request, minutes: int) -> dict[str, Any] | None:
    """None when the token has been revoked since, or lost the scope. Raises ValidationError."""
    who = caller_of(raw_token(request))
    if who is None or Scope.BILLING not in who.token.scopes:
        return None
    return _pulse(asking.asked_for(who, request.query_params), minutes)
