"""How answers are made: the settings of an agent, a conversation or a single message, and the rules that hold for all."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django.core.exceptions import ValidationError
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from synapscale.common.api_errors import messages_of
from synapscale.common.parsing import StrictCharField, StrictFields, StrictIntegerField

MAX_TOKENS_LIMIT = 10_000_000
_TOOL_FIELDS = {"name", "description", "parameters"}
_TOOL_SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 1, "maxLength": 64},
        "description": {"type": "string"},
        "parameters": {"type": "object", "description": "A JSON schema.", "additionalProperties": True},
    },
    "required": ["name"],
}


@extend_schema_field(_TOOL_SCHEMA)
class ToolField(serializers.JSONField):
    """A function the model may call, as ``{"name", "description", "parameters"}`` or in OpenAI's wrapping."""

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        tool = super().to_internal_value(data)
        if isinstance(tool, dict) and tool.get("type") == "function" and isinstance(tool.get("function"), dict):
            tool = tool["function"]
        if not isinstance(tool, dict) or not isinstance(tool.get("name"), str) or not 1 <= len(tool["name"]) <= 64:
            raise serializers.ValidationError("A tool needs a “name” of 1 to 64 characters.")
        if unknown := set(tool) - _TOOL_FIELDS:
            raise serializers.ValidationError(f"Unknown field “{sorted(unknown)[0]}”.")
        if not isinstance(tool.get("parameters", {}), dict) or not isinstance(tool.get("description", ""), str):
            raise serializers.ValidationError("“parameters” is a JSON schema, “description” a text.")
        return {
            "name": tool["name"],
            "description": tool.get("description", ""),
            "parameters": tool.get("parameters") or {"type": "object", "properties": {}},
        }


@extend_schema_field({"type": "object", "additionalProperties": True, "description": "A JSON schema."})
class SchemaField(serializers.JSONField):
    def to_internal_value(self, data: Any) -> dict[str, Any]:
        schema = super().to_internal_value(data)
        if not isinstance(schema, dict) or not schema:
            raise serializers.ValidationError("A JSON schema is an object.")
        return schema


@extend_schema_field({"type": "number", "minimum": 0, "maximum": 2, "multipleOf": 0.01})
class TemperatureField(serializers.DecimalField):
    """0 to 2 with at most two places, in JSON a number: it is no money."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_digits=3, decimal_places=2, min_value=Decimal(0), max_value=Decimal(2), **kwargs)

    def to_internal_value(self, data: Any) -> Decimal:
        if isinstance(data, bool) or not isinstance(data, int | float):
            self.fail("invalid")
        return super().to_internal_value(data)

    def to_representation(self, value: Any) -> float:  # type: ignore[override]
        return float(value)


class CallSettingsSerializer(StrictFields, serializers.Serializer[Any]):
    """How answers are made: set on an agent, a conversation or a single message, the most specific wins."""

    temperature = TemperatureField(required=False, allow_null=True)
    max_tokens = StrictIntegerField(min_value=1, max_value=MAX_TOKENS_LIMIT, required=False, allow_null=True)
    tools = serializers.ListField(child=ToolField(), max_length=128, required=False, allow_null=True)
    tool_choice = StrictCharField(max_length=64, required=False, allow_null=True)
    response_schema = SchemaField(required=False, allow_null=True)
    stop = serializers.ListField(
        child=StrictCharField(max_length=100, trim_whitespace=False),
        max_length=4,
        required=False,
        allow_null=True,
    )

    def validate(self, data: dict[str, Any]) -> dict[str, Any]:
        choice, tools = data.get("tool_choice"), data.get("tools")
        names = {tool["name"] for tool in tools or []}
        if choice and tools is not None and choice not in {"auto", "none", "required", *names}:
            raise serializers.ValidationError(
                {"tool_choice": "Give “auto”, “none”, “required” or the name of one of the tools."}
            )
        if len(names) != len(tools or []):
            raise serializers.ValidationError({"tools": "Two tools have the same name."})
        return data


def parse(settings: Any) -> dict[str, Any]:
    """A ``settings`` object in the form in which it is kept. Raises the ValidationError of Django REST framework."""
    serializer = CallSettingsSerializer(data=settings)
    serializer.is_valid(raise_exception=True)
    parsed = dict(serializer.validated_data)
    if parsed.get("temperature") is not None:
        parsed["temperature"] = float(parsed["temperature"])
    return parsed


def check(settings: Any) -> dict[str, Any]:
    """``parse`` for a model: raises Django's ValidationError, with a line for each setting that is wrong."""
    try:
        return parse(settings)
    except serializers.ValidationError as error:
        raise ValidationError([*messages_of(error.detail)]) from None
