"""``POST …/api-keys/{provider}/test``: whether a provider takes a key. It lies here and not with the keys because it
makes a call, and every call takes the road of a message.
"""

from __future__ import annotations

from typing import Any

from django.urls import re_path
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, PolymorphicProxySerializer, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from conversations import chat, key_tests
from conversations.admission import Admitted
from conversations.api.replies import has_failed, not_settled
from conversations.api.serializers import UsageSerializer
from conversations.calls import Unsettled
from conversations.models import Message, UsageLog
from llm import own_keys
from synapscale.common.api_errors import error_body
from synapscale.common.db import in_db
from synapscale.common.parsing import StrictQuery
from synapscale.common.views import AsyncActionsMixin, require_asgi
from workspaces import ratelimits
from workspaces.authentication import caller
from workspaces.models import Scope, User, Workspace
from workspaces.permissions import administered_workspace

PROVIDER = OpenApiParameter("provider", location="path", enum=list(own_keys.PROVIDERS))
WORKSPACE = OpenApiParameter("workspace_pk", OpenApiTypes.UUID, location="path")


class KeyWorksSerializer(serializers.Serializer[Any]):
    """For the schema: the provider answered."""

    ok = serializers.BooleanField(help_text="True.")
    provider = serializers.CharField()
    model = serializers.CharField(help_text="Which model answered.")
    latency_ms = serializers.IntegerField()
    usage = UsageSerializer()


class KeyFaultSerializer(serializers.Serializer[Any]):
    code = serializers.CharField()
    message = serializers.CharField(help_text="Names the provider and the key, by its last four characters.")


class KeyFailsSerializer(serializers.Serializer[Any]):
    """For the schema: it did not, or the key can't be used."""

    ok = serializers.BooleanField(help_text="False.")
    provider = serializers.CharField()
    error = KeyFaultSerializer()


KEY_TEST = PolymorphicProxySerializer(
    "KeyTest", [KeyWorksSerializer, KeyFailsSerializer], resource_type_field_name=None
)


class _KeyTestView(AsyncActionsMixin, StrictQuery, APIView):  # type: ignore[misc]  # its dispatch is a coroutine
    """Try the key with a real call, as small as can be. Its tokens are the owner's; it is metered and not charged, but
    for the platform's fee where there is one."""

    def owner(self) -> User | Workspace:
        raise NotImplementedError

    @extend_schema(request=None, responses=KEY_TEST)
    def post(self, request: Request, provider: str, **kwargs: Any) -> Any:
        key = own_keys.find_key(owner=self.owner(), provider=provider)
        require_asgi(request)
        who = caller(request)
        try:
            admitted = key_tests.admit(key=key, membership=who.membership, access_token=who.token)
        except key_tests.KeyUnusable as why:
            return _failed(provider, why.code, why.message)
        return self._tried(admitted)

    async def _tried(self, admitted: Admitted) -> Response:
        call = chat.start(admitted, streams=False)
        try:
            answer, _ = await call.outcome()
        except Unsettled as error:
            response = Response(error_body(*not_settled(error), request=self.request), status=503)
        else:
            response = await in_db(_told, admitted, answer)
        for name, value in ratelimits.headers(admitted.rates).items():
            response[name] = value
        return response


def _told(admitted: Admitted, answer: Message) -> Response:
    provider = admitted.credentials.provider
    if has_failed(answer):
        return _failed(provider, answer.error_code, key_tests.why_it_failed(admitted, answer))
    return Response(
        {
            "ok": True,
            "provider": provider,
            "model": answer.model_used,
            "latency_ms": answer.processing_time_ms,
            "usage": UsageSerializer(list(UsageLog.objects.of(answer))[-1]).data,
        }
    )


def _failed(provider: str, code: str, message: str) -> Response:
    return Response({"ok": False, "provider": provider, "error": {"code": code, "message": message}})


@extend_schema(parameters=[PROVIDER])
class UserKeyTestView(_KeyTestView):
    __doc__ = _KeyTestView.__doc__
    scopes_to_read = scopes_to_write = frozenset({Scope.KEYS})

    def owner(self) -> User:
        return caller(self.request).user


@extend_schema(parameters=[WORKSPACE, PROVIDER])
class WorkspaceKeyTestView(_KeyTestView):
    __doc__ = _KeyTestView.__doc__
    scopes_to_read = scopes_to_write = frozenset({Scope.ADMIN})

    def owner(self) -> Workspace:
        return administered_workspace(self.request, self.kwargs["workspace_pk"])


urlpatterns = [
    re_path(r"^user-variables/api-keys/(?P<provider>[^/]+)/test/?$", UserKeyTestView.as_view(), name="user-key-test"),
    re_path(
        r"^workspaces/(?P<workspace_pk>[0-9a-f-]{36})/api-keys/(?P<provider>[^/]+)/test/?$",
        WorkspaceKeyTestView.as_view(),
        name="workspace-key-test",
    ),
]
