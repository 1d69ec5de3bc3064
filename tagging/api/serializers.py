from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from synapscale.common.parsing import (
    NotesField,
    ScoreField,
    StrictBooleanField,
    StrictCharField,
    StrictFields,
    StrictModelSerializer,
)
from tagging import names, registry, rules
from tagging.links import MAX_PAIRS_AT_ONCE, MAX_TARGETS_AT_ONCE
from tagging.models import Tag, TagLink, TagRule
from tagging.vocabulary import MAX_TAGS_AT_ONCE


def text_field(limit: int, **options: Any) -> StrictCharField:
    # Longer than it may be once normalised: white space around it does not count.
    return StrictCharField(max_length=limit * 2, **options)


class TagSerializer(StrictFields, serializers.ModelSerializer[Tag]):
    """A tag: a name, with a value or without, written “name:value” in one."""

    name = text_field(names.MAX_NAME)
    value = text_field(names.MAX_VALUE, allow_blank=True, required=False)
    category = text_field(names.MAX_CATEGORY, allow_blank=True, required=False)
    metadata = NotesField(required=False)
    counts = serializers.SerializerMethodField(help_text="How many things of each kind carry it.")

    class Meta:
        model = Tag
        fields = [
            "id",
            "label",
            "name",
            "value",
            "category",
            "is_system",
            "created_by",
            "metadata",
            "counts",
            "created_at",
            "updated_at",
        ]
        read_only_fields = ["id", "label", "is_system", "created_by", "created_at", "updated_at"]

    @extend_schema_field(
        {"type": "object", "additionalProperties": {"type": "integer"}, "examples": [{"conversation": 3, "message": 7}]}
    )
    def get_counts(self, tag: Tag) -> dict[str, int]:
        found = self.context.get("counts", {}).get(tag.pk, {})
        return {taggable.name: found.get(taggable.name, 0) for taggable in registry.all_taggables()}


class TagNameSerializer(serializers.ModelSerializer[Tag]):
    """A tag, for choosing one."""

    class Meta:
        model = Tag
        fields = ["id", "label", "name", "value", "category", "is_system"]
        read_only_fields = fields


class MatchesSerializer(serializers.Serializer[Any]):
    results = TagNameSerializer(many=True)


class TargetSerializer(StrictFields, serializers.Serializer[Any]):
    """Something that can be tagged."""

    type = StrictCharField(max_length=20, help_text="conversation, message, user or workspace.")
    id = serializers.UUIDField()

    def validate_type(self, name: str) -> str:
        if registry.get(name) is None:
            known = ", ".join(taggable.name for taggable in registry.all_taggables())
            raise serializers.ValidationError(f"Nothing of type “{name}” can be tagged; there are: {known}.")
        return name


class BulkSerializer(StrictFields, serializers.Serializer[Any]):
    """Every one of the tags for every one of the targets."""

    tags = serializers.ListField(
        child=StrictCharField(max_length=names.MAX_LABEL * 2),
        allow_empty=False,
        max_length=MAX_TAGS_AT_ONCE,
        help_text="Labels, like “customer:acme”.",
    )
    targets: Any = serializers.ListField(child=TargetSerializer(), allow_empty=False, max_length=MAX_TARGETS_AT_ONCE)

    def validate(self, data: dict[str, Any]) -> dict[str, Any]:
        if len(data["tags"]) * len(data["targets"]) > MAX_PAIRS_AT_ONCE:
            said = f"At most {MAX_PAIRS_AT_ONCE} pairs of tag and target at once."
            raise serializers.ValidationError({"targets": [said]})
        return data


class AddedSerializer(serializers.Serializer[Any]):
    added = serializers.IntegerField(help_text="How many pairs of tag and target are new.")


class RemovedSerializer(serializers.Serializer[Any]):
    removed = serializers.IntegerField(help_text="How many pairs of tag and target there were.")


class MergeSerializer(StrictFields, serializers.Serializer[Any]):
    into = StrictCharField(max_length=names.MAX_LABEL * 2, help_text="The tag that stays: its id or label.")


class MergedSerializer(serializers.Serializer[Any]):
    moved = serializers.IntegerField(help_text="How many things got the tag that stays, and had it not.")
    tag = TagSerializer()


class LinkSerializer(serializers.ModelSerializer[TagLink]):
    """A tag on something: who or what set it, and what was decided about it."""

    tag = TagNameSerializer(read_only=True)
    is_auto_generated = serializers.BooleanField(source="is_auto", read_only=True)
    confidence_score = ScoreField(read_only=True, allow_null=True)

    class Meta:
        model = TagLink
        fields = [
            "id",
            "tag",
            "target_type",
            "target_id",
            "state",
            "origin",
            "is_auto_generated",
            "rule",
            "confidence_score",
            "created_by",
            "decided_by",
            "decided_at",
            "created_at",
        ]
        read_only_fields = fields


class RuleSerializer(StrictModelSerializer):
    """A rule that sets tags by itself, and how it has done: what it set, what people made of it."""

    condition = StrictCharField(max_length=30)
    settings = serializers.JSONField(
        required=False, help_text="What the condition can be told; see tag-rules/conditions."
    )
    tag = StrictCharField(
        max_length=names.MAX_LABEL * 2,
        required=False,
        allow_null=True,
        help_text="The label of the tag that it sets; null: those of the condition.",
    )
    confidence_score = ScoreField(required=False)
    is_active = StrictBooleanField(required=False)
    applied = serializers.SerializerMethodField()
    suggested = serializers.SerializerMethodField()
    accepted = serializers.SerializerMethodField()
    rejected = serializers.SerializerMethodField()
    precision = serializers.SerializerMethodField(
        help_text="Of what people decided, the share that they accepted; null before anybody has."
    )

    class Meta:
        model = TagRule
        fields = [
            "id",
            "name",
            "condition",
            "settings",
            "tag",
            "confidence_score",
            "is_active",
            "is_builtin",
            "applied",
            "suggested",
            "accepted",
            "rejected",
            "precision",
            "created_by",
            "created_at",
            "updated_at",
        ]
        read_only_fields = ["id", "is_builtin", "created_by", "created_at", "updated_at"]

    def validate_settings(self, settings: Any) -> dict[str, Any]:
        if not isinstance(settings, dict):
            raise serializers.ValidationError("Give an object.")
        return settings

    def _record(self, rule: TagRule) -> rules.Record:
        found: rules.Record = self.context.get("records", {}).get(rule.pk, rules.Record())
        return found

    def get_applied(self, rule: TagRule) -> int:
        return self._record(rule).applied

    def get_suggested(self, rule: TagRule) -> int:
        return self._record(rule).suggested

    def get_accepted(self, rule: TagRule) -> int:
        return self._record(rule).accepted

    def get_rejected(self, rule: TagRule) -> int:
        return self._record(rule).rejected

    def get_precision(self, rule: TagRule) -> str | None:
        precision = self._record(rule).precision
        return None if precision is None else str(precision)

    def to_representation(self, rule: TagRule) -> dict[str, Any]:
        shown: dict[str, Any] = super().to_representation(rule)
        shown["tag"] = rule.tag.label if rule.tag else None
        return shown


class ConditionSerializer(serializers.Serializer[Any]):
    key = serializers.CharField()
    title = serializers.CharField()
    origin = serializers.ChoiceField(choices=TagLink.Origin.choices)
    settings = serializers.DictField(child=serializers.CharField())


class ConditionListSerializer(serializers.Serializer[Any]):
    results = ConditionSerializer(many=True)
