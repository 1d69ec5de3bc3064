"""Statements as files: a CSV that adds up, and a PDF that says what the page says."""

from __future__ import annotations

import csv
import io
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from django.utils import translation
from pypdf import PdfReader

from llm.models import LLM
from office import statement_csv, statement_pdf
from office.pdf_text import markup
from office.rtl_text import as_painted
from office.statements import Month, statement
from tests.catalogue import make_llm
from tests.office.ledgers import adjust, at, call, charge, credit, refund
from tests.people import Cast, join
from workspaces.models import Membership, User, Workspace

pytestmark = pytest.mark.django_db
OCTOBER = Month(2026, 10)
LATER = at(12)
ZERO = Decimal(0)


@pytest.fixture
def acme(cast: Cast, llm: LLM) -> Workspace:
    acme = cast.alice.workspace
    credit(acme, at(9), "1000.5")
    credit(acme, at(10, 1), "5", "Bank transfer → wallet", payment_transaction_id="=1+1")
    charged = call(cast.alice, llm, at(10, 2), "0.000001000001", tokens=1234)
    call(cast.bob, llm, at(10, 3), "0.5")
    call(cast.bob, make_llm("anthropic"), at(10, 3), "0.01", key_source="user", cost="0.25")
    charge(acme, at(10, 4), "20", kind="subscription", said="Pro")
    assert charged.billing_event is not None
    refund(charged.billing_event, at(10, 5), "0.000001")
    adjust(acme, at(10, 6), "-0.1", "Counted twice")
    return acme


def as_csv(acme: Workspace, month: Month = OCTOBER) -> list[dict[str, str]]:
    text = b"".join(statement_csv.write(statement(acme, month, now=LATER, listed=None))).decode()
    return list(csv.DictReader(io.StringIO(text, newline="")))


def as_pdf(acme: Workspace, month: Month = OCTOBER, **options: Any) -> bytes:
    return statement_pdf.write(statement(acme, month, now=LATER, **options))


def text_of(pdf: bytes) -> str:
    return " ".join(" ".join(page.extract_text() for page in PdfReader(io.BytesIO(pdf)).pages).split())


# --- CSV ------------------------------------------------------------------------------------------------------------


def test_the_column_of_amounts_adds_up_to_the_closing_balance(acme: Workspace) -> None:
    rows = as_csv(acme)

    assert [(row["Section"], row["Model"], row["Member"], row["Amount, USD"]) for row in rows] == [
        ("Opening balance", "", "", "1000.50"),
        ("Credits", "", "", "5.00"),
        ("Subscriptions", "", "", "-20.00"),
        ("Usage", "openai/openai-test", "Alice (alice@example.org)", "-0.000001000001"),
        ("Usage", "openai/openai-test", "Bob (bob@example.org)", "-0.50"),
        ("Platform fees", "anthropic/anthropic-test", "Bob (bob@example.org)", "-0.01"),
        ("Refunds", "", "", "0.000001"),
        ("Adjustments", "", "", "-0.10"),
        ("Closing balance", "", "", ""),
        ("Own-key usage", "anthropic/anthropic-test", "", ""),
    ]
    added = sum((Decimal(row["Amount, USD"]) for row in rows if row["Amount, USD"]), ZERO)
    assert added == Decimal(rows[-2]["Balance, USD"]) == Decimal("984.889999999999")
    assert (rows[-1]["Own-key cost, USD"], rows[-1]["Calls"], rows[-1]["Tokens"]) == ("0.25", "1", "30")
    assert (rows[3]["Calls"], rows[3]["Tokens"]) == ("1", "1234")
    assert rows[1]["Time, UTC"] == "2026-10-01T12:00:00+00:00"
    assert rows[-2]["Description"].startswith("Agrees with the ledger: its 7 movements")


