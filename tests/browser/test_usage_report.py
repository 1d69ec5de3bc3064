"""The usage report as an operator asks for it."""

from __future__ import annotations

from datetime import timedelta

from django.db import transaction
from django.utils import timezone
from playwright.sync_api import expect

from tests.analytics.usage import Call, write
from tests.browser.browsing import Page
from tests.catalogue import make_llm
from tests.people import fund, make_cast


def test_a_report_is_asked_for_read_and_downloaded(page: Page) -> None:
    cast, models = make_cast(), [make_llm(), make_llm("anthropic")]
    fund(cast.alice.workspace, "20")
    now = timezone.now()
    with transaction.atomic():
        write(
            Call(at=now - timedelta(hours=n), person=cast.alice, llm=models[n % 2], cost=900, charged=1_000 * n)
            for n in range(1, 60)
        )
    page.open("/admin/").raw.get_by_role("link", name="Usage report").first.click()
    page.settled().axe().shot("usage-report")
    expect(page.raw.locator("#figures tfoot")).to_contain_text("59")
    page.raw.get_by_label("By", exact=True).select_option("day")
    page.raw.get_by_label("Workspace").fill("acme")
    page.raw.get_by_role("button", name="Show").click()
    page.settled().axe()
    expect(page.raw.locator("#figures tbody tr")).to_have_count(30)
    with page.raw.expect_download() as download:
        page.raw.get_by_role("button", name="Download CSV").click()
    assert download.value.suggested_filename.startswith("usage_acme_by_day_")
    page.theme("dark").axe().shot("usage-report-dark")

    page.raw.get_by_label("Workspace").fill("nobody")
    page.raw.get_by_role("button", name="Show").click()
    page.settled().axe().shot("usage-report-mistake")
    expect(page.raw.get_by_text("There is no workspace with this slug.")).to_be_visible()
    page.on_a_phone().open("/admin/usage-report/").axe().shot("usage-report-phone")
    assert not page.is_wider_than_the_screen()
