"""Models are retired; prices are added, never edited."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from llm.models import LLM, LLMPrice
from tests.admin.rows import Office, again, errors
from tests.audited import changes, notes
from tests.catalogue import SINCE, make_llm
from workspaces.models import User

FROM = {"effective_from_0": "2026-03-01", "effective_from_1": "00:00:00"}
MARCH = datetime(2026, 3, 1, tzinfo=UTC)
NO_PRICES = {"prices-TOTAL_FORMS": "0", "prices-INITIAL_FORMS": "0"}


@pytest.fixture
def llm(db: None) -> LLM:
    return make_llm("demo", supports_vision=False)


def add_price(office: Office, llm: LLM, /, **data: Any) -> Any:
    rates = {"input_usd_per_mtok": "0.075", "output_usd_per_mtok": "3"}
    return office.add(LLMPrice, **{"llm": str(llm.pk), **rates, **FROM, **data})


def test_a_new_price_supersedes_the_open_one(office: Office, llm: LLM, root: User) -> None:
    response = add_price(office, llm, tiers="", source="The vendor's page.")

    assert response.status_code == 302, errors(response)
    before, after = llm.prices.order_by("effective_from")
    assert (before.effective_from, before.effective_to) == (SINCE, MARCH)
    assert (after.effective_from, after.effective_to) == (MARCH, None)
    assert (after.input_usd_per_mtok, after.output_usd_per_mtok) == (Decimal("0.075"), 3)
    assert (after.tiers, after.windows, after.source) == ([], [], "The vendor's page.")
    assert notes(after) == ["Created."]
    assert (notes(before), changes(before)["effective_to"]) == (["Changed."], ["None", "2026-03-01 00:00:00"])


@pytest.mark.parametrize(
    ("typed", "field"),
    [
        ({"effective_from_0": "2026-01-01"}, "effective_from"),
        ({"effective_from_0": "2025-01-01"}, "effective_from"),
        ({"effective_to_0": "2026-04-01", "effective_to_1": "00:00:00"}, "effective_from"),
        ({"effective_to_0": "2026-02-01", "effective_to_1": "00:00:00"}, "effective_to"),
        ({"input_usd_per_mtok": "-1"}, "input_usd_per_mtok"),
        ({"input_usd_per_mtok": "0.0000001"}, "input_usd_per_mtok"),
        ({"output_usd_per_mtok": ""}, "output_usd_per_mtok"),
        ({"request_fee_usd": "5000000"}, "request_fee_usd"),
        ({"tiers": '[{"above": 1}]'}, "tiers"),
        ({"tiers": "{}"}, "tiers"),
        ({"windows": "no json"}, "windows"),
        ({"llm": ""}, "llm"),
    ],
)
def test_a_price_that_can_not_be_stored_is_an_error_of_the_form(
    office: Office, llm: LLM, typed: dict[str, str], field: str
) -> None:
    response = add_price(office, llm, **typed)

    assert field in errors(response)
    price = llm.prices.get()
    assert price.effective_to is None


def test_a_price_before_the_first_one_may_end_where_that_begins(office: Office, llm: LLM) -> None:
    earlier = {"effective_from_0": "2025-01-01", "effective_to_0": "2026-01-01", "effective_to_1": "00:00:00"}

    assert add_price(office, llm, **earlier).status_code == 302
    assert llm.prices.count() == 2


def test_a_price_is_not_edited(office: Office, llm: LLM) -> None:
    price = llm.prices.get()

    response = office.client.post(office.url(LLMPrice, "change", price.pk), {"input_usd_per_mtok": "9", **FROM})

    assert response.status_code == 403
    assert 'name="input_usd_per_mtok"' not in office.open(price).text
    assert again(price).input_usd_per_mtok == 1


def test_the_page_of_a_model_shows_its_price_history_for_reading(office: Office, llm: LLM) -> None:
    add_price(office, llm)

    page = office.open(llm)
    (history,) = page.context["inline_admin_formsets"]
    assert [form.original.effective_from for form in history] == [MARCH, SINCE]
    assert "0.075" in page.text
    assert 'name="prices-0-input_usd_per_mtok"' not in page.text


def test_saving_a_model_leaves_its_prices_alone(office: Office, llm: LLM) -> None:
    prices = {"prices-TOTAL_FORMS": "1", "prices-INITIAL_FORMS": "1", "prices-0-id": str(llm.prices.get().pk)}
    response = office.save(llm, display_name="Renamed", metadata="", **prices, **{"prices-0-input_usd_per_mtok": "9"})

    assert response.status_code == 302, errors(response)
    assert again(llm).display_name == "Renamed"
    assert again(llm).metadata == {}
    assert llm.prices.get().input_usd_per_mtok == 1


def test_what_a_model_is_can_not_be_changed_once_it_has_a_price(office: Office, llm: LLM) -> None:
    """Its usage was charged by that price, and a client that names it would get another model."""
    page = office.open(llm).text
    assert 'name="provider"' not in page
    assert 'name="name"' not in page
    assert office.save(llm, provider="openai", name="gpt-6", connection="", metadata="", **NO_PRICES).status_code == 302
    assert str(again(llm)) == "demo/demo-test"


def test_a_model_without_a_price_can_still_be_corrected(office: Office, db: None) -> None:
    llm = LLM.objects.create(
        provider="demo", name="dmeo", display_name="Demo", context_window=1000, max_output_tokens=100
    )
    response = office.save(llm, name="demo-2", metadata="", **NO_PRICES)
    assert response.status_code == 302, errors(response)
    assert str(again(llm)) == "demo/demo-2"


@pytest.mark.parametrize(("provider", "is_taken"), [("demo", False), ("deepseek", False), ("openai", True)])
def test_a_model_sees_images_only_where_their_price_is_known(
    office: Office, db: None, provider: str, is_taken: bool
) -> None:
    response = office.add(
        LLM, provider=provider, name="new", display_name="New", context_window="1000", max_output_tokens="100",
        supports_vision="on", **NO_PRICES,
    )  # fmt: skip
    assert (response.status_code == 302) is is_taken
    assert is_taken or set(errors(response)) == {"supports_vision"}


def test_a_model_is_retired_and_brought_back(office: Office, llm: LLM, root: User) -> None:
    office.act(LLM, "retire", llm)
    assert not again(llm).is_active
    office.act(LLM, "activate", llm)
    assert again(llm).is_active
    assert notes(kind=LLM) == ["Retired.", "Activated."]


def test_a_model_is_added_without_a_price(office: Office, db: None) -> None:
    response = office.add(
        LLM, provider="demo", name="demo-2", display_name="Demo 2", context_window="1000", max_output_tokens="100",
        **{"prices-TOTAL_FORMS": "0", "prices-INITIAL_FORMS": "0"},
    )  # fmt: skip

    assert response.status_code == 302, errors(response)
    assert LLM.objects.get().metadata == {}
