"""One user, workspace, conversation or model, and models side by side."""

from __future__ import annotations

import uuid
from dataclasses import replace

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from analytics import asking, profiles
from analytics.api.profile_serializers import (
    ComparisonSerializer,
    ConversationProfileSerializer,
    ModelProfileSerializer,
    UserProfileSerializer,
    WorkspaceProfileSerializer,
)
from analytics.api.views import FILTERS
from analytics.asking import Asked
from conversations import windows
from conversations.choices import find_llm
from conversations.models import Conversation
from synapscale.common.errors import NotFound
from synapscale.common.parsing import StrictQuery
from workspaces.authentication import caller
from workspaces.models import Scope, User

WORKSPACE = OpenApiParameter("workspace", description="Its id or slug; for staff, who see all without it.")
_NAMES = ("workspace", "llm", "provider", "user")


def _key(name: str, said: str) -> OpenApiParameter:
    return OpenApiParameter(name, OpenApiTypes.STR, "path", description=said)


class _ProfileView(StrictQuery, APIView):
    scopes_to_read = scopes_to_write = frozenset({Scope.BILLING})
    query_parameters: tuple[str, ...] = (*windows.PARAMETERS, "workspace")

    def asked(self, request: Request, **more: str) -> Asked:
        params = request.query_params.copy()
        for name, value in more.items():
            params[name] = value
        return asking.asked_for(caller(request), params)


class UserView(_ProfileView):
    """What a user called, spent and thought of it. Members see themselves: ``me``."""

    @extend_schema(
        operation_id="analytics_users_retrieve",
        parameters=[_key("key", "The user's id, or `me`."), *windows.SCHEMA, WORKSPACE],
        responses=UserProfileSerializer,
    )
    def get(self, request: Request, key: str) -> Response:
        who = caller(request)
        user_id = who.user.pk if key == "me" else _uuid(key, "user")
        workspace = self.asked(request).workspace
        if user_id != who.user.pk and not (
            asking.sees_all_of(who, workspace) and asking.is_user_of(user_id, workspace)
        ):
            raise NotFound("There is no such user.")
        asked = self.asked(request, user=str(user_id))
        return Response(profiles.of_user(asked, User.objects.get(pk=user_id)))


class WorkspaceView(_ProfileView):
    """Who in a workspace uses what, and what it costs. Admins and owners see their own workspace, staff any."""

    query_parameters = windows.PARAMETERS

    @extend_schema(
        operation_id="analytics_workspaces_retrieve",
        parameters=[_key("key", "The workspace's id or slug."), *windows.SCHEMA],
        responses=WorkspaceProfileSerializer,
    )
    def get(self, request: Request, key: str) -> Response:
        who = caller(request)
        workspace = asking.find_workspace(who, key)
        if workspace is None:
            raise NotFound("There is no such workspace.")
        asking.require_all_of(who, workspace)
        return Response(profiles.of_workspace(self.asked(request, workspace=str(workspace.pk))))


class ConversationView(_ProfileView):
    """What a conversation cost, on which models, since it began."""

    query_parameters = ()

    @extend_schema(
        operation_id="analytics_conversations_retrieve",
        parameters=[OpenApiParameter("key", OpenApiTypes.UUID, "path")],
        responses=ConversationProfileSerializer,
    )
    def get(self, request: Request, key: str) -> Response:
        who = caller(request)
        visible = Conversation.objects.visible_to(user=who.user, workspace=who.workspace)
        conversation = visible.filter(pk=_uuid(key, "conversation")).first()
        if conversation is None:
            raise NotFound("There is no such conversation.")
        asked = self.asked(request, workspace=str(who.workspace.pk))
        since = replace(asked.window, start=min(conversation.created_at, asked.window.end))
        return Response(profiles.of_conversation(replace(asked, window=since), conversation))


class ModelView(_ProfileView):
    """How a model does: use, speed, errors, and what people think of it, within what the caller may see."""

    @extend_schema(
        operation_id="analytics_llms_retrieve",
        parameters=[_key("key", "The model's id, or `provider/name`."), *windows.SCHEMA, WORKSPACE],
        responses=ModelProfileSerializer,
    )
    def get(self, request: Request, key: str) -> Response:
        llm = find_llm(key)
        if llm is None:
            raise NotFound("There is no such model.")
        asked = self.asked(request, llm=str(llm.pk))
        (model,) = profiles.of_models(asked, [llm])
        return Response({**profiles.head(asked), **model})


class ComparisonView(_ProfileView):
    """Models side by side: what people think of them against price and latency."""

    query_parameters = (*windows.PARAMETERS, *_NAMES)

    @extend_schema(
        operation_id="analytics_models_compare",
        parameters=[one for one in FILTERS if one.name in (*windows.PARAMETERS, *_NAMES)],
        responses=ComparisonSerializer,
    )
    def get(self, request: Request) -> Response:
        asked = self.asked(request)
        return Response({**profiles.head(asked), "models": profiles.of_models(asked)})


def _uuid(text: str, what: str) -> uuid.UUID:
    try:
        return uuid.UUID(text)
    except ValueError:
        raise NotFound(f"There is no such {what}.") from None
