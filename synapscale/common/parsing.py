"""Strict input: JSON as the standard has it, and no field or parameter that nobody reads."""

from __future__ import annotations

import json
import math
import re
from decimal import Decimal
from typing import Any

from django.core.exceptions import ValidationError as ModelValidationError
from django.db import models, transaction
from drf_spectacular.utils import extend_schema_field
from rest_framework import exceptions, parsers, serializers

from synapscale.common.money import UsdField, usd_text

MAX_DEPTH = 100
"""Objects and lists within one another. A JSON schema of a tool has a dozen."""
MAX_NOTES = 16
_AMOUNT = re.compile(r"-?[0-9]{1,30}(\.[0-9]{1,30})?")


class StrictJSONParser(parsers.JSONParser):
    """JSON without ``NaN`` or ``Infinity``, without duplicate keys, and with an object at the top."""

    strict = True

    def parse(self, stream: Any, media_type: Any = None, parser_context: Any = None) -> Any:
        try:
            raw = stream.read().decode("utf-8")
            data = _loads(raw) if raw else {}
        except RecursionError:
            raise exceptions.ParseError("The JSON is nested too deeply.") from None
        except ValueError as error:
            raise exceptions.ParseError(f"The body is not valid JSON: {error}") from None
        if not isinstance(data, dict):
            raise exceptions.ParseError("The body must be a JSON object.")
        return self.accept(data)

    def accept(self, data: dict[str, Any]) -> dict[str, Any]:
        """``data``, if it can be stored and read again. Raises ParseError."""
        _check(data)
        return data


class CleaningJSONParser(StrictJSONParser):
    """The same, but text that could not be stored is made so that it can be.

    For clients that send a whole conversation with every request: a tool's output with a NUL in it would otherwise have
    every further request of an agent refused.
    """

    def accept(self, data: dict[str, Any]) -> dict[str, Any]:
        _check(data, refuses_text=False)
        cleaned: dict[str, Any] = _cleaned(data)
        return cleaned


def _cleaned(value: Any) -> Any:
    """Without NUL, and with ``?`` for lone surrogates. Recursive: how deep it may be has been checked."""
    if isinstance(value, str):
        return value.replace("\x00", "").encode("utf-8", "replace").decode()
    if isinstance(value, list):
        return [_cleaned(part) for part in value]
    if isinstance(value, dict):
        return {_cleaned(name): _cleaned(part) for name, part in value.items()}
    return value


def _loads(raw: str) -> Any:
    return json.loads(raw, parse_constant=_refuse_constant, parse_float=_finite, object_pairs_hook=_unique_keys)


def _check(data: dict[str, Any], *, refuses_text: bool = True) -> None:
    """Refuse what could not be stored or read again. Level by level: recursion would have a limit of its own."""
    level: list[Any] = [data]
    for _ in range(MAX_DEPTH):
        texts = [value for value in level if isinstance(value, str)]
        if refuses_text and any("\x00" in text or not _is_unicode(text) for text in texts):
            # PostgreSQL stores neither, and no client means them.
            raise exceptions.ParseError("Text may contain neither NUL nor lone surrogates.")
        inner = [value for value in level if isinstance(value, dict | list)]
        level = [part for value in inner for part in (value if isinstance(value, list) else (*value, *value.values()))]
        if not level:
            return
    raise exceptions.ParseError("The JSON is nested too deeply.")


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:20]} is too large a number")
    return value


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("an object names a key twice")
    return result


class StrictQuery:
    """Mixed into a view: query parameters it doesn't know are refused by name, not ignored.

    A list knows its pages and its filters; whatever else there is knows none but ``query_parameters``.
    """

    query_parameters: tuple[str, ...] = ()

    def initial(self, request: Any, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)  # type: ignore[misc]
        known = {*self.query_parameters}
        if getattr(self, "action", "") == "list":
            pages, filters = self.paginator, getattr(self, "filterset_class", None)  # type: ignore[attr-defined]
            known |= {pages.cursor_query_param, pages.page_size_query_param, *(filters.base_filters if filters else ())}
            for backend in self.filter_backends:  # type: ignore[attr-defined]
                if hasattr(backend, "query_parameters"):
                    known |= backend().query_parameters(self)
        errors = {name: ["Unknown parameter."] for name in request.query_params if name not in known}
        if errors:
            raise serializers.ValidationError(errors)


