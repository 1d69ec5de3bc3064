from __future__ import annotations

from typing import Any

from django.core.validators import RegexValidator
from rest_framework import serializers
from rest_framework.validators import UniqueValidator

from synapscale.common.parsing import StrictCharField, StrictModelSerializer
from workspaces import model_names
from workspaces.members import SLUG_TAKEN
from workspaces.models import Membership, Workspace


class WorkspaceSerializer(StrictModelSerializer):
    """The workspace and its rules."""

    allowed_models = serializers.ListField(child=StrictCharField(max_length=200), required=False, max_length=500)

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
            "max_tokens_cap",
            "keeps_api_content",
            "created_at",
        ]
        read_only_fields = ["id", "slug", "kind", "status", "created_at"]

    def validate_allowed_models(self, names: list[str]) -> list[str]:
        if messages := model_names.complaints(names):
            raise serializers.ValidationError(messages)
        return names

    def validate_default_model(self, name: str) -> str:
        if name and (messages := model_names.complaints([name])):
            raise serializers.ValidationError(messages)
        return name

    def validate(self, data: dict[str, Any]) -> dict[str, Any]:
        default = data.get("default_model", self.instance.default_model if self.instance else "")
        allowed = data.get("allowed_models", self.instance.allowed_models if self.instance else [])
        if default and allowed and default not in allowed:
            raise serializers.ValidationError({"default_model": f"“{default}” is not one of the allowed models."})
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
