"""Models are retired; prices are added, never edited."""

from __future__ import annotations

import pytest

from llm.models import LLM, LLMPrice
from tests.admin.rows import Office, again, errors
from tests.catalogue import make_llm

FROM = {"effective_from_0": "2026-03-01", "effective_from_1": "00:00:00"}


@pytest.fixture
def llm(db: None) -> LLM:
    return make_llm("demo", supports_vision=False)


def test_a_price_is_not_edited(office: Office, llm: LLM) -> None:
    price = llm.prices.get()

    response = office.client.post(office.url(LLMPrice, "change", price.pk), {"input_usd_per_mtok": "9", **FROM})

    assert response.status_code == 403
    assert 'name="input_usd_per_mtok"' not in office.open(price).text
    assert again(price).input_usd_per_mtok == 1


def test_saving_a_model_leaves_its_prices_and_its_status_alone(office: Office, llm: LLM) -> None:
    page = office.open(llm).text
    assert 'name="is_active"' not in page
    response = office.save(llm, display_name="Renamed", metadata="", is_active="")

    assert response.status_code == 302, errors(response)
    assert again(llm).display_name == "Renamed"
    assert again(llm).metadata == {}
    assert again(llm).is_active
    assert llm.prices.get().input_usd_per_mtok == 1


def test_what_a_model_is_can_not_be_changed_once_it_has_a_price(office: Office, llm: LLM) -> None:
    """Its usage was charged by that price, and a client that names it would get another model."""
    page = office.open(llm).text
    assert 'name="provider"' not in page
    assert 'name="name"' not in page
    assert office.save(llm, provider="openai", name="gpt-6", connection="", metadata="").status_code == 302
    assert str(again(llm)) == "demo/demo-test"


def test_a_model_without_a_price_can_still_be_corrected(office: Office, db: None) -> None:
    llm = LLM.objects.create(
        provider="demo", name="dmeo", display_name="Demo", context_window=1000, max_output_tokens=100
    )
    response = office.save(llm, name="demo-2", metadata="")
    assert response.status_code == 302, errors(response)
    assert str(again(llm)) == "demo/demo-2"


@pytest.mark.parametrize(("provider", "is_taken"), [("demo", False), ("deepseek", False), ("openai", True)])
def test_a_model_sees_images_only_where_their_price_is_known(
    office: Office, db: None, provider: str, is_taken: bool
) -> None:
    response = office.add(
        LLM, provider=provider, name="new", display_name="New", context_window="1000", max_output_tokens="100",
        supports_vision="on",
    )  # fmt: skip
    assert (response.status_code == 302) is is_taken
    assert is_taken or set(errors(response)) == {"supports_vision"}


def test_a_model_is_added_without_a_price(office: Office, db: None) -> None:
    response = office.add(
        LLM, provider="demo", name="demo-2", display_name="Demo 2", context_window="1000", max_output_tokens="100",
    )  # fmt: skip

    assert response.status_code == 302, errors(response)
    assert LLM.objects.get().metadata == {}
