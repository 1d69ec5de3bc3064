"""The back office: how values are shown, and typed. Numbers are those of the reader's language; JSON is checked."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from functools import cache, partial
from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import FieldDoesNotExist, ValidationError
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.translation import get_language
from django.utils.translation import gettext_lazy as _
from unfold.widgets import UnfoldAdminTextareaWidget, UnfoldAdminTextInputWidget

from synapscale.common import amounts, stored_words
from synapscale.common.amounts import dollars, whole
from synapscale.common.money import ExactDecimalField


@cache
def _number_column(field: models.Field, write: Callable[[Any], str]) -> Callable[[Any], str | None]:
    @admin.display(ordering=field.name, description=field.verbose_name)
    def column(row: Any) -> str | None:
        value = getattr(row, field.name)
        return None if value is None else write(value)

    column.__name__ = field.name
    return column


def shown(model: type[models.Model], name: Any) -> Any:
    """``name``, or a column that writes the number as the language has it where ``name`` is a field of money or counts."""
    try:
        field = model._meta.get_field(name) if isinstance(name, str) else None
    except FieldDoesNotExist:
        return name
    if isinstance(field, models.Field) and stored_words.holds(field):
        return _sentence_column(field)
    if isinstance(field, ExactDecimalField):
        return _number_column(field, dollars)
    if isinstance(field, models.IntegerField) and not field.choices:
        return _number_column(field, whole)
    return name


@cache
def _json_column(field: models.Field) -> Callable[[Any], str]:
    @admin.display(description=field.verbose_name)
    def column(row: Any) -> str:
        text = json.dumps(getattr(row, field.name), indent=2, ensure_ascii=False, cls=DjangoJSONEncoder)
        return format_html('<pre class="office-json">{}</pre>', text)

    column.__name__ = field.name
    return column


@cache
def _sentence_column(field: models.Field) -> Callable[[Any], str]:
    @admin.display(description=field.verbose_name, ordering=field.name)
    def column(row: Any) -> str:
        return stored_words.said(row, field.name)

    column.__name__ = field.name
    return column


@cache
def _text_column(name: str, label: str) -> Callable[[Any], str]:
    @admin.display(description=label)
    def column(row: Any) -> str:
        text = getattr(row, name)
        return format_html('<div class="office-text" dir="auto">{}</div>', text) if text else ""

    column.__name__ = name
    return column


def read(model: type[models.Model], name: Any) -> Any:
    """The same on the page of a row, where JSON and long texts have room for their lines."""
    try:
        field = model._meta.get_field(name) if isinstance(name, str) else None
    except FieldDoesNotExist:
        return name
    if isinstance(field, models.TextField) and not stored_words.holds(field):
        return _text_column(name, str(field.verbose_name))
    # Past unfold, which colours JSON with style attributes that the Content-Security-Policy forbids.
    return _json_column(field) if isinstance(field, models.JSONField) else shown(model, name)


class DecimalBox(UnfoldAdminTextInputWidget):
    """A box of text. A browser's own box for numbers has the comma or the point of the browser, not of the page."""

    def __init__(self, attrs: dict[str, Any] | None = None) -> None:
        super().__init__({"inputmode": "decimal", "autocomplete": "off", **(attrs or {})})


class DecimalInput(forms.DecimalField):
    """A number typed as the page's language writes it."""

    widget = DecimalBox

    def prepare_value(self, value: Any) -> Any:
        return amounts.for_typing(value) if isinstance(value, Decimal) else value

    def to_python(self, value: Any) -> Any:
        return super().to_python(amounts.typed(value) if isinstance(value, str) else value)


def is_confirmed(request: HttpRequest) -> bool:
    """Whether the page of an effect was confirmed, in the language in which the numbers were typed: ``1.500`` is another
    number in another one, so that whoever has switched meanwhile is shown the effect once more.
    """
    return "confirmed" in request.POST and request.POST.get("language", get_language()) == get_language()


class MoneyInput(DecimalInput):
    """An amount of money. It starts from ``0.00``, where Django would write the stored ``0E-12``."""


class JSONInput(forms.JSONField):
    """A list stays a list and an object an object; an emptied box is the empty one, not NULL."""

    def __init__(self, *, empty: Callable[[], Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.empty = empty

    def clean(self, value: Any) -> Any:
        cleaned, empty = super().clean(value), self.empty()
        if cleaned is None:
            return empty
        if type(cleaned) is not type(empty):
            said = _("Give a JSON list.") if isinstance(empty, list) else _("Give a JSON object.")
            raise ValidationError(said, code="invalid")
        return cleaned


class Presents:
    """Numbers as the reader's language writes them, shown and typed; JSON, where it is typed, checked."""

    model: type[models.Model]

    def formfield_for_dbfield(self, db_field: models.Field, request: HttpRequest, **kwargs: Any) -> Any:
        if isinstance(db_field, ExactDecimalField):
            # Past the ModelAdmin, whose widget for big integers has no decimals.
            return db_field.formfield(form_class=MoneyInput)
        if isinstance(db_field, models.DecimalField):
            return db_field.formfield(form_class=DecimalInput)
        if isinstance(db_field, models.JSONField) and not db_field.null:
            kwargs["form_class"] = partial(JSONInput, empty=db_field.get_default)
            kwargs["widget"] = UnfoldAdminTextareaWidget({"rows": 4, "spellcheck": "false"})
        return super().formfield_for_dbfield(db_field, request, **kwargs)  # type: ignore[misc]

    def _is_editable(self, request: HttpRequest, obj: Any) -> bool:
        if obj is None:
            return bool(self.has_add_permission(request))  # type: ignore[attr-defined]
        return bool(self.has_change_permission(request, obj))  # type: ignore[attr-defined]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        names = super().get_readonly_fields(request, obj)  # type: ignore[misc]
        return [read(self.model, name) for name in names]

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        fieldsets = super().get_fieldsets(request, obj)  # type: ignore[misc]
        read_only = set(self.get_readonly_fields(request, obj))
        is_editable = self._is_editable(request, obj)

        def present(name: Any) -> Any:
            column = read(self.model, name)
            return column if column in read_only or not is_editable else name

        return [
            (title, {**options, "fields": [present(name) for name in options["fields"]]})
            for title, options in fieldsets
        ]
