"""CSV that is safe to open in a spreadsheet, and loses nothing."""

from __future__ import annotations

import csv
import io
import re
from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from analytics.reports import csv_format
from analytics.reports.columns import Column, Table, Type
from llm.models import LLM
from tests.analytics.reports import NOON, REPORTS, content, made, rows
from tests.analytics.usage import Call, write
from tests.people import Person

DANGEROUS = tuple("=+-@\t\r\n")
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"))


def written(*columns: tuple[Type, object]) -> str:
    table = Table(
        tuple(Column(f"c{n}", type_) for n, (type_, _) in enumerate(columns)),
        iter([[tuple(value for _, value in columns)]]),
    )
    return b"".join(csv_format.write(table)).decode()


def read(text: str) -> list[str]:
    return list(csv.reader(io.StringIO(text, newline=""), strict=True))[1]


@given(texts, texts)
@example('=HYPERLINK("http://x")', "'=1")
@example("'", "''")
@example("-2+3", "\t=1")
@example('a"b,c\r\nd', "＝1")
@example("x;=1+1", "x;'=1;;=1")
@example("\t\t=1", "x\n=1\r\n=1")
def test_text_comes_back_as_it_was_and_is_no_formula(one: str, two: str) -> None:
    cells = read(written((Type.TEXT, one), (Type.TEXT, two)))
    assert not any(cell.startswith(DANGEROUS) for cell in cells)
    # Where the list separator is a semicolon, as in Brazil and Germany, or when told so, a program splits there.
    assert not any(part.startswith(DANGEROUS) for cell in cells for part in re.split(r"[;\t\r\n]", cell))
    assert [csv_format.original(cell) for cell in cells] == [one, two]


@given(st.lists(texts.filter(lambda text: "," not in text), max_size=3))
def test_lists_are_text_as_well(labels: list[str]) -> None:
    (cell,) = read(written((Type.TEXTS, labels), (Type.INTEGER, 1)))[:1]
    assert not cell.startswith(DANGEROUS)
    assert csv_format.original(cell) == ", ".join(labels)


@given(st.integers(), st.decimals(allow_nan=False, allow_infinity=False))
def test_numbers_stay_numbers(number: int, amount: object) -> None:
    assert read(written((Type.INTEGER, number), (Type.DECIMAL, str(amount)))) == [str(number), str(amount)]


def test_lines_are_those_of_the_standard() -> None:
    moment = datetime(2026, 10, 25, 12, tzinfo=UTC)
    values = ((Type.TEXT, "a"), (Type.TIME, moment), (Type.BOOLEAN, True), (Type.TEXT, None), (Type.TEXTS, []))
    assert written(*values) == "c0,c1,c2,c3,c4\r\na,2026-10-25T12:00:00+00:00,true,,\r\n"


@pytest.mark.django_db
def test_a_name_that_is_a_formula_is_none_in_the_file(alice: Person, llm: LLM) -> None:
    alice.user.email = "=cmd|calc@example.org"
    alice.user.save(update_fields=["email"])
    write([Call(NOON, alice, llm)])
    report = made(alice, kind="calls")
    assert b",'=cmd|calc@example.org," in content(alice.get(f"{REPORTS}/{report['id']}/download", format="csv"))
    assert rows(alice, report, format="csv")[0]["user_email"] == "=cmd|calc@example.org"
