"""An operator looks at a workspace, and at what may call in its name."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.auth.models import Permission
from django.db import transaction
from django.utils import timezone
from playwright.sync_api import expect

from tests import full
from tests.analytics.usage import Call, write
from tests.browser.browsing import Page
from tests.browser.conftest import PageOf
from tests.catalogue import make_llm
from tests.people import Cast, fund, make_cast
from workspaces.models import AccessToken, User, UserVariable, Workspace


@pytest.fixture
def cast(transactional_db: None) -> Cast:
    cast, models, now = make_cast(), [make_llm(), make_llm("anthropic")], timezone.now()
    fund(cast.alice.workspace, "20")
    with transaction.atomic():
        write(
            Call(
                at=now - timedelta(hours=7 * number),
                person=(cast.alice, cast.bob)[number % 2],
                llm=models[number % 2],
                charged=10_000 + 1_000 * number,
                status="error" if number % 6 == 0 else "success",
            )
            for number in range(60)
        )
    for name, days in (("openai", 9), ("anthropic", 90)):
        key = UserVariable(
            workspace=cast.alice.workspace, category="api_key", name=name, expires_at=now + timedelta(days=days)
        )
        key.set_value("sk-secret-0123456789-wxyz")
        key.save()
    AccessToken.objects.filter(user=cast.bob.user).update(expires_at=now + timedelta(days=3))
    full.alert(cast.alice)
    return cast


def test_the_page_of_a_workspace_shows_it_all(page: Page, cast: Cast) -> None:
    workspace = cast.alice.workspace
    page.change(workspace).axe().shot("workspace-page")
    for words in ("Charged in 24 hours", "Top models, 30 days", "Top members, 30 days", "Last conversations"):
        expect(page.raw.get_by_text(words).first).to_be_visible()
    expect(page.raw.get_by_text("1 to expire within 14 days").first).to_be_visible()
    page.theme("dark").axe().shot("workspace-page-dark")
    page.theme("light").on_a_phone().change(workspace).axe().shot("workspace-page-phone")
    assert not page.is_wider_than_the_screen()


def test_a_workspace_is_suspended_by_a_double_click_once(page: Page, cast: Cast) -> None:
    workspace = cast.alice.workspace
    page.change(workspace)
    page.raw.locator("main, body").get_by_role("link", name="Suspend", exact=True).first.click()
    page.settled().axe().shot("workspace-suspend")
    page.raw.get_by_label("Reason").fill("An unpaid bill")
    page.raw.get_by_role("button", name="Show what it would do").click()
    page.settled().axe().shot("workspace-suspend-effect")
    expect(page.raw.get_by_text("refused from now on, with status 403")).to_be_visible()
    assert Workspace.objects.get(pk=workspace.pk).is_open

    page.raw.get_by_role("button", name="Suspend").dblclick()
    page.settled().shot("workspace-suspended")

    expect(page.raw.get_by_role("link", name="Open again", exact=True).first).to_be_visible()
    assert not Workspace.objects.get(pk=workspace.pk).is_open


def test_a_token_is_revoked_from_the_list(page: Page, cast: Cast) -> None:
    page.list(AccessToken).axe().shot("tokens")
    page.theme("dark").axe("color-contrast").shot("tokens-dark")
    page.theme("light")
    page.raw.get_by_label("Select record").first.check()
    page.raw.locator("select[name=action]").select_option("revoke")
    page.raw.get_by_role("button", name="Run").click()
    page.settled().axe().shot("token-revoke")
    page.raw.get_by_label("Reason").fill("It leaked")
    page.raw.get_by_role("button", name="Show what it would do").click()
    page.settled().axe().shot("token-revoke-effect")
    page.raw.get_by_role("button", name="Revoke").click()
    page.settled().axe()
    expect(page.raw.get_by_text("Revoked: 1.")).to_be_visible()
    assert AccessToken.objects.filter(revoked_at__isnull=False).count() == 1


def test_a_key_is_looked_at_and_tested(page: Page, cast: Cast) -> None:
    key = UserVariable.objects.get(name="openai")
    page.list(UserVariable).axe().shot("keys")
    page.change(key).axe().shot("key")
    page.raw.get_by_role("link", name="Test the key").click()
    page.settled().axe().shot("key-test")
    UserVariable.objects.filter(pk=key.pk).update(is_active=False)  # nothing is called from here
    page.raw.get_by_role("button", name="Make the call").click()
    page.settled().axe().shot("key-tested")
    expect(page.raw.get_by_text("The key is switched off: nothing was called.")).to_be_visible()


def test_who_sees_no_money_is_shown_none(page_of: PageOf, cast: Cast) -> None:
    clerk = User.objects.create_user("clerk@example.org", is_staff=True)
    clerk.user_permissions.set(Permission.objects.filter(codename__in=["view_workspace", "view_alert"]))
    page = page_of(clerk).change(cast.alice.workspace).axe().shot("workspace-page-clerk")

    expect(page.raw.get_by_text("Open alerts")).to_be_visible()
    expect(page.raw.get_by_text("Held for calls under way")).to_have_count(0)
    expect(page.raw.get_by_role("link", name="Suspend", exact=True)).to_have_count(0)
