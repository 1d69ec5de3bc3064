"""Numbers are written and read as each language has them, to the last digit."""

from __future__ import annotations

from decimal import Decimal

import pytest
from django.utils import translation

from synapscale.common.amounts import digits, dollars, for_typing, milliseconds, plain, typed, whole


@pytest.mark.parametrize(
    ("amount", "english", "portuguese"),
    [
        ("0", "$0.00", "US$\u00a00,00"),
        ("12.5", "$12.50", "US$\u00a012,50"),
        ("-12.5", "-$12.50", "-US$\u00a012,50"),
        ("1234567.891", "$1,234,567.891", "US$\u00a01.234.567,891"),
        ("0.000000000001", "$0.000000000001", "US$\u00a00,000000000001"),
        ("3999999.999999999999", "$3,999,999.999999999999", "US$\u00a03.999.999,999999999999"),
        ("5E-12", "$0.000000000005", "US$\u00a00,000000000005"),
    ],
)
def test_money_is_written_to_its_last_digit(amount: str, english: str, portuguese: str) -> None:
    assert dollars(Decimal(amount)) == english
    with translation.override("pt-br"):
        assert dollars(Decimal(amount)) == portuguese


def test_a_plain_number_has_no_digit_too_many() -> None:
    assert [plain(Decimal(text)) for text in ("3.000", "0.050", "1234.5", "-2", "1E+3")] == [
        "3",
        "0.05",
        "1,234.5",
        "-2",
        "1,000",
    ]
    with translation.override("pt-br"):
        assert plain(Decimal("1234.50")) == "1.234,5"


def test_numbers_have_the_separators_of_the_language() -> None:
    assert (digits(Decimal("1234.5")), whole(1234567)) == ("1,234.50", "1,234,567")
    with translation.override("pt-br"):
        assert (digits(Decimal("1234.5")), whole(1234567)) == ("1.234,50", "1.234.567")


@pytest.mark.parametrize(
    ("value", "text"), [(None, "–"), (0, "0 ms"), (999, "999 ms"), (1000, "1.0 s"), (4960, "5.0 s"), (12_345, "12.3 s")]
)
def test_how_long_something_took(value: int | None, text: str) -> None:
    assert milliseconds(value) == text


@pytest.mark.parametrize(
    ("text", "english", "portuguese"),
    [
        ("12", "12", "12"),
        (" 12.50 ", "12.50", "12.50"),
        ("1.500", "1.500", "1500"),
        ("12.500", "12.500", "12500"),
        ("0.125", "0.125", "0.125"),
        ("1234.567", "1234.567", "1234.567"),
        ("1,500", "1500", "1.500"),
        ("1.234,50", None, "1234.50"),
        ("1,234.50", "1234.50", None),
        ("12,50", None, "12.50"),
        ("0,000052", None, "0.000052"),
        ("-1.234.567,89", None, "-1234567.89"),
        ("1.23.456", None, None),
        ("1.500.00", None, None),
        ("12,50,00", None, None),
        ("١٢٫٥", None, None),
        ("", None, None),
    ],
)
def test_what_is_typed_is_read_as_the_language_writes_it(
    text: str, english: str | None, portuguese: str | None
) -> None:
    for language, expected in (("en", english), ("pt-br", portuguese)):
        with translation.override(language):
            read = typed(text)
        if expected is None:
            assert read == text.strip()  # the field refuses it
        else:
            assert Decimal(read) == Decimal(expected)


@pytest.mark.parametrize("language", ["en", "pt-br"])
@pytest.mark.parametrize("amount", ["0", "1.5", "1.125", "0.125", "1500", "-12.5", "123456.789", "0.000000000001"])
def test_what_a_box_starts_with_is_read_as_the_same(language: str, amount: str) -> None:
    with translation.override(language):
        assert Decimal(typed(for_typing(Decimal(amount)))) == Decimal(amount)
