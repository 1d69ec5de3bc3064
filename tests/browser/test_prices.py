"""An operator changes a price from next Monday, approves a vendor's, and retires a model."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

from django.db import transaction
from django.utils import timezone
from playwright.sync_api import expect

from conversations.models import Agent
from llm import price_proposals
from llm.admin.beginning import next_monday
from llm.models import LLM, LLMPrice, PriceProposal
from tests.analytics.usage import Call, write
from tests.browser.browsing import Page, address
from tests.catalogue import make_llm
from tests.llm.listing import listed, source_of
from tests.people import make_cast

TIERS = [{"above_input_tokens": 200_000, "input": "2", "cached_input": "0.2", "output": "4"}]


def used_model() -> LLM:
    """With three prices, and calls by two workspaces."""
    cast = make_cast()
    llm = make_llm(
        "openai",
        "gpt-6-luna",
        price={"cached_input_usd_per_mtok": Decimal("0.1"), "tiers": TIERS},
        supports_reasoning=True,
        supports_prompt_caching=True,
    )
    now = timezone.now()
    with transaction.atomic():
        write(
            Call(
                at=now - timedelta(hours=9 * n),
                person=person,
                llm=llm,
                tokens=(40_000 * n, 0, 0, 0, 9_000 * n, 0),
                cost=58_000 * n,
            )
            for n in range(1, 30)
            for person in (cast.alice, cast.charlie)
        )
    LLMPrice.supersede(
        llm=llm, effective_from=now - timedelta(days=40), input_usd_per_mtok=1, cached_input_usd_per_mtok="0.12",
        output_usd_per_mtok="2.4", tiers=TIERS, source="The vendor's list of prices",
    )  # fmt: skip
    Agent.objects.create(workspace=cast.alice.workspace, name="Helper", llm=llm)
    return llm


def test_a_price_is_superseded_from_next_monday(page: Page) -> None:
    llm = used_model()
    page.list(LLM).axe().shot("models")
    page.theme("dark").axe("color-contrast").shot("models-dark")
    page.change(llm).axe().shot("model")
    page.theme("dark").axe("color-contrast").shot("model-dark")
    page.theme("light")
    page.raw.get_by_role("link", name="New price").click()
    page.settled().axe().shot("new-price")
    page.theme("dark").axe("color-contrast").shot("new-price-dark")
    page.theme("light")
    expect(page.raw.get_by_label("Next Monday:", exact=False)).to_be_checked()
    page.raw.get_by_label("Input", exact=False).first.fill("1.25")
    page.raw.get_by_role("button", name="Show the preview").click()
    page.settled().axe().shot("new-price-preview")
    page.theme("dark").axe("color-contrast").shot("new-price-preview-dark")
    expect(page.raw.get_by_text("+25.0 %")).to_be_visible()
    expect(page.raw.get_by_text("The rates for long prompts stay as they are.", exact=False)).to_be_visible()
    assert llm.prices.count() == 2

    page.raw.get_by_role("button", name="Store this price").dblclick()
    page.settled().axe().shot("new-price-stored")
    assert llm.prices.count() == 3
    price = llm.prices.get(effective_to=None)
    assert (price.effective_from, price.input_usd_per_mtok) == (next_monday(timezone.now()), Decimal("1.25"))
    expect(page.raw.locator(".office-entry-planned")).to_be_visible()


def test_the_list_of_prices_leads_to_the_same_form(page: Page) -> None:
    llm = make_llm()
    page.list(LLMPrice)
    page.raw.locator(f'a[href="{address(LLMPrice, "add")}"]').first.click()
    page.settled().axe()
    page.raw.locator(".select2-selection").first.click()
    page.raw.locator(".select2-search__field").fill("openai-t")
    page.raw.get_by_role("option", name=str(llm)).click()
    page.raw.get_by_role("button", name="Next").click()
    page.settled()

    expect(page.raw).to_have_url(f"{page.base}/admin/llm/llm/{llm.pk}/new-price/")
    expect(page.raw.get_by_label("Next Monday:", exact=False)).to_be_checked()


def test_what_is_wrong_stands_at_its_field(page: Page) -> None:
    llm = make_llm()
    page.open(f"/admin/llm/llm/{llm.pk}/new-price/")
    page.raw.get_by_label("At another time").check()
    page.raw.locator("#id_effective_from_0").fill("2026-01-02")
    page.raw.locator("#id_effective_from_1").fill("00:00:00")
    page.raw.get_by_role("button", name="Show the preview").click()
    page.settled().axe().shot("new-price-past")

    expect(page.raw.get_by_text("This has passed", exact=False)).to_be_visible()
    assert llm.prices.count() == 1


def test_a_phone_shows_the_pages_of_prices_in_its_width(page: Page) -> None:
    llm = used_model()
    page.on_a_phone()
    page.change(llm).axe().shot("model-phone")
    assert not page.is_wider_than_the_screen()
    page.open(f"/admin/llm/llm/{llm.pk}/new-price/").axe()
    assert not page.is_wider_than_the_screen()
    page.raw.get_by_role("button", name="Show the preview").click()
    page.settled().axe().shot("new-price-preview-phone")
    assert not page.is_wider_than_the_screen()


def test_a_proposal_is_approved(page: Page) -> None:
    llm = used_model()
    price_proposals.synchronise(source_of(llm, listed("1.5", "2.4", cached_input="0.15")))
    page.list(PriceProposal).axe().shot("proposals")
    page.change(llm.price_proposals.get()).axe().shot("proposal")
    page.theme("dark").axe("color-contrast").shot("proposal-dark")
    page.theme("light")
    page.raw.get_by_role("link", name="Approve").click()
    page.settled().axe().shot("proposal-approve")
    page.raw.get_by_role("button", name="Approve this price").dblclick()
    page.settled().axe().shot("proposal-approved")

    assert llm.prices.count() == 3
    assert llm.price_at(timezone.now()).input_usd_per_mtok == Decimal("1.5")
    expect(page.raw.get_by_role("link", name="Approve")).to_have_count(0)


def test_prices_are_looked_at_and_a_new_model_is_added(page: Page) -> None:
    page.list(PriceProposal)
    page.raw.get_by_role("button", name="Look now").click()
    page.settled().axe().shot("looked")
    expect(page.raw.get_by_text("Nothing waits for a decision.", exact=False)).to_be_visible()
    page.raw.get_by_role("link", name="New models").click()
    page.settled().axe().shot("new-models")
    page.theme("dark").axe("color-contrast")
    page.raw.get_by_role("checkbox").first.check()
    page.raw.get_by_role("button", name="Add as inactive").click()
    page.settled()

    assert not LLM.objects.get().is_active


def test_a_model_is_retired(page: Page) -> None:
    llm = used_model()
    page.change(llm)
    page.raw.get_by_role("link", name="Retire").click()
    page.settled().axe().shot("retire")
    page.theme("dark").axe("color-contrast")
    expect(page.raw.get_by_text("1 agent has no fallback", exact=False)).to_be_visible()
    page.raw.get_by_label("Reason").fill("Too dear")
    page.raw.get_by_role("button", name="Retire").click()
    page.settled().axe().shot("retired")

    assert not LLM.objects.get(pk=llm.pk).is_active
    expect(page.raw.locator(".office-badge-retired")).to_be_visible()
