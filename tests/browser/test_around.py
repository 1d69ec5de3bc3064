"""Signing in, the frame around every page, and the pages that belong to no model."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Group, Permission
from playwright.sync_api import expect

from llm.models import LLM
from tests.admin.rows import make_workplace
from tests.browser.browsing import Page, address
from tests.browser.conftest import PageOf
from tests.catalogue import make_llm
from tests.hosting import make_connection
from tests.providers.standins import StandIn
from workspaces.models import Membership, User, Workspace


def test_somebody_signs_in_and_out(page_of: PageOf, root: User) -> None:
    page = page_of(None)
    page.open("/admin/").axe().shot("sign-in")
    page.theme("dark").axe("color-contrast").shot("sign-in-dark")
    page.raw.get_by_label("email").fill("root@example.org")
    page.raw.get_by_label("password").fill("correct horse battery")
    page.raw.get_by_role("button", name="Log in").click()
    page.settled()

    expect(page.raw).to_have_url(f"{page.base}/admin/")
    page.axe().shot("front-page")
    page.raw.get_by_role("button", name="Root").click()
    page.axe().shot("account")
    page.raw.get_by_role("button", name="Log out").click()
    page.settled().axe()
    page.open("/admin/")
    expect(page.raw.get_by_role("button", name="Log in")).to_be_visible()


def test_a_wrong_password_is_told_in_plain_words(page_of: PageOf, root: User) -> None:
    page = page_of(None).open("/admin/")
    page.raw.get_by_label("email").fill("root@example.org")
    page.raw.get_by_label("password").fill("wrong")
    page.raw.get_by_role("button", name="Log in").click()
    page.settled().axe().shot("sign-in-wrong")

    expect(page.raw.locator(".errornote").first).to_be_visible()


def test_the_theme_is_switched_and_stays(page: Page) -> None:
    page.open("/admin/")
    html = page.raw.locator("html")
    expect(html).not_to_have_class("dark")

    page.raw.get_by_role("button", name="Root").click()
    page.raw.get_by_role("button", name="Dark").click()
    expect(html).to_have_class("dark")

    page.open("/admin/workspaces/workspace/")
    expect(html).to_have_class("dark")


def test_the_language_is_switched_and_stays(page: Page) -> None:
    page.open("/admin/workspaces/workspace/")
    page.raw.get_by_role("button", name="Root").click()
    page.raw.get_by_role("button", name="Português (Brasil)").click()
    page.settled().axe()

    expect(page.raw).to_have_url(f"{page.base}/admin/workspaces/workspace/")
    page.open("/admin/")
    expect(page.raw.locator("html")).to_have_attribute("lang", "pt-br")


def test_the_side_shows_what_somebody_may_open(page_of: PageOf) -> None:
    clerk = User.objects.create_user("clerk@example.org", is_staff=True)
    clerk.user_permissions.add(Permission.objects.get(codename="view_wallet"))
    page = page_of(clerk).open("/admin/").axe().shot("clerk")
    side = page.raw.locator("#nav-sidebar-apps")

    expect(side.get_by_role("link", name="Wallets")).to_be_visible()
    expect(side.get_by_role("link")).to_have_count(2)  # and the front page


def test_the_side_folds_away_and_stays_so(page: Page) -> None:
    page.open("/admin/")
    side = page.raw.locator("#nav-sidebar")
    expect(side).to_be_visible()

    page.raw.get_by_role("button", name="Navigation").click()
    expect(side).to_be_hidden()
    page.open("/admin/workspaces/workspace/")
    expect(side).to_be_hidden()


def test_a_page_is_found_by_its_name(page: Page) -> None:
    page.open("/admin/")
    page.raw.keyboard.press("Control+k")
    page.raw.locator("#search-input-command").press_sequentially("wallet")
    found = page.raw.locator("#command-results-list a").first
    expect(found).to_be_visible()
    page.axe().shot("search")
    page.raw.keyboard.press("ArrowDown")
    page.raw.keyboard.press("Enter")

    page.raw.wait_for_url("**/admin/billing/wallet/")


def test_rows_are_chosen_and_acted_on(page: Page) -> None:
    make_llm()
    page.list(LLM)
    page.raw.get_by_label("Select record").first.check()
    page.raw.locator("select[name=action]").select_option("retire")
    page.axe().shot("action")
    page.raw.get_by_role("button", name="Run").click()
    page.settled().axe().shot("retire-several")
    page.raw.get_by_label("Reason").fill("Too dear")
    page.raw.get_by_role("button", name="Retire").click()
    page.settled().axe()

    assert not LLM.objects.get().is_active


def test_a_list_is_filtered(page: Page) -> None:
    make_workplace(1)
    page.list(Workspace)
    page.raw.get_by_role("button", name="Filters").click()
    page.axe().shot("filters")
    page.raw.locator("#changelist-filter").get_by_role("link", name="Suspended").click()
    page.settled().axe()

    expect(page.raw.locator("#result_list tbody")).to_have_count(0)


def test_a_member_is_added_on_the_page_of_a_workspace(page: Page) -> None:
    """A row that is copied into a table by script, with a chooser that asks the server."""
    owner = make_workplace(1)
    User.objects.create_user("new@example.org")
    page.change(owner.workspace)
    page.raw.locator("#memberships-2-group .add-row").click()
    page.raw.locator("#memberships-2-group .select2-selection").first.click()
    page.raw.locator(".select2-search__field").fill("new@")
    page.raw.get_by_role("option", name="new@example.org").click()
    page.raw.locator("#id_memberships-2-0-role").select_option("member")
    page.axe().shot("new-member")
    page.raw.get_by_role("button", name="Save", exact=True).click()
    page.settled()

    assert Membership.objects.filter(workspace=owner.workspace, user__email="new@example.org").exists()


def test_mistakes_are_shown_where_they_were_made(page: Page) -> None:
    page.add(Workspace)
    page.raw.get_by_role("button", name="Save", exact=True).click()
    page.settled().axe().shot("mistakes")

    expect(page.raw.get_by_text("This field is required.").first).to_be_visible()


@pytest.mark.parametrize("path", ["/admin/", "/admin/billing/wallet/", "/admin/workspaces/workspace/add/"])
def test_a_phone_shows_it_all_in_its_width(page: Page, path: str) -> None:
    make_workplace(1)
    name = f"phone-{path.strip('/')}"
    page.on_a_phone().open(path).axe().shot(name)
    assert not page.is_wider_than_the_screen()

    page.raw.get_by_role("button", name="Navigation").click()
    expect(page.raw.locator("#nav-sidebar")).to_be_visible()
    page.axe().shot(f"{name}-navigation")


def test_the_interactive_docs_of_the_api(page_of: PageOf) -> None:
    page = page_of(None)
    page.raw.goto(f"{page.base}/api/docs/")
    page.raw.locator(".opblock").first.wait_for()
    page.shot("docs")


def test_the_other_pages_of_a_row(page: Page, root: User) -> None:
    make_workplace(1)
    user = f"/admin/workspaces/user/{root.pk}"
    page.open(f"{user}/history/").axe().shot("history")
    page.open(f"{user}/password/").axe().shot("password")
    page.open("/admin/password_change/").axe().shot("own-password")
    page.open("/admin/workspaces/").axe().shot("app")
    page.open(address(Group, "delete", Group.objects.get(name="group 1").pk)).axe().shot("delete")


def test_several_rows_are_deleted_after_a_question(page: Page) -> None:
    Group.objects.create(name="anybody")
    page.list(Group)
    page.raw.get_by_role("row", name="anybody").get_by_label("Select record").check()
    page.raw.locator("select[name=action]").select_option("delete_selected")
    page.raw.get_by_role("button", name="Run").click()
    page.settled().axe().shot("delete-several")
    page.raw.get_by_role("button", name="Yes").click()
    page.settled()

    assert not Group.objects.filter(name="anybody").exists()


def test_the_models_of_a_host_are_imported(page: Page, provider: StandIn) -> None:
    lab = make_connection(provider)
    provider.answer(models=["zephyr", "meta/llama"])
    page.open(f"/admin/llm/providerconnection/{lab.pk}/models/").axe().shot("host")
    page.theme("dark").axe("color-contrast")
    page.raw.get_by_role("link", name="Import").last.click()
    page.settled().axe().shot("import")
    for name, value in (
        ("context window", "1000"),
        ("max output tokens", "100"),
        ("input price", "1"),
        ("output price", "2"),
    ):
        page.raw.get_by_label(name, exact=False).first.fill(value)
    page.raw.get_by_role("button", name="Import").click()
    page.settled()

    assert LLM.objects.get().name == "lab/zephyr"
