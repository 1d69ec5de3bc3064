"""Serializer fields that more than one endpoint needs."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from conversations import attachments, call_settings
from conversations.call_settings import CallSettingsSerializer
from conversations.choices import find_llm
from conversations.models import Agent
from llm.models import LLM
from synapscale.common.parsing import StrictCharField
from tagging.names import MAX_LABEL
from tagging.vocabulary import MAX_TAGS_AT_ONCE


@extend_schema_field({"type": "string", "examples": ["openai/gpt-6-astra"]})
class LLMField(serializers.Field):
    """An LLM by its id or as “provider/name”; shown as “provider/name”."""

    default_error_messages = {
        "unknown": "There is no model “{name}”.",
        "invalid": "Give a model's id or “provider/name”.",
    }

    def to_internal_value(self, data: Any) -> LLM:
        if not isinstance(data, str):
            self.fail("invalid")
        llm = find_llm(data)
        if llm is None:
            self.fail("unknown", name=data[:200])
        return llm

    def to_representation(self, value: LLM) -> str:
        return str(value)


class OwnAgentField(serializers.PrimaryKeyRelatedField[Agent]):
    """An agent of the caller's workspace; any other does not exist."""

    def get_queryset(self) -> Any:
        request = self.context.get("request")
        if request is None or request.auth is None:
            return Agent.objects.none()
        return Agent.objects.filter(workspace=request.auth.workspace, is_active=True)

    def use_pk_only_optimization(self) -> bool:
        return True


_IMAGE_SCHEMA = {
    "type": "object",
    "properties": {
        "type": {"type": "string", "enum": ["image"]},
        "media_type": {"type": "string", "enum": ["image/png", "image/jpeg", "image/gif", "image/webp"]},
        "data": {"type": "string", "contentEncoding": "base64", "description": "At most 5 MB, decoded."},
    },
    "required": ["type", "data"],
}


@extend_schema_field(_IMAGE_SCHEMA)
class AttachmentField(serializers.JSONField):
    """``{"type": "image", "media_type", "data": base64}``."""

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        return attachments.parse(data)


def tags_field(**options: Any) -> serializers.ListField:
    """Labels of tags of the workspace."""
    label = StrictCharField(max_length=2 * MAX_LABEL)
    return serializers.ListField(
        child=label, max_length=MAX_TAGS_AT_ONCE, help_text="Tags of the workspace, like “customer:acme”.", **options
    )


@extend_schema_field(CallSettingsSerializer)
class SettingsField(serializers.JSONField):
    """A ``settings`` object, validated like the same fields of a message."""

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        return call_settings.parse(data)
