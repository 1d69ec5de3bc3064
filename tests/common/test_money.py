"""The money field on its own: what it takes, what it refuses, how it is written."""

from __future__ import annotations

from decimal import Decimal, localcontext
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from hypothesis import given
from hypothesis import strategies as st

from synapscale.common.money import MAX_USD, RateField, UsdField, usd_text

USD, RATE = UsdField(), RateField()
dollars = st.decimals(min_value=-MAX_USD, max_value=MAX_USD, places=12)


@given(dollars)
def test_dollars_survive_the_way_to_pico_dollars_and_back(amount: Decimal) -> None:
    scaled = USD.to_scaled(amount)
    assert scaled == int(amount * 10**12)
    assert USD.from_scaled(scaled) == amount
    assert USD.from_db_value(scaled, None, None) == amount


@given(st.integers(min_value=-(10**12), max_value=10**12))
def test_a_rate_in_micro_dollars_per_million_is_the_same_number_of_pico_dollars_per_token(micro: int) -> None:
    rate = RATE.from_scaled(micro)
    assert RATE.to_scaled(rate) == micro
    assert USD.to_scaled(rate / 1_000_000) == micro


def test_arithmetic_elsewhere_in_the_process_does_not_change_what_is_stored() -> None:
    with localcontext() as context:
        context.prec = 5
        assert USD.to_scaled("1234567.123456789012") == 1234567123456789012
        assert USD.from_scaled(1234567123456789012) == Decimal("1234567.123456789012")


@pytest.mark.parametrize(
    ("value", "scaled"),
    [
        (5, 5 * 10**12),
        ("5", 5 * 10**12),
        ("0.000000000001", 1),
        ("-0.000000000001", -1),
        (Decimal("1E+2"), 10**14),
        ("1E-12", 1),
        ("0E-30", 0),
        ("0E999999999", 0),
        ("-0", 0),
        ("1.50000000000000000000", 15 * 10**11),
        (MAX_USD, 4 * 10**18),
        (-MAX_USD, -4 * 10**18),
    ],
)
def test_exact_values_are_taken(value: Any, scaled: int) -> None:
    assert USD.to_scaled(value) == scaled


@pytest.mark.parametrize("value", [1.5, 0.0, float("nan"), True, False, b"1", [], (1, 2), 1j])
def test_what_is_not_a_decimal_is_refused(value: Any) -> None:
    with pytest.raises(ValidationError) as refused:
        USD.to_python(value)
    assert refused.value.code == "invalid"


@pytest.mark.parametrize("value", ["NaN", "sNaN", "Infinity", "-Infinity", "", "five", "1,5", "0x10", "--1"])
def test_text_that_is_no_finite_number_is_refused(value: str) -> None:
    with pytest.raises(ValidationError) as refused:
        USD.to_python(value)
    assert refused.value.code == "invalid"


@pytest.mark.parametrize("value", [Decimal("NaN"), Decimal("sNaN"), Decimal("Infinity")])
def test_decimals_that_are_no_finite_number_are_refused(value: Decimal) -> None:
    with pytest.raises(ValidationError) as refused:
        USD.to_python(value)
    assert refused.value.code == "invalid"


@pytest.mark.parametrize(
    "value",
    [
        "4000000.000000000001",
        "-4000000.000000000001",
        "9223372.036854775808",
        "1E19",
        "1E999999999",
        "-1E999999999",
        10**40,
    ],
)
def test_an_amount_out_of_range_is_refused_however_it_is_written(value: Any) -> None:
    with pytest.raises(ValidationError) as refused:
        USD.to_python(value)
    assert refused.value.code == "max_value"
    assert refused.value.messages == ["An amount may not be larger than $4,000,000."]


@pytest.mark.parametrize("value", ["0.0000000000001", "1.0000000000001", "1E-13", "1E-999999999", "-1E-999999999"])
def test_an_amount_with_too_many_places_is_refused_not_rounded(value: str) -> None:
    with pytest.raises(ValidationError) as refused:
        USD.to_python(value)
    assert refused.value.code == "max_decimal_places"


def test_a_rate_has_six_places() -> None:
    assert RATE.to_scaled("0.000001") == 1
    with pytest.raises(ValidationError) as refused:
        RATE.to_python("0.0000001")
    assert refused.value.messages == ["An amount has at most 6 decimal places."]


@given(st.text(max_size=30))
def test_any_text_is_either_exact_or_a_validation_error(text: str) -> None:
    try:
        amount = USD.to_python(text)
    except ValidationError:
        return
    assert amount == Decimal(text)


@given(st.floats())
def test_no_float_ever_passes(value: float) -> None:
    with pytest.raises(ValidationError):
        USD.to_python(value)


def test_nothing_stays_nothing() -> None:
    assert USD.to_python(None) is None
    assert USD.get_prep_value(None) is None
    assert USD.from_db_value(None, None, None) is None


def test_a_form_field_limits_the_amount_in_dollars() -> None:
    field = UsdField().formfield()
    assert field.clean("12.50") == Decimal("12.50")
    assert UsdField().clean(Decimal(4_000_000), None) == Decimal(4_000_000)
    for wrong in ("0.0000000000001", "NaN", "1E999999999"):
        with pytest.raises(ValidationError):
            field.clean(wrong)


def test_a_float_as_default_is_a_system_check_error() -> None:
    class Priced(models.Model):
        amount = UsdField(default=0.5)

        class Meta:
            app_label = "common"

    from django.apps import apps

    del apps.all_models["common"]["priced"]
    assert "synapscale.E001" in [error.id for error in Priced._meta.get_field("amount").check()]


def test_a_migration_writes_the_places() -> None:
    *_, options = UsdField(decimal_places=9).deconstruct()
    assert options["decimal_places"] == 9
    assert RateField(**RateField().deconstruct()[3]).decimal_places == 6


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        ("0", "0.00"),
        ("5", "5.00"),
        ("-5", "-5.00"),
        ("0.000123000000", "0.000123"),
        ("1E-12", "0.000000000001"),
        ("1E+3", "1000.00"),
        ("12.5", "12.50"),
        ("-0.000000000001", "-0.000000000001"),
        ("4000000.000000000000", "4000000.00"),
    ],
)
def test_an_amount_as_text(amount: str, text: str) -> None:
    assert usd_text(Decimal(amount)) == text


@given(dollars)
def test_the_text_says_the_same_amount(amount: Decimal) -> None:
    text = usd_text(amount)
    assert Decimal(text) == amount
    assert "E" not in text
    assert len(text.partition(".")[2]) >= 2


@given(dollars)
def test_the_json_encoder_keeps_every_digit(amount: Decimal) -> None:
    assert USD.to_python(DjangoJSONEncoder().encode(amount).strip('"')) == amount
