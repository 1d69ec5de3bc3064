"""An operator looks at a wallet, and refunds a customer from there."""

from __future__ import annotations

import re
from decimal import Decimal

import pytest
from playwright.sync_api import FloatRect, Locator, expect

from billing import ledger
from billing.models import BillingEvent, Hold, Wallet
from conversations.models import Conversation
from llm.models import LLM
from tests.admin.rows import admitted_by, answer_in, make_workplace
from tests.browser.browsing import DESKTOP, PHONE, Page
from tests.browser.test_languages import in_portuguese
from workspaces.models import User


def test_a_wallet_with_calls_under_way(page: Page) -> None:
    owner = make_workplace(1)
    wallet = Wallet.objects.get(workspace=owner.workspace)
    conversation, llm = Conversation.objects.get(workspace=owner.workspace), LLM.objects.get()
    for _ in range(60):
        answer_in(conversation, owner, llm)
    ledger.adjust(
        workspace=owner.workspace,
        amount=Decimal("-0.5"),
        reference="correction-7",
        description="<script>alert(1)</script> \u202eevil",
        actor=None,
    )
    admitted_by(owner, llm)
    second = admitted_by(owner, llm)
    Hold.objects.filter(workspace=owner.workspace, pk=second.pk).update(owner="gone:1:1", is_dispatched=True)

    page.change(wallet).axe().shot("wallet")
    expect(page.raw.get_by_text("The provider has been called; nothing of the answer")).to_be_visible()
    expect(page.raw.get_by_text("leaves exactly the wallet's balance")).to_be_visible()
    expect(page.raw.get_by_text("<script>alert(1)</script>")).to_be_visible()
    page.raw.locator("#ledger").scroll_into_view_if_needed()
    page.shot("wallet-ledger")
    page.theme("dark").axe().shot("wallet-dark")
    page.raw.get_by_role("link", name=re.compile("The whole ledger")).click()
    page.settled().axe().shot("ledger")
    page.raw.get_by_role("link", name="Older").click()
    page.settled()
    expect(page.raw.get_by_role("link", name="1", exact=True)).to_be_visible()
    page.on_a_phone().axe().shot("ledger-phone")
    assert not page.is_wider_than_the_screen()
    page.change(wallet).shot("wallet-phone")
    assert not page.is_wider_than_the_screen()


@pytest.mark.parametrize("language", ["en", "pt-br"])
def test_the_way_to_a_refund_is_in_sight_and_covers_no_amount(page: Page, language: str) -> None:
    owner = make_workplace(1)
    wallet = Wallet.objects.get(workspace=owner.workspace)
    if language == "pt-br":
        in_portuguese(page)
    page.change(wallet)
    refunds = page.raw.locator("#ledger .office-act a")
    table = page.raw.locator("#ledger .office-scroll")
    for width in (DESKTOP["width"], PHONE["width"]):
        page.raw.set_viewport_size({"width": width, "height": 900})
        refunds.first.scroll_into_view_if_needed()
        page.shot(f"wallet-refunds-{language}-{width}")
        around, amounts = box(table), [box(one) for one in page.raw.locator("#ledger tbody td.office-number").all()]
        assert len(amounts) > 2
        assert around["x"] + around["width"] <= width
        assert refunds.count() == 1
        link, cell = box(refunds.first), box(refunds.first.locator(".."))
        assert around["x"] <= link["x"]
        assert link["x"] + link["width"] <= around["x"] + around["width"]
        assert not [amount for amount in amounts if overlap(cell, amount)]
        if width == DESKTOP["width"]:
            assert table.evaluate("box => box.scrollWidth <= box.clientWidth")


def box(found: Locator) -> FloatRect:
    around = found.bounding_box()
    assert around is not None
    return around


def overlap(one: FloatRect, other: FloatRect) -> bool:
    """By more than a pixel's fraction, in both directions."""
    return all(
        min(one[start] + one[size], other[start] + other[size]) - max(one[start], other[start]) > 0.5  # type: ignore[literal-required]
        for start, size in (("x", "width"), ("y", "height"))
    )


def test_a_customer_is_refunded_from_the_list_of_wallets_on(page: Page) -> None:
    owner = make_workplace(1)
    page.list(Wallet)
    page.raw.locator("#searchbar").fill("works-1")
    page.raw.locator("#searchbar").press("Enter")
    page.settled()
    page.raw.locator("#result_list tbody a").first.click()
    page.settled()
    page.raw.get_by_role("link", name="Refund number 2").click()
    page.settled()
    page.raw.get_by_label("Reason").fill("A bad answer")
    page.raw.get_by_role("button", name="Show what it would do").click()
    page.settled()
    page.raw.get_by_role("button", name="Refund").click()
    page.settled()

    expect(page.raw.get_by_text("$0.002 refunded")).to_be_visible()
    assert BillingEvent.objects.filter(workspace=owner.workspace, event_type="refund").count() == 2


def test_a_customer_of_whom_only_the_address_is_known_is_found_and_refunded_on_a_phone(page: Page) -> None:
    make_workplace(1)
    page.list(User).on_a_phone()
    page.raw.locator("#searchbar").fill("owner-1@example.org")
    page.raw.locator("#searchbar").press("Enter")
    page.settled()
    page.raw.get_by_role("link", name="owner-1@example.org").click()
    page.settled().axe().shot("person")
    page.raw.get_by_role("link", name="Wallet: $").click()
    page.settled()
    refund = page.raw.get_by_role("link", name="Refund number 2")
    refund.scroll_into_view_if_needed()
    assert page.raw.locator("#ledger .office-scroll").evaluate("box => box.scrollLeft") == 0  # it is in sight already
    page.shot("wallet-refund-phone")
    refund.click()
    page.settled()
    expect(page.raw.get_by_text("owner-1@example.org")).to_be_visible()
    expect(page.raw.get_by_text(re.compile("number 2 of "))).to_be_visible()


def test_a_list_is_downloaded_as_it_is_filtered(page: Page) -> None:
    make_workplace(1)
    page.open("/admin/billing/billingevent/?event_type__exact=credit").axe().shot("ledger-list")
    with page.raw.expect_download() as download:
        page.raw.get_by_role("link", name="Download CSV").click()

    name, text = download.value.suggested_filename, download.value.path().read_text()
    assert re.fullmatch(r"billing_events_\d{4}-\d\d-\d\d\.csv", name)
    assert [line.split(",")[6:8] for line in text.splitlines()] == [["event_type", "amount_usd"], ["credit", "5.00"]]
