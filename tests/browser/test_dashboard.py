"""The front page as an operator has it before them."""

from __future__ import annotations

from datetime import timedelta

from django.db import transaction
from django.utils import timezone
from playwright.sync_api import expect

from tests.analytics.usage import Call, write
from tests.browser.browsing import Page
from tests.catalogue import make_llm
from tests.people import fund, make_cast


def test_an_operator_reads_the_front_page(page: Page) -> None:
    cast, models = make_cast(), [make_llm(), make_llm("anthropic")]
    fund(cast.alice.workspace, "20")
    now = timezone.now()
    calls = [
        Call(
            at=now - timedelta(hours=5 * n),
            person=cast.alice,
            llm=models[n % 2],
            charged=10_000 + 1_000 * n,
            status="error" if n % 5 == 0 else "success",
            tokens=(100 * n, 0, 0, 0, 40 * n, 0),
        )
        for n in range(120)
    ]
    with transaction.atomic():
        write(calls)
    page.open("/admin/").axe().shot("dashboard")
    expect(page.raw.get_by_text("Spend today")).to_be_visible()
    assert page.raw.locator("canvas").count() == 3
    assert page.raw.locator("canvas").first.evaluate("(canvas) => Chart.getChart(canvas).data.labels.length") == 30
    page.raw.get_by_text("As a table").first.click()
    expect(page.raw.locator("details table").first).to_be_visible()
    page.theme("dark").axe().shot("dashboard-dark")
    page.on_a_phone().open("/admin/").axe().shot("dashboard-phone")


def test_the_tiles_are_kept_up_to_date(page: Page) -> None:
    cast, llm = make_cast(), make_llm()
    page.open("/admin/")
    tile = page.raw.locator('[data-live="requests_per_minute"]')
    expect(tile).to_have_text("0.0")
    write(Call(at=timezone.now(), person=cast.alice, llm=llm) for _ in range(5))
    expect(tile).to_have_text("1.0", timeout=15_000)
