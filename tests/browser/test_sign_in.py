"""The page where operators sign in."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.browsing import Page
from tests.browser.conftest import PageOf
from workspaces.models import User


def sign_in(page: Page, password: str) -> Page:
    page.raw.get_by_label("Email").fill("root@example.org")
    page.raw.locator("#id_password").fill(password)
    page.raw.get_by_role("button", name="Log in").click()
    return page.settled()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_too_many_wrong_passwords_are_said(page_of: PageOf, root: User, theme: str) -> None:
    page = page_of(None).open("/admin/login/?next=/admin/").theme(theme)
    for _ in range(5):
        sign_in(page, "wrong")
        expect(page.raw.get_by_text("Please enter the correct email and password")).to_be_visible()
    page.theme(theme).axe()

    sign_in(page, "correct horse battery").theme(theme)

    expect(page.raw.get_by_text("Too many wrong passwords: wait a quarter of an hour.")).to_be_visible()
    expect(page.raw.get_by_text("Please correct the error below.")).to_have_count(0)
    page.axe().shot(f"sign-in-refused-{theme}")
    page.on_a_phone().axe()
    assert not page.is_wider_than_the_screen()


def test_a_right_password_leads_to_where_one_was_going(page_of: PageOf, root: User) -> None:
    page = page_of(None).open("/admin/workspaces/user/")
    sign_in(page, "wrong")
    sign_in(page, "correct horse battery")
    assert page.raw.url.endswith("/admin/workspaces/user/")
