"""An operator moves money."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Permission
from playwright.sync_api import expect

from billing.models import BillingEvent, Wallet
from tests.admin.rows import make_workplace
from tests.browser.browsing import Page
from tests.browser.conftest import PageOf
from tests.people import make_cast
from workspaces.models import User


def test_a_top_up_by_a_double_click_is_one(page: Page) -> None:
    workspace = make_cast().alice.workspace
    wallet = Wallet.objects.get(workspace=workspace)
    page.change(wallet)
    page.raw.get_by_role("link", name="Top up").click()
    page.settled().axe().shot("top-up")
    page.raw.get_by_label("Amount, USD").fill("12.5")
    page.raw.get_by_label("Reason").fill("Bank transfer")
    page.raw.get_by_role("button", name="Show what it would do").click()
    page.settled().axe().shot("top-up-effect")
    expect(page.raw.get_by_text("$0.00 → $12.50").first).to_be_visible()

    page.raw.get_by_role("button", name="Top up").dblclick()
    page.settled().shot("top-up-done")

    expect(page.raw.get_by_text("12.50").first).to_be_visible()
    assert BillingEvent.objects.filter(workspace=workspace).count() == 1


def test_a_charge_is_refunded(page: Page) -> None:
    owner = make_workplace(1)
    charge = BillingEvent.objects.get(workspace=owner.workspace, event_type="usage")
    page.change(charge)
    page.raw.get_by_role("link", name="Refund", exact=True).click()
    page.settled().axe().shot("refund")
    page.raw.get_by_label("Reason").fill("A bad answer")
    page.raw.get_by_role("button", name="Show what it would do").click()
    page.settled().axe().shot("refund-effect")
    page.raw.get_by_role("button", name="Refund").click()
    page.settled()

    expect(page.raw.get_by_text("Refunded $0.001999")).to_be_visible()


@pytest.mark.parametrize("sees", [True, False])
def test_who_may_not_is_shown_no_button(page_of: PageOf, sees: bool) -> None:
    wallet = Wallet.objects.get(workspace=make_cast().alice.workspace)
    clerk = User.objects.create_user("clerk@example.org", is_staff=True)
    names = ["view_wallet", *(["top_up_wallet"] if sees else [])]
    clerk.user_permissions.set(Permission.objects.filter(codename__in=names))
    page = page_of(clerk).change(wallet)

    expect(page.raw.get_by_role("link", name="Top up")).to_have_count(int(sees))
    expect(page.raw.get_by_role("link", name="Adjust")).to_have_count(0)
