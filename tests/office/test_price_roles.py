"""Prices and models are changed by operators; the other roles look at them, where they may."""

from __future__ import annotations

import pytest
from django.test import Client

from llm import price_proposals
from llm.models import LLM
from tests.admin.rows import Office
from tests.catalogue import make_llm
from tests.llm.listing import listed, source_of
from tests.office.test_roles import office_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def llm(db: None) -> LLM:
    llm = make_llm()
    price_proposals.synchronise(source_of(llm, listed("2")))
    return llm


def pages_of(llm: LLM) -> list[str]:
    row, proposal = f"/admin/llm/llm/{llm.pk}", f"/admin/llm/priceproposal/{llm.price_proposals.get().pk}"
    return [
        f"{row}/new-price/", f"{row}/retire/", "/admin/llm/llmprice/add/",
        f"{proposal}/approve/", f"{proposal}/reject/", "/admin/llm/priceproposal/new-models/",
    ]  # fmt: skip


def test_operators_reach_every_page(llm: LLM) -> None:
    office = office_of("Operator")
    assert [office.client.get(url).status_code for url in pages_of(llm)] == [200] * 6
    assert office.client.post("/admin/llm/priceproposal/look/").status_code == 302
    shown = office.open(llm).text + office.open(llm.price_proposals.get()).text
    assert all(f'{page}/"' in shown for page in ("new-price", "retire", "approve", "reject"))
    assert "Nobody called this model" in shown


@pytest.mark.parametrize("role", ["Finance", "Support", "Read-only"])
def test_the_others_are_refused_and_shown_no_button(llm: LLM, role: str) -> None:
    office = office_of(role)
    for url in pages_of(llm):
        assert office.client.get(url).status_code == 403, url
        assert office.client.post(url, {"confirmed": "1", "begins": "now", "reason": "x"}).status_code == 403, url
    assert office.client.post("/admin/llm/priceproposal/look/").status_code == 403
    shown = office.open(llm).text
    assert not [page for page in ("new-price", "retire", "activate") if f'{page}/"' in shown]
    assert "Prices" in shown
    _sees_the_proposal(office, llm, is_seen=role != "Support")


def _sees_the_proposal(office: Office, llm: LLM, *, is_seen: bool) -> None:
    page = office.open(llm.price_proposals.get())
    assert page.status_code == (200 if is_seen else 403)
    assert not [name for name in ("approve", "reject") if f'{name}/"' in page.text]


def test_a_stranger_signs_in_first(llm: LLM) -> None:
    assert [Client().get(url).status_code for url in pages_of(llm)] == [302] * 6