class StrictFields:
    """Mixed into a serializer: fields it doesn't know are refused by name, not ignored."""

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, dict):
            writable = {name for name, field in self.fields.items() if not field.read_only}  # type: ignore[attr-defined]
            errors = {
                str(name): ["This field is read-only." if name in self.fields else "Unknown field."]  # type: ignore[attr-defined]
                for name in data
                if name not in writable
            }
            if errors:
                raise serializers.ValidationError(errors)
        return super().to_internal_value(data)  # type: ignore[misc]


class StrictIntegerField(serializers.IntegerField):
    """A JSON number without a fraction: neither ``true`` nor ``"5"`` nor ``5.0``; of 32 bits, on SQLite as well."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "max_value": min(kwargs.get("max_value", 2**31 - 1), 2**31 - 1)})

    def to_internal_value(self, data: Any) -> int:
        if type(data) is not int:
            self.fail("invalid")
        return super().to_internal_value(data)


@extend_schema_field({"type": "string", "pattern": r"^\d+(\.\d{1,12})?$", "examples": ["12.50"]})
class StrictUsdField(serializers.Field):
    """A positive amount as a decimal string, in and out: JSON numbers would lose digits."""

    default_error_messages = {
        "invalid": "Give an amount as a decimal string, like “12.50”.",
        "min_value": "An amount here is more than 0.",
    }

    def to_internal_value(self, data: Any) -> Decimal:
        if not isinstance(data, str) or not _AMOUNT.fullmatch(data):
            self.fail("invalid")
        try:
            amount = UsdField().to_python(data)
        except ModelValidationError as error:
            raise serializers.ValidationError(error.messages) from None
        if amount is None or amount <= 0:
            self.fail("min_value")
        return amount

    def to_representation(self, value: Decimal) -> str:
        return usd_text(value)


class StrictCharField(serializers.CharField):
    """A JSON string, and no number that could be written as one."""

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class StrictBooleanField(serializers.BooleanField):
    """``true`` or ``false``: neither ``1`` nor ``"yes"``, which a form would send."""

    def to_internal_value(self, data: Any) -> bool:
        if not isinstance(data, bool):
            self.fail("invalid", input=data)
        return data


@extend_schema_field(
    {"type": "object", "additionalProperties": {"type": "string", "maxLength": 512}, "maxProperties": MAX_NOTES}
)
class NotesField(serializers.JSONField):
    """What a client notes for its own use: up to 16 pairs of text."""

    def to_internal_value(self, data: Any) -> dict[str, str]:
        if not isinstance(data, dict) or len(data) > MAX_NOTES:
            raise serializers.ValidationError(f"Give an object with at most {MAX_NOTES} texts.")
        for name, text in data.items():
            if not 1 <= len(name) <= 64 or not isinstance(text, str) or len(text) > 512:
                raise serializers.ValidationError("A name has 1 to 64 characters, and its text at most 512.")
        return data


@extend_schema_field({"type": "string", "examples": ["0.800"], "description": "From 0 to 1, a decimal string."})
class ScoreField(serializers.DecimalField):
    """From 0 to 1, as a decimal string."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_digits=4, decimal_places=3, min_value=0, max_value=1, **kwargs)

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, bool):
            self.fail("invalid")
        return super().to_internal_value(data)


class StrictModelSerializer(StrictFields, serializers.ModelSerializer[Any]):
    """A model serializer that refuses what it doesn't know, and saves only what was sent.

    Saving the whole row would write back what it held when it was read: counters that a call has moved since, or a
    status that an operator has changed.
    """

    serializer_field_mapping = {
        **serializers.ModelSerializer.serializer_field_mapping,
        models.BooleanField: StrictBooleanField,
        models.CharField: StrictCharField,
        models.TextField: StrictCharField,
        models.PositiveIntegerField: StrictIntegerField,
        models.PositiveSmallIntegerField: StrictIntegerField,
    }

    def update(self, instance: models.Model, validated_data: dict[str, Any]) -> models.Model:
        for name, value in validated_data.items():
            setattr(instance, name, value)
        stamps = [field.name for field in instance._meta.fields if getattr(field, "auto_now", False)]
        with transaction.atomic():  # with its entry in the audit log, where there is one
            instance.save(update_fields=[*validated_data, *stamps])
        return instance