def test_nothing_in_it_is_a_formula(acme: Workspace) -> None:
    Workspace.objects.filter(pk=acme.pk).update(name='=HYPERLINK("x")')
    User.objects.filter(email="bob@example.org").update(name="@Bob")
    rows = as_csv(Workspace.objects.get(pk=acme.pk))

    assert rows[0]["Description"] == '\'=HYPERLINK("x"), 2026-10'
    assert rows[1]["Reference"] == "'=1+1"
    members = [row["Member"] for row in rows if "bob" in row["Member"]]
    assert members == ["'@Bob (bob@example.org)"] * 2


def test_it_lists_all_movements(acme: Workspace) -> None:
    for _ in range(205):
        credit(acme, at(10, 7), "1")
    rows = [row for row in as_csv(acme) if row["Section"] == "Credits"]
    assert len(rows) == 206


def test_its_numbers_are_the_same_in_every_language(acme: Workspace) -> None:
    plain = as_csv(acme)
    with translation.override("pt-br"):
        found = as_csv(acme)
    amounts = [list(row.values())[8:] for row in plain]
    assert [list(row.values())[8:] for row in found] == amounts


def test_what_is_stored_is_in_the_file_as_it_is_stored(acme: Workspace) -> None:
    """Programs read it; people read the same in their language."""
    credit(acme, at(10, 7), "1", "Trial credit")
    plain = as_csv(acme)
    with translation.override("pt-br"):
        found = as_csv(acme)
        text = text_of(as_pdf(acme))

    stored = [list(row.values())[1:6] for row in plain if row["Reference"]]
    assert [list(row.values())[1:6] for row in found if list(row.values())[5]] == stored
    assert [cells[3] for cells in stored].count("Trial credit") == 1
    assert "Crédito de teste" in text
    assert "Trial credit" not in text


# --- PDF ------------------------------------------------------------------------------------------------------------


def test_it_says_what_the_page_says(acme: Workspace) -> None:
    text = text_of(as_pdf(acme))

    assert "SynapScale Statement Acme October 2026 · acme" in text
    for said in (
        "Opening balance $1,000.50",
        "Credits $5.00",
        "Subscriptions -$20.00",
        "Usage -$0.500001000001",
        "Platform fees -$0.01",
        "Refunds $0.000001",
        "Adjustments -$0.10",
        "Closing balance $984.889999999999",
        "Agrees with the ledger: its 7 movements of the month, numbers 2 to 8, lead from the opening to the closing balance",
        "Usage by model Model Calls Tokens Amount openai/openai-test 2 1,264 -$0.500001000001 Total 2 1,264",
        "Bob (bob@example.org) 1 30 -$0.50",
        "Bank transfer → wallet =1+1 $5.00",
        "Own-key usage",
        "anthropic/anthropic-test 1 30 $0.25",
        "Page 1 of 2",
        "Statement of Acme, October 2026",
    ):
        assert said in text, (said, text)
    assert "Provisional" not in text


def test_the_same_statement_is_the_same_file(acme: Workspace) -> None:
    once = as_pdf(acme)
    assert as_pdf(acme) == once
    credit(acme, at(10, 8), "1")
    assert as_pdf(acme) != once
    information = PdfReader(io.BytesIO(once)).metadata
    assert information is not None
    assert information.title == "Statement of Acme, October 2026"


def test_a_month_that_may_change_says_so(acme: Workspace) -> None:
    text = text_of(statement_pdf.write(statement(acme, OCTOBER, now=at(10, 20))))
    assert "Provisional: the month may still change" in text


def test_an_empty_month(acme: Workspace) -> None:
    text = text_of(as_pdf(acme, Month(2026, 8)))
    assert "Closing balance $0.00" in text
    assert "nothing moved the balance in this month" in text


def test_long_tables_go_on_with_their_heads_and_pages_are_numbered(acme: Workspace) -> None:
    for number in range(120):
        credit(acme, at(10, 7), "1.5", f"Payment {number} " + "of a long name " * 8)
    pages = PdfReader(io.BytesIO(as_pdf(acme))).pages
    texts = [" ".join(page.extract_text().split()) for page in pages]

    assert len(texts) > 4
    for number, text in enumerate(texts, 1):
        assert f"Page {number} of {len(texts)}" in text
    full = [text for text in texts if text.count("Payment") > 5]
    assert len(full) > 2
    assert all("Time, UTC Description Reference Amount" in text for text in full)
    assert sum(text.count("Payment") for text in texts) == 120


