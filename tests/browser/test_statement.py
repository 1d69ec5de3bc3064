"""An operator reads a workspace's month, and takes it along."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from django.db import transaction
from django.utils import timezone
from playwright.sync_api import expect

from billing.models import Wallet
from office.statements import Month
from tests.browser.browsing import Page
from tests.catalogue import make_llm
from tests.office.ledgers import adjust, call, credit
from tests.people import Cast, make_cast


@transaction.atomic
def make_month() -> tuple[Cast, Month]:
    """The last month that is over, of Acme."""
    cast, month = make_cast(), Month.of(timezone.now()).previous
    start, acme = month.start, cast.alice.workspace
    models = [make_llm(), make_llm("anthropic", "claude")]
    credit(acme, start - timedelta(days=3), "20", "Bank transfer", payment_transaction_id="pi_41")
    credit(
        acme, start + timedelta(days=2), "1250", "Bank transfer of a customer who says a lot about it", reference="t:1"
    )
    for number in range(12):
        person = (cast.alice, cast.bob)[number % 2]
        call(
            person,
            models[number % 2],
            start + timedelta(days=number),
            f"0.0{number % 10}1000000001",
            tokens=number * 1000,
        )
    call(cast.bob, models[1], start + timedelta(days=15), "0.02", key_source="user", cost="0.4")
    adjust(acme, start + timedelta(days=19), "-2.5", "Counted twice: <b>bold</b> \u202eand backwards")
    return cast, month


def test_a_statement_is_found_read_and_taken_along(page: Page, tmp_path: Path) -> None:
    _cast, month = make_month()
    page.open("/admin/").raw.locator("#nav-sidebar-apps").get_by_role("link", name="Statements").click()
    page.settled().axe().shot("statements")
    page.theme("dark").axe("color-contrast").shot("statements-dark")
    page.theme("light")
    page.raw.get_by_label("Workspace").fill("acm")
    page.raw.get_by_role("button", name="Find").click()
    page.settled()
    page.raw.get_by_role("link", name="Acme").click()
    page.settled().axe().shot("statement")
    page.theme("dark").axe("color-contrast").shot("statement-dark")
    page.theme("light")

    expect(page.raw.get_by_text("Agrees with the ledger: its 15 movements")).to_be_visible()
    expect(page.raw.get_by_text("$1,250.00").first).to_be_visible()
    for name, begins in (("PDF", b"%PDF-"), ("CSV", b"Section,")):
        with page.raw.expect_download() as download:
            page.raw.get_by_role("link", name=name, exact=True).click()
        file = tmp_path / download.value.suggested_filename
        download.value.save_as(file)
        assert file.stem == f"statement_acme_{month}"
        assert file.read_bytes().startswith(begins)

    page.raw.get_by_label("Month", exact=True).select_option(str(month.previous))
    page.raw.get_by_role("button", name="Show").click()
    page.settled().axe()
    expect(page.raw.get_by_role("heading", name=f"Acme, {month.previous.name}")).to_be_visible()
    page.raw.get_by_role("link", name=f"{month.name} ›").click()
    page.settled()
    expect(page.raw.get_by_role("heading", name=f"Acme, {month.name}")).to_be_visible()


def test_a_wallet_leads_to_it_also_on_a_phone(page: Page) -> None:
    cast, _month = make_month()
    page.change(Wallet.objects.get(workspace=cast.alice.workspace))
    page.shot("wallet-with-statements")
    page.raw.get_by_role("link", name="Statements").last.click()
    page.settled().on_a_phone().axe().shot("phone-statement")
    assert not page.is_wider_than_the_screen()
    page.open("/admin/statements/").axe().shot("phone-statements")
    assert not page.is_wider_than_the_screen()
