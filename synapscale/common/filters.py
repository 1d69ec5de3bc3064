"""Filters of lists, as strict as bodies: a value that is not understood is refused, not ignored."""

from __future__ import annotations

from typing import Any

import django_filters
from django import forms
from django.core.exceptions import ValidationError
from django.db import models

_WORDS = {"true": True, "false": False}


class _TrueOrFalse(forms.Field):
    """Django's own fields take whatever they don't know for “not given”."""

    def to_python(self, value: Any) -> bool | None:
        if value in self.empty_values:
            return None
        try:
            return _WORDS[value.lower()]
        except KeyError:
            raise ValidationError("Give “true” or “false”.", code="invalid") from None


class StrictBooleanFilter(django_filters.BooleanFilter):
    field_class = _TrueOrFalse  # type: ignore[assignment]  # any form field will do


class StrictFilterSet(django_filters.FilterSet):
    FILTER_DEFAULTS = {
        **django_filters.FilterSet.FILTER_DEFAULTS,
        models.BooleanField: {"filter_class": StrictBooleanFilter},
    }