def test_names_are_written_in_their_letters(acme: Workspace, llm: LLM) -> None:
    Workspace.objects.filter(pk=acme.pk).update(name="Ação & Łódź <b>→ Ωμέγα Жук 株式会社")
    for name in ("田中さくら", "김민수", "王伟", "Nguyễn Văn Ả"):
        person = join(acme, f"u{len(name)}{ord(name[0])}", Membership.Role.MEMBER)
        User.objects.filter(pk=person.user.pk).update(name=name)
        call(person, llm, at(10, 9), "0.1")
    text = text_of(as_pdf(Workspace.objects.get(pk=acme.pk)))

    assert "Ação & Łódź <b>→ Ωμέγα Жук 株式会社" in text
    for name in ("田中さくら", "김민수", "王伟", "Nguyễn Văn Ả"):
        assert f"{name} (" in text, text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a<b>&amp;", "a&lt;b&gt;&amp;amp;"),
        ("one\ntwo\tthree", "one two three"),
        ("\u202eevil\x07\u200b", "�evil��"),
        ("क्ष", "���"),  # no font of ours has it
        ("a\u200db", "ab"),
        ("\U0002000b", "�"),
    ],
)
def test_what_people_wrote_does_nothing_to_the_page(text: str, shown: str) -> None:
    assert markup(text) == shown


@pytest.mark.parametrize(
    ("text", "painted"),
    [
        ("Ação → Жук", "Ação → Жук"),
        ("\u05e9\u05dc\u05d5\u05dd", "\u05dd\u05d5\u05dc\u05e9"),
        ("Acme \u05d0\u05d1 \u05d2 Ltd", "Acme \u05d2 \u05d1\u05d0 Ltd"),
        ("\u05d0 12.5 (\u05d1\u05d2) \u05d3 7", "\u05d3 (\u05d2\u05d1) 12.5 \u05d0 7"),
        ("\u0645\u062d\u0645\u062f", "\ufeaa\ufee4\ufea4\ufee3"),  # four letters that join
        ("\u0633\u0644\u0627\u0645", "\ufee1\ufefc\ufeb3"),  # lam and alef are one
        ("\u0628\u064e\u062a", "\ufe96\ufe91\u064e"),  # joined past a vowel sign, which stays with its letter
        ("\u0627\u0628", "\ufe8f\ufe8d"),  # alef joins with nothing after it
    ],
)
def test_letters_from_right_to_left_stand_as_they_are_read(text: str, painted: str) -> None:
    assert as_painted(text) == painted


def test_words_and_numbers_are_those_of_the_reader(acme: Workspace) -> None:
    with translation.override("pt-br"):
        text = text_of(as_pdf(acme))
    assert "US$ 1.000,50" in text
    assert "US$ 984,889999999999" in text
    assert "Outubro de 2026" in text


# --- Over the wire --------------------------------------------------------------------------------------------------


def test_files_are_downloaded(acme: Workspace) -> None:
    client = Client()
    client.force_login(User.objects.create_superuser("root@example.org"))
    path = f"/admin/statements/{acme.pk}/"

    pdf = client.get(path, {"month": "2026-10", "format": "pdf"})
    assert (pdf.status_code, pdf["Content-Type"]) == (200, "application/pdf")
    assert pdf["Content-Disposition"] == 'attachment; filename="statement_acme_2026-10.pdf"'
    assert "$984.889999999999" in text_of(pdf.content)

    sheet = client.get(path, {"month": "2026-10", "format": "csv"})
    assert (sheet.status_code, sheet["Content-Type"]) == (200, "text/csv; charset=utf-8")
    assert sheet["Content-Disposition"] == 'attachment; filename="statement_acme_2026-10.csv"'
    assert sheet.content.startswith(b"Section,")
