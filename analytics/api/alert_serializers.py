"""Shapes of alerts, their rules and webhooks."""

from __future__ import annotations

from typing import Any

from django.utils import timezone
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from analytics.alerting.payloads import alert_json
from analytics.models import Alert, AlertRule, Severity, Subject, WebhookEndpoint
from synapscale.common.parsing import (
    StrictBooleanField,
    StrictCharField,
    StrictModelSerializer,
    StrictUsdField,
)

OWNERS = ("workspace", "operators")


class RuleNameSerializer(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    name = serializers.CharField()
    condition = serializers.CharField()
    is_builtin = serializers.BooleanField()


class SubjectSerializer(serializers.Serializer[Any]):
    kind = serializers.ChoiceField(choices=Subject.choices)
    id = serializers.CharField(allow_blank=True, help_text="Of a provider its name; of the fleet nothing.")
    label = serializers.CharField()  # type: ignore[assignment]


class AlertSerializer(serializers.Serializer[Any]):
    """Something that is, or was, over a rule's threshold. Webhooks carry the same."""

    id = serializers.UUIDField()
    rule = RuleNameSerializer()
    workspace = serializers.UUIDField(allow_null=True, help_text="Where it happened; null: in no single one.")
    subject = SubjectSerializer()
    state = serializers.ChoiceField(choices=Alert.State.choices)
    severity = serializers.ChoiceField(choices=Severity.choices)
    value = serializers.CharField(help_text="When it was last seen, in `unit`.")
    threshold = serializers.CharField(help_text="What the value was more than; of days before an expiry, less.")
    unit = serializers.CharField(allow_blank=True)
    explanation = serializers.CharField(help_text="In words and numbers.")
    fired_at = serializers.DateTimeField()
    last_seen_at = serializers.DateTimeField()
    acknowledged_at = serializers.DateTimeField(allow_null=True)
    acknowledged_by = serializers.UUIDField(allow_null=True)
    resolved_at = serializers.DateTimeField(allow_null=True)

    def to_representation(self, alert: Alert) -> dict[str, Any]:
        return alert_json(alert, alert.rule)


@extend_schema_field({"type": "string", "enum": list(OWNERS)})
class OwnerField(serializers.ChoiceField):
    """Whose it is; fixed when it is made. Only operators make any for operators."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(choices=OWNERS, source="*", **kwargs)

    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, str):
            self.fail("invalid_choice", input=data)
        return {"owner": super().to_internal_value(data)}

    def to_representation(self, value: Any) -> str:
        return "operators" if value.workspace_id is None else "workspace"


class AlertRuleSerializer(StrictModelSerializer):
    """What is watched, and from where on it is too much."""

    # Said here, so that of the constraints on names and conditions the database is asked alone.
    owner = OwnerField(required=False, help_text="“workspace” (so without it) or “operators”; fixed afterwards.")
    name = StrictCharField(max_length=100)
    condition = StrictCharField(max_length=30, help_text="See alert-rules/conditions.")
    threshold = StrictUsdField(help_text="More than this fires; in the condition's unit, a decimal string.")
    settings = serializers.JSONField(required=False, help_text="See alert-rules/conditions.")
    is_active = StrictBooleanField(required=False)

    class Meta:
        model = AlertRule
        fields = [
            "id",
            "owner",
            "name",
            "condition",
            "scope",
            "subject_id",
            "window_seconds",
            "threshold",
            "min_calls",
            "severity",
            "cooldown_seconds",
            "settings",
            "is_active",
            "silenced_until",
            "is_builtin",
            "created_by",
            "created_at",
            "updated_at",
        ]
        read_only_fields = ["id", "is_builtin", "created_by", "created_at", "updated_at"]
        validators: list[Any] = []

    def validate_settings(self, settings: Any) -> dict[str, Any]:
        if not isinstance(settings, dict):
            raise serializers.ValidationError("Give an object.")
        return settings

    def validate_silenced_until(self, moment: Any) -> Any:
        if moment is not None and moment <= timezone.now():
            raise serializers.ValidationError("This has passed; null ends the silence.")
        return moment

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if self.instance is not None and "owner" in attrs:
            raise serializers.ValidationError({"owner": ["Whose it is stays."]})
        return attrs


class SettingSerializer(serializers.Serializer[Any]):
    name = serializers.CharField()
    help = serializers.CharField()
    default = serializers.JSONField()


class AlertConditionSerializer(serializers.Serializer[Any]):
    key = serializers.CharField()
    title = serializers.CharField()
    unit = serializers.CharField(help_text="What thresholds and values are in.")
    scopes = serializers.ListField(child=serializers.CharField())
    settings = SettingSerializer(many=True)


class AlertConditionListSerializer(serializers.Serializer[Any]):
    results = AlertConditionSerializer(many=True)


class WebhookSerializer(StrictModelSerializer):
    """An address that alerts are posted to."""

    owner = OwnerField(required=False, help_text="“workspace” (so without it) or “operators”; fixed afterwards.")
    url = StrictCharField(max_length=300, help_text="https:// and a public host, without a query.")

    class Meta:
        model = WebhookEndpoint
        fields = [
            "id",
            "owner",
            "url",
            "description",
            "allows_private_addresses",
            "is_active",
            "last_status",
            "last_error",
            "last_attempt_at",
            "created_by",
            "created_at",
            "updated_at",
        ]
        read_only_fields = [
            "id",
            "allows_private_addresses",
            "last_status",
            "last_error",
            "last_attempt_at",
            "created_by",
            "created_at",
            "updated_at",
        ]

    validate = AlertRuleSerializer.validate


class NewWebhookSerializer(WebhookSerializer):
    """With the secret, which is not shown again."""

    secret = serializers.SerializerMethodField(help_text="`whsec_…`; shown this once.")

    class Meta(WebhookSerializer.Meta):
        fields = [*WebhookSerializer.Meta.fields, "secret"]

    def get_secret(self, endpoint: WebhookEndpoint) -> str:
        secret: str = self.context["secret"]
        return secret


class WebhookTestSerializer(serializers.Serializer[Any]):
    """What became of a `ping`."""

    delivered = serializers.BooleanField()
    status = serializers.IntegerField(allow_null=True, help_text="Of the answer; null where none came.")
    error = serializers.CharField(allow_blank=True)
    milliseconds = serializers.IntegerField()
