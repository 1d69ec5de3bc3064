"""Provider keys of the caller and of the workspace. They go in and never come out."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.urls import re_path
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_field, extend_schema_view
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from llm import own_keys
from llm.own_keys import KEY_TEXT, PROVIDERS
from synapscale.common.parsing import StrictBooleanField, StrictFields, StrictQuery
from workspaces import variables
from workspaces.authentication import caller
from workspaces.models import Scope, User, UserVariable, Workspace
from workspaces.permissions import administered_workspace

PROVIDER = OpenApiParameter("provider", location="path", enum=list(PROVIDERS))
WORKSPACE = OpenApiParameter("workspace_pk", OpenApiTypes.UUID, location="path")


# --- In and out -------------------------------------------------------------------------------------------------------


@extend_schema_field({"type": "string", "format": "password", "minLength": 8, "maxLength": 500, "writeOnly": True})
class KeyField(serializers.Field[str, Any, Any, Any]):
    """The text of a key. What is wrong with it is told without repeating any of it."""

    default_error_messages = {"invalid": "A key is 8 to 500 printable ASCII characters without a space."}

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str) or not KEY_TEXT.fullmatch(data.strip()):
            self.fail("invalid")
        return data.strip()


class UseSerializer(StrictFields, serializers.Serializer[Any]):
    """Whether calls run on a key, and until when."""

    is_active = StrictBooleanField(required=False, help_text="Inactive: calls run as if it were not there.")
    expires_at = serializers.DateTimeField(
        required=False, allow_null=True, help_text="From then on calls run as if it were not there; null: never."
    )

    def validate_expires_at(self, moment: datetime | None) -> datetime | None:
        if moment is not None and moment <= timezone.now():
            raise serializers.ValidationError("This has passed.")
        return moment


class SetKeySerializer(UseSerializer):
    """A key, to be set or to replace the one there is, whole: what is left out is the default."""

    key = KeyField(write_only=True)


class OwnKeySerializer(serializers.Serializer[Any]):
    """A key, without its text: `masked` shows the end of it."""

    provider = serializers.CharField(source="name")
    masked = serializers.SerializerMethodField()
    is_active = serializers.BooleanField()
    is_expired = serializers.SerializerMethodField()
    expires_at = serializers.DateTimeField(allow_null=True)
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()
    source = serializers.SerializerMethodField(help_text="Whose it is.")  # type: ignore[assignment]

    def get_masked(self, key: UserVariable) -> str:
        return variables.masked(key)

    def get_is_expired(self, key: UserVariable) -> bool:
        return own_keys.is_expired(key)

    @extend_schema_field({"type": "string", "enum": ["user", "workspace"]})
    def get_source(self, key: UserVariable) -> str:
        return "user" if key.user_id else "workspace"


class OwnKeyListSerializer(serializers.Serializer[Any]):
    results = OwnKeySerializer(many=True)


class KeyStateSerializer(serializers.Serializer[Any]):
    """A provider, and the keys that there are for it. A key that is inactive or has expired does not count."""

    name = serializers.CharField()
    display_name = serializers.CharField()
    has_own_key = serializers.BooleanField(help_text="Whether the caller has one.")
    has_workspace_key = serializers.BooleanField()
    has_house_key = serializers.BooleanField()
    key_source = serializers.CharField(
        allow_null=True,
        help_text="Whose key a call of the caller would run on now: `user`, `workspace` or `global`, the house's, "
        "which is charged. Null: it would be refused.",
    )


class KeyStateListSerializer(serializers.Serializer[Any]):
    results = KeyStateSerializer(many=True)


# --- Views ------------------------------------------------------------------------------------------------------------


class _Owned(StrictQuery, APIView):
    """Whose keys it is about."""

    def owner(self) -> User | Workspace:
        raise NotImplementedError


class _OfCaller(_Owned):
    """The caller's own keys, the same in all of their workspaces."""

    scopes_to_read = scopes_to_write = frozenset({Scope.KEYS})

    def owner(self) -> User:
        return caller(self.request).user


class _OfWorkspace(_Owned):
    """The workspace's keys, for calls of all its members: for admins and owners, with a token of scope `admin`."""

    scopes_to_read = scopes_to_write = frozenset({Scope.ADMIN})

    def owner(self) -> Workspace:
        return administered_workspace(self.request, self.kwargs["workspace_pk"])


class _KeysView(_Owned):
    """The keys there are, in use or not."""

    @extend_schema(responses=OwnKeyListSerializer)
    def get(self, request: Request, **kwargs: Any) -> Response:
        return Response(OwnKeyListSerializer({"results": own_keys.keys_of(self.owner())}).data)


