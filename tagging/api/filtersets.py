from __future__ import annotations

from typing import Any

import django_filters
from django import forms

from synapscale.common.filters import StrictFilterSet
from tagging import names, registry
from tagging.models import Tag, TagLink, TagRule


class _Normalised(forms.CharField):
    """A text as tags are written."""

    def to_python(self, value: Any) -> str:
        text = super().to_python(value)
        try:
            return names.normalised(text) if text else ""
        except names.NotATag as error:
            raise forms.ValidationError(str(error), code="invalid") from None


class _Label(_Normalised):
    """A whole tag, however its name and value are parted."""

    def to_python(self, value: Any) -> str:
        text = super().to_python(value)
        try:
            return names.parse(text).label if text else ""
        except names.NotATag as error:
            raise forms.ValidationError(str(error), code="invalid") from None


class LabelFilter(django_filters.CharFilter):
    field_class = _Label


class NormalisedFilter(django_filters.CharFilter):
    field_class = _Normalised


class TagFilter(StrictFilterSet):
    label = LabelFilter()
    name = NormalisedFilter()
    value = NormalisedFilter()
    category = NormalisedFilter()
    search = NormalisedFilter(field_name="label", lookup_expr="contains")

    class Meta:
        model = Tag
        fields = ["is_system"]


def _target_types() -> list[tuple[str, str]]:
    return [(taggable.name, taggable.name) for taggable in registry.all_taggables()]


class LinkFilter(StrictFilterSet):
    target_type = django_filters.ChoiceFilter(choices=_target_types)
    tag = django_filters.UUIDFilter(field_name="tag_id")
    rule = django_filters.UUIDFilter(field_name="rule_id")
    target_id = django_filters.UUIDFilter()

    class Meta:
        model = TagLink
        fields = ["state", "origin"]


class RuleFilter(StrictFilterSet):
    class Meta:
        model = TagRule
        fields = ["condition", "is_active", "is_builtin"]
