from __future__ import annotations

from datetime import datetime
from typing import Any

from django.core.validators import RegexValidator
from django.utils import timezone
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.validators import UniqueValidator

from synapscale.common.parsing import (
    ScoreField,
    StrictCharField,
    StrictFields,
    StrictIntegerField,
    StrictModelSerializer,
    StrictUsdField,
)
from workspaces import issuing, model_names, tokens, variables
from workspaces.members import SLUG_TAKEN
from workspaces.models import AccessToken, Membership, Scope, User, UserVariable, Workspace


class ModelNamesField(serializers.ListField):
    """Names of models that exist, each “provider/name”."""

    child = StrictCharField(max_length=200)

    def to_internal_value(self, data: Any) -> list[str]:
        names: list[str] = super().to_internal_value(data)
        if messages := model_names.complaints(names):
            raise serializers.ValidationError(messages)
        return names


class FutureField(serializers.DateTimeField):
    """A moment that has not come yet."""

    def to_internal_value(self, value: Any) -> datetime:
        moment: datetime = super().to_internal_value(value)
        if moment <= timezone.now():
            raise serializers.ValidationError("This has passed.")
        return moment


@extend_schema_field({"type": "string", "maxLength": 254, "description": "Who is told of negative feedback, or empty."})
class AlertEmailField(serializers.EmailField):
    """An address, or none: an empty text is no e-mail address to a schema."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_length=254, allow_blank=True, **kwargs)


class WorkspaceSerializer(StrictModelSerializer):
    """The workspace and its rules."""

    allowed_models = ModelNamesField(required=False, max_length=500)
    fallback_models = ModelNamesField(required=False, max_length=10)
    autotag_threshold = ScoreField(required=False)
    feedback_alert_email = AlertEmailField(required=False)

    class Meta:
        model = Workspace
        fields = [
            "id",
            "name",
            "slug",
            "kind",
            "status",
            "allowed_models",
            "default_model",
            "fallback_models",
            "max_tokens_cap",
            "requests_per_minute",
            "tokens_per_minute",
            "keeps_api_content",
            "tags_automatically",
            "autotag_threshold",
            "exports_feedback_content",
            "feedback_alert_email",
            "created_at",
        ]
        read_only_fields = ["id", "slug", "kind", "status", "created_at"]

    def validate_default_model(self, name: str) -> str:
        if name and (messages := model_names.complaints([name])):
            raise serializers.ValidationError(messages)
        return name

    def validate_fallback_models(self, names: list[str]) -> list[str]:
        if len(set(names)) != len(names):
            raise serializers.ValidationError("A model is named twice.")
        return names

    def validate(self, data: dict[str, Any]) -> dict[str, Any]:
        rules = {
            name: data.get(name, getattr(self.instance, name, empty))
            for name, empty in (("allowed_models", []), ("default_model", ""), ("fallback_models", []))
        }
        if not (allowed := rules["allowed_models"]):
            return data
        errors = {
            field: [f"“{name}” is not one of the allowed models." for name in names if name not in allowed]
            for field, names in (
                ("default_model", [rules["default_model"]] if rules["default_model"] else []),
                ("fallback_models", rules["fallback_models"]),
            )
        }
        if any(errors.values()):
            raise serializers.ValidationError({field: wrong for field, wrong in errors.items() if wrong})
        return data


class NewWorkspaceSerializer(StrictModelSerializer):
    """A workspace as it is made: its rules come later, from a token of its own."""

    slug = StrictCharField(
        max_length=80,
        validators=[
            RegexValidator(r"^[a-z0-9_-]+\Z", "Only lower-case letters, digits, hyphens and underscores."),
            UniqueValidator(Workspace.objects.all(), message=SLUG_TAKEN),
        ],
        help_text="Its short name, for good.",
    )
    feedback_alert_email = AlertEmailField(read_only=True)
    notice = serializers.SerializerMethodField()

    class Meta:
        model = Workspace
        fields = [*WorkspaceSerializer.Meta.fields, "notice"]
        read_only_fields = [name for name in WorkspaceSerializer.Meta.fields if name not in {"name", "slug", "kind"}]

    def get_notice(self, workspace: Workspace) -> str:
        return f"A token is of one workspace: get one for “{workspace.slug}” to work in it."


class MemberSerializer(StrictModelSerializer):
    """A person in the workspace, and their role."""

    email = serializers.EmailField(source="user.email", max_length=254)
    name = serializers.CharField(source="user.name", read_only=True)
    user = serializers.UUIDField(source="user_id", read_only=True)

    class Meta:
        model = Membership
        fields = ["id", "user", "email", "name", "role", "created_at"]
        read_only_fields = ["id", "created_at"]

    def validate(self, data: dict[str, Any]) -> dict[str, Any]:
        if self.instance is not None and "user" in data:
            raise serializers.ValidationError(
                {"email": "A membership belongs to one person; only the role can change."}
            )
        return data


class AccessTokenSerializer(StrictModelSerializer):
    """An access token and its rules. On creation, a rule that is left out is that of the token that asks."""

    name = StrictCharField(max_length=100)
    prefix = serializers.SerializerMethodField(help_text="How it is told from others, like “sk-syn-abcdefgh…”.")
    scopes = serializers.ListField(
        child=serializers.ChoiceField(choices=Scope.choices), required=False, allow_empty=False, max_length=len(Scope)
    )
    allowed_models = ModelNamesField(required=False, max_length=500)
    spend_limit_usd = StrictUsdField(
        required=False, allow_null=True, help_text="What its calls may cost, in USD; null: no limit."
    )
    expires_at = FutureField(required=False, allow_null=True)

    class Meta:
        model = AccessToken
        fields = [
            "id",
            "user",
            "name",
            "prefix",
            *issuing.RULES,
            "revoked_at",
            "last_used_at",
            "created_at",
        ]
        read_only_fields = ["id", "user", "revoked_at", "last_used_at", "created_at"]

    def get_prefix(self, token: AccessToken) -> str:
        return tokens.shown(token.prefix)

    def validate_scopes(self, scopes: list[str]) -> list[str]:
        return [scope for scope in Scope.values if scope in scopes]


class NewAccessTokenSerializer(AccessTokenSerializer):
    """An access token with its text, which is shown this once."""

    token = serializers.CharField(read_only=True, help_text="Keep it now: it can't be shown again.")

    class Meta(AccessTokenSerializer.Meta):
        fields = [*AccessTokenSerializer.Meta.fields, "token"]


class RotationSerializer(StrictFields, serializers.Serializer[Any]):
    grace_seconds = StrictIntegerField(
        min_value=0,
        max_value=int(issuing.MAX_GRACE.total_seconds()),
        default=0,
        help_text="How long the old text still works.",
    )


class OwnWorkspaceSerializer(serializers.ModelSerializer[Workspace]):
    class Meta:
        model = Workspace
        fields = ["id", "slug", "name"]


class MeSerializer(StrictModelSerializer):
    """Who is calling, and with what: the user, the workspace and role, and the rules of the token."""

    workspace = serializers.SerializerMethodField()
    role = serializers.SerializerMethodField()
    token = serializers.SerializerMethodField()

    class Meta:
        model = User
        fields = ["id", "email", "name", "allows_paid_fallback", "workspace", "role", "token"]
        read_only_fields = ["id", "email"]

    @extend_schema_field(OwnWorkspaceSerializer)
    def get_workspace(self, user: User) -> Any:
        return OwnWorkspaceSerializer(self.context["caller"].workspace).data

    @extend_schema_field(serializers.ChoiceField(choices=Membership.Role.choices))
    def get_role(self, user: User) -> str:
        role: str = self.context["caller"].membership.role
        return role

    @extend_schema_field(AccessTokenSerializer)
    def get_token(self, user: User) -> Any:
        return AccessTokenSerializer(self.context["caller"].token).data


@extend_schema_field({"type": ["string", "null"], "minLength": 1, "maxLength": variables.MAX_VALUE})
class ValueField(StrictCharField):
    """Goes in for every variable, and comes out of general ones only."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_length=variables.MAX_VALUE, trim_whitespace=False, **kwargs)

    def get_attribute(self, instance: Any) -> Any:
        return instance

    def to_representation(self, value: Any) -> str | None:  # type: ignore[override]
        return variables.readable_value(value)


class VariableSerializer(StrictModelSerializer):
    """A variable or secret. `value` is null for all but general ones; `masked` shows the end of a long one."""

    name = StrictCharField(max_length=100)
    value = ValueField()
    masked = serializers.SerializerMethodField()
    expires_at = FutureField(required=False, allow_null=True)

    class Meta:
        model = UserVariable
        fields = ["id", "category", "name", "value", "masked", "is_active", "expires_at", "created_at", "updated_at"]
        read_only_fields = ["id", "created_at", "updated_at"]
        extra_kwargs = {"category": {"required": True}}
        validators: list[Any] = []  # its constraints are of the owner's rows, which the database looks at

    def get_masked(self, variable: UserVariable) -> str:
        return variables.masked(variable)

    def validate(self, data: dict[str, Any]) -> dict[str, Any]:
        for field in ("category", "name"):
            if self.instance is not None and data.pop(field, getattr(self.instance, field)) != getattr(
                self.instance, field
            ):
                raise serializers.ValidationError({field: "This stays with the variable; make another one."})
        return data