class _ProvidersView(_Owned):
    """The providers that take keys, which keys there are for each, and whose a call of the caller would run on now."""

    @extend_schema(responses=KeyStateListSerializer)
    def get(self, request: Request, **kwargs: Any) -> Response:
        self.owner()
        who = caller(request)
        rows = own_keys.states(user=who.user, workspace=who.workspace)
        return Response(KeyStateListSerializer({"results": rows}).data)


@extend_schema(parameters=[PROVIDER])
@method_decorator(sensitive_post_parameters(), name="dispatch")
class _KeyView(_Owned):
    """The key for a provider."""

    @extend_schema(responses=OwnKeySerializer)
    def get(self, request: Request, provider: str, **kwargs: Any) -> Response:
        return self._shown(own_keys.find_key(owner=self.owner(), provider=provider))

    @extend_schema(request=SetKeySerializer, responses={200: OwnKeySerializer, 201: OwnKeySerializer})
    def put(self, request: Request, provider: str, **kwargs: Any) -> Response:
        """Set it, or replace it whole."""
        return self._set(provider)

    @extend_schema(request=SetKeySerializer, responses={200: OwnKeySerializer, 201: OwnKeySerializer})
    def post(self, request: Request, provider: str, **kwargs: Any) -> Response:
        """Set it, or replace it whole; the same as PUT."""
        return self._set(provider)

    @extend_schema(request=UseSerializer, responses=OwnKeySerializer)
    def patch(self, request: Request, provider: str, **kwargs: Any) -> Response:
        """Switch it on or off, or change when it expires."""
        owner = self.owner()
        own_keys.find_key(owner=owner, provider=provider)
        serializer = UseSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        changed = own_keys.change_key(owner=owner, provider=provider, changes=serializer.validated_data)
        return self._shown(changed)

    @extend_schema(responses={204: None})
    def delete(self, request: Request, provider: str, **kwargs: Any) -> Response:
        own_keys.drop_key(owner=self.owner(), provider=provider)
        return Response(status=204)

    @sensitive_variables("serializer")
    def _set(self, provider: str) -> Response:
        owner = self.owner()
        own_keys.check_provider(provider)
        serializer = SetKeySerializer(data=self.request.data)
        serializer.is_valid(raise_exception=True)
        key, is_new = own_keys.set_key(owner=owner, provider=provider, **serializer.validated_data)
        return self._shown(key, status=201 if is_new else 200)

    def _shown(self, key: UserVariable, status: int = 200) -> Response:
        return Response(OwnKeySerializer(key).data, status=status)


@extend_schema_view(get=extend_schema(operation_id="user_variables_api_keys_list"))
class UserKeysView(_OfCaller, _KeysView):
    __doc__ = _OfCaller.__doc__


class UserKeyProvidersView(_OfCaller, _ProvidersView):
    __doc__ = _ProvidersView.__doc__


class UserKeyView(_OfCaller, _KeyView):
    __doc__ = _OfCaller.__doc__


@extend_schema_view(get=extend_schema(parameters=[WORKSPACE], operation_id="workspaces_api_keys_list"))
class WorkspaceKeysView(_OfWorkspace, _KeysView):
    __doc__ = _OfWorkspace.__doc__


@extend_schema(parameters=[WORKSPACE])
class WorkspaceKeyProvidersView(_OfWorkspace, _ProvidersView):
    __doc__ = _ProvidersView.__doc__


@extend_schema(parameters=[WORKSPACE, PROVIDER])
class WorkspaceKeyView(_OfWorkspace, _KeyView):
    __doc__ = _OfWorkspace.__doc__


_USER, _WORKSPACE = r"^user-variables/api-keys", r"^workspaces/(?P<workspace_pk>[0-9a-f-]{36})/api-keys"
_PROVIDER = r"(?P<provider>[^/]+)"
urlpatterns = [
    re_path(rf"{_USER}/?$", UserKeysView.as_view(), name="user-key-list"),
    re_path(rf"{_USER}/providers/?$", UserKeyProvidersView.as_view(), name="user-key-providers"),
    re_path(rf"{_USER}/{_PROVIDER}/?$", UserKeyView.as_view(), name="user-key"),
    re_path(rf"{_WORKSPACE}/?$", WorkspaceKeysView.as_view(), name="workspace-key-list"),
    re_path(rf"{_WORKSPACE}/providers/?$", WorkspaceKeyProvidersView.as_view(), name="workspace-key-providers"),
    re_path(rf"{_WORKSPACE}/{_PROVIDER}/?$", WorkspaceKeyView.as_view(), name="workspace-key"),
]
