"""Exact decimals: a Decimal in Python, a whole number in the database, on every engine.

SQLite has no exact decimal, so money is stored as BIGINT: dollars as pico-dollars (12 places) and prices per million
tokens as micro-dollars (6 places). The two meet without rounding: one micro-dollar per million tokens is one
pico-dollar per token.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation, localcontext
from typing import Any

from django.core import checks, exceptions, validators
from django.db import models
from django.db.models.expressions import Combinable
from django.utils.translation import gettext_lazy as _

ZERO = Decimal(0)
MAX_USD = Decimal(4_000_000)
"""No amount or balance may be larger: 4e18 pico-dollars leave BIGINT room for one more addition of the same size."""


class ExactDecimalField(models.BigIntegerField):
    """A Decimal of at most ``decimal_places`` places, stored as ``value * 10**decimal_places`` in a BIGINT.

    A value with more places is refused, never rounded. A float is refused.
    """

    description = "Exact decimal stored as a scaled integer"
    # What django-stubs takes for the type of the attribute.
    _pyi_private_set_type: Decimal | int | str | Combinable  # type: ignore[assignment]
    _pyi_private_get_type: Decimal  # type: ignore[assignment]
    _pyi_lookup_exact_type: Decimal | int | str  # type: ignore[assignment]

    def __init__(self, *args: Any, decimal_places: int, **kwargs: Any) -> None:
        self.decimal_places = decimal_places
        self.quantum = Decimal(1).scaleb(-decimal_places)
        super().__init__(*args, **kwargs)

    def deconstruct(self) -> Any:
        name, path, args, kwargs = super().deconstruct()
        return name, path, args, {**kwargs, "decimal_places": self.decimal_places}

    def check(self, **kwargs: Any) -> list[checks.CheckMessage]:
        errors = super().check(**kwargs)
        if self.has_default() and isinstance(self.default, float):
            errors.append(checks.Error("Money is never a float.", obj=self, id="synapscale.E001"))
        return errors

    @property
    def validators(self) -> list[Any]:
        # BigIntegerField would compare dollars with the limits of the scaled integer.
        return [*self._validators, validators.MinValueValidator(-MAX_USD), validators.MaxValueValidator(MAX_USD)]  # type: ignore[attr-defined]

    def to_scaled(self, value: Any) -> int:
        """``value`` as the stored integer. Raises ValueError when it would have to be rounded."""
        exact = self.to_python(value)
        assert exact is not None
        numerator, denominator = exact.as_integer_ratio()
        return numerator * 10**self.decimal_places // denominator

    def from_scaled(self, value: int) -> Decimal:
        # By text: arithmetic on Decimals would round to the precision of the caller's context.
        return Decimal(f"{value}E-{self.decimal_places}")

    def to_python(self, value: Any) -> Decimal | None:
        if value is None:
            return None
        if isinstance(value, bool | float) or not isinstance(value, int | str | Decimal):
            raise exceptions.ValidationError(
                _("An amount must be a decimal, not %(type)s.") % {"type": type(value).__name__}, code="invalid"
            )
        try:
            exact = Decimal(value)
        except InvalidOperation:
            raise exceptions.ValidationError(
                _("“%(value)s” is not a decimal number.") % {"value": value}, code="invalid"
            ) from None
        if not exact.is_finite():
            raise exceptions.ValidationError(_("An amount must be finite."), code="invalid")
        # copy_abs, not abs: that one is arithmetic, and overflows on 1E999999999.
        if exact.copy_abs() > MAX_USD:
            raise exceptions.ValidationError(_("An amount may not be larger than $4,000,000."), code="max_value")
        with localcontext() as context:
            context.prec = 60
            rounded = exact.quantize(self.quantum)
        if rounded != exact:
            raise exceptions.ValidationError(
                _("An amount has at most %(places)s decimal places.") % {"places": self.decimal_places},
                code="max_decimal_places",
            )
        return rounded

    def from_db_value(self, value: int | None, expression: Any, connection: Any) -> Decimal | None:
        # PostgreSQL's SUM of BIGINT is NUMERIC, SQLite's an integer: both come out as a whole number of quanta.
        return None if value is None else self.from_scaled(int(value))

    def get_prep_value(self, value: Any) -> Any:
        if value is None or hasattr(value, "resolve_expression"):
            return value
        return self.to_scaled(value)

    def value_to_string(self, obj: models.Model) -> str:
        value = self.value_from_object(obj)
        return "" if value is None else format(value, "f")

    def formfield(self, **kwargs: Any) -> Any:
        from django import forms

        options = {"form_class": forms.DecimalField, "decimal_places": self.decimal_places, "max_digits": 20}
        # Skip BigIntegerField.formfield, which adds integer limits.
        return models.Field.formfield(self, **{**options, **kwargs})


class UsdField(ExactDecimalField):
    """US dollars to the pico-dollar."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("decimal_places", 12)
        super().__init__(*args, **kwargs)


class RateField(ExactDecimalField):
    """US dollars per million tokens, with six places: equal in number to pico-dollars per token when scaled."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("decimal_places", 6)
        super().__init__(*args, **kwargs)


def usd_text(amount: Decimal) -> str:
    """``amount`` as the decimal string that JSON carries: exact, no exponent, no trailing zeros beyond the cent.

    >>> usd_text(Decimal("0.000123000000"))
    '0.000123'
    >>> usd_text(Decimal("5"))
    '5.00'
    """
    text = format(amount, "f")
    whole, _, places = text.partition(".")
    return f"{whole}.{places.rstrip('0').ljust(2, '0')}"


def usd(amount: Decimal) -> models.Value:
    """``amount`` for arithmetic in the database: ``F("held") + usd(amount)``.

    A bare Decimal there would be taken for a DECIMAL and added unscaled to the pico-dollars of the column. To read
    such a sum, wrap it: ``ExpressionWrapper(..., output_field=UsdField())``; Django would take it for a plain
    integer.
    """
    return models.Value(amount, output_field=UsdField())
