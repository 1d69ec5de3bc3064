"""Signing in, the frame around every page, and the pages that belong to no model."""

from __future__ import annotations

from tests.browser.browsing import Page
from tests.browser.conftest import PageOf
from workspaces.models import User


def test_somebody_signs_in_and_out(page_of: PageOf, root: User) -> None:
    page = page_of(None)
    page.open("/admin/").axe().shot("sign-in")
    page.theme("dark").axe("color-contrast").shot("sign-in-dark")
    page.raw.get_by_label("email").fill("root@example.org")
    page.raw.locator("#id_password").fill("correct horse battery")
    page.raw.get_by_role("button", name="Log in").click()
    page.settled()

    assert page.raw.url.endswith("/admin/")
    page.axe().shot("front-page")
    page.theme("dark").axe("color-contrast").shot("front-page-dark")


def test_docs(page: Page) -> None:
    page.raw.goto(page.base + "/api/docs/")
    page.raw.wait_for_selector(".opblock")
    page.shot("docs")
