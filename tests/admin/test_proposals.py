"""Proposed prices are looked at, approved or rejected, each of them once; new models are added inactive."""

from __future__ import annotations

import html
import re
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from llm import price_proposals, price_source
from llm.admin.beginning import next_monday
from llm.models import LLM, LLMPrice, PriceProposal
from tests.admin.rows import Office, again
from tests.analytics.usage import Call, write
from tests.catalogue import make_llm
from tests.llm.listing import NEXT_YEAR, listed, listing, source, source_of
from tests.people import Cast
from tests.together import at_once
from workspaces.models import User

pytestmark = pytest.mark.django_db
LIST = "/admin/llm/priceproposal/"
NEW = f"{LIST}new-models/"


@pytest.fixture
def llm(db: None) -> LLM:
    return make_llm()


def propose(llm: LLM, *prices: Any) -> PriceProposal:
    price_proposals.synchronise(source_of(llm, *(prices or [listed("1.5", "1")])))
    proposal: PriceProposal = llm.price_proposals.get(state="open")
    return proposal


def url(proposal: PriceProposal, page: str) -> str:
    return f"{LIST}{proposal.pk}/{page}/"


def text_of(page: Any) -> str:
    main = page.text.partition('id="content-main"')[2].partition('id="modal-overlay"')[0]
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", main)).split())


def said(office: Office, response: Any) -> str:
    page = office.client.get(response["Location"])
    return " ".join(str(message) for message in page.context["messages"])


def test_its_page_shows_what_differs_and_what_it_would_have_meant(office: Office, llm: LLM, cast: Cast) -> None:
    proposal = propose(llm)
    day = timezone.now() - timedelta(days=2)
    write([Call(at=day, person=cast.alice, llm=llm, tokens=(1_000_000, 0, 0, 0, 100_000, 0), cost=1_200_000)])
    with CaptureQueriesContext(connection) as queries:
        page = office.open(proposal)
    assert len(queries) <= 15, len(queries)

    text = text_of(page)
    assert "Input all calls 1.00 1.50 +50.0 %" in text
    assert "Output all calls 2.00 1.00 -50.0 %" in text
    assert "Did cost $1.20 Calls: 1 Would have cost $1.60" in text
    assert "Difference +$0.40 +33.3 %" in text
    assert "Begins With its approval" in text
    assert 'approve/"' in page.text


def test_it_is_approved_once_with_its_reason(office: Office, llm: LLM, root: User) -> None:
    proposal = propose(llm)
    form = {"begins": "now", "reason": "The vendor's letter"}
    first, second = (office.client.post(url(proposal, "approve"), form) for _ in range(2))

    assert (first.status_code, second.status_code) == (302, 302)
    proposal = again(proposal)
    assert (proposal.state, proposal.decided_by, proposal.reason) == ("approved", root, "The vendor's letter")
    assert llm.prices.count() == 2
    assert llm.price_at(timezone.now()).input_usd_per_mtok == Decimal("1.5")
    assert "This is decided: Approved, by root@example.org" in said(office, second)
    assert "nothing was done twice" in said(office, office.client.get(url(proposal, "reject"))).lower()
    page = office.open(proposal)
    assert 'approve/"' not in page.text
    assert "As it was when it was proposed." in text_of(page)
    assert "Input all calls 1.00 1.50 +50.0 %" in text_of(page)


def test_from_next_monday_or_when_the_vendor_says(office: Office, llm: LLM) -> None:
    proposal = propose(llm)
    past = {"begins": "other", "effective_from_0": "2026-01-01", "effective_from_1": "00:00:00"}
    assert list(office.client.post(url(proposal, "approve"), past).context["form"].errors) == ["effective_from"]
    office.client.post(url(proposal, "approve"), {"begins": "monday"})
    monday = next_monday(timezone.now())
    assert again(proposal).price.effective_from == monday

    other = make_llm("anthropic")
    proposal = propose(other, listed(), listed("3", at=NEXT_YEAR))
    page = office.client.get(url(proposal, "approve"))
    assert page.context["form"].initial == {"begins": "listed"}
    office.client.post(url(proposal, "approve"), {"begins": "listed"})
    assert again(proposal).price.effective_from == NEXT_YEAR


def test_a_price_that_begins_at_that_moment_is_an_error_and_leaves_it_open(office: Office, llm: LLM) -> None:
    proposal = propose(llm, listed(), listed("3", at=NEXT_YEAR))
    LLMPrice.supersede(llm=llm, effective_from=NEXT_YEAR, input_usd_per_mtok=5, output_usd_per_mtok=5)
    page = office.client.post(url(proposal, "approve"), {"begins": "listed"})

    assert list(page.context["form"].errors) == ["effective_from"]
    assert again(proposal).state == "open"


def test_it_is_rejected_with_a_reason(office: Office, llm: LLM, root: User) -> None:
    proposal = propose(llm)
    assert list(office.client.post(url(proposal, "reject"), {}).context["form"].errors) == ["reason"]
    office.client.post(url(proposal, "reject"), {"reason": "A mistake there"})

    proposal = again(proposal)
    assert (proposal.state, proposal.decided_by, proposal.reason) == ("rejected", root, "A mistake there")
    assert llm.prices.count() == 1
    late = office.client.post(url(proposal, "approve"), {"begins": "now"})
    assert "Rejected, by root@example.org" in said(office, late)
    assert llm.prices.count() == 1


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has one writer at a time")
@pytest.mark.django_db(transaction=True)
def test_two_decide_at_the_same_moment(office: Office, llm: LLM, root: User) -> None:
    proposal = propose(llm)
    clients = [Client() for _ in range(4)]
    for client in clients:
        client.force_login(root)
    at_once(4, lambda number: clients[number].post(url(proposal, "approve"), {"begins": "now"}).status_code)

    assert llm.prices.count() == 2
    assert again(proposal).state == "approved"


def test_several_are_decided_after_a_question(office: Office, llm: LLM) -> None:
    proposals = [propose(llm), propose(make_llm("anthropic")), propose(make_llm("google"))]
    office.client.post(url(proposals[2], "reject"), {"reason": "No"})
    page = office.act(PriceProposal, "approve_selected", *proposals)
    text = text_of(page)
    assert "Approve 2 prices" in text
    assert "1 of those you chose is decided already and left alone." in text
    assert text.count("Input all calls 1.00 1.50 +50.0 %") == 2
    assert LLMPrice.objects.count() == 3

    form = {"_selected_action": [str(one.pk) for one in proposals], "confirmed": "1"}
    done = office.client.post(LIST, {**form, "action": "approve_selected", "reason": "All right"})
    assert said(office, done) == "2 prices approved. 1 was decided already; nothing was done twice."
    assert [again(one).state for one in proposals] == ["approved", "approved", "rejected"]
    assert LLMPrice.objects.count() == 5
    done = office.client.post(LIST, {**form, "action": "reject_selected", "reason": "No"})
    assert said(office, done) == "3 were decided already; nothing was done twice."


def test_those_that_wait_come_first(office: Office, llm: LLM) -> None:
    open_ = propose(llm)
    decided = propose(make_llm("anthropic"))
    office.client.post(url(decided, "reject"), {"reason": "No"})

    rows = list(office.list(PriceProposal).context["cl"].result_list)
    assert rows == [open_, decided]
    assert office.found(PriceProposal, state__exact="open") == {open_.pk}


def test_looking_now_proposes_and_changes_no_price(office: Office, llm: LLM, monkeypatch: Any) -> None:
    monkeypatch.setattr(price_source, "installed", lambda at: source_of(llm, listed("1.5")))
    assert office.client.get(f"{LIST}look/").status_code == 405
    assert not PriceProposal.objects.exists()

    done = office.client.post(f"{LIST}look/")
    assert said(office, done) == "Compared with prices 1. 1 price is newly proposed. 1 waits for a decision."
    assert said(office, office.client.post(f"{LIST}look/")) == "Compared with prices 1. 1 waits for a decision."
    assert llm.prices.count() == 1


def test_the_installed_list_can_be_looked_at(office: Office, llm: LLM) -> None:
    assert "Nothing waits for a decision." in said(office, office.client.post(f"{LIST}look/"))
    page = office.client.get(NEW)
    assert len(page.context["rows"]) > 20
    assert page.status_code == 200


def test_new_models_are_added_inactive(office: Office, llm: LLM, monkeypatch: Any) -> None:
    there = source(listing("x-ai/grok-9", listed("1", cached_input="0.1")), listing("x-ai/grok-10", listed("2")))
    monkeypatch.setattr(price_source, "installed", lambda at: there)
    text = text_of(office.client.get(NEW))
    assert "grok-9 xAI Grok 100,000 Input 1.00 · Cached input 0.10 · Output 2.00" in text

    done = office.client.post(NEW, {"key": ["x-ai/grok-9"]})
    assert said(office, done).startswith("grok/grok-9 was added, inactive.")
    added = LLM.objects.get(name="grok-9")
    assert not added.is_active
    assert added.price_at(timezone.now()).input_usd_per_mtok == 1
    twice = office.client.post(NEW, {"key": ["x-ai/grok-9"]})
    assert said(office, twice) == "x-ai/grok-9 is in the catalogue by now, or not listed any more."
    assert said(office, office.client.post(NEW, {})) == "Choose the models to add."
    assert LLM.objects.count() == 2


def test_each_page_asks_for_its_permission(clerk: User, clerks_office: Office, llm: LLM) -> None:
    proposal = propose(llm)
    clerk.user_permissions.set(Permission.objects.filter(codename="view_priceproposal"))
    office = clerks_office
    page = office.open(proposal)
    assert "is shown to those who may see usage" in text_of(page)
    assert 'approve/"' not in page.text
    listing_ = office.list(PriceProposal).text
    assert "look/" not in listing_
    assert "new-models/" not in listing_
    for name in ("approve", "reject"):
        assert office.client.get(url(proposal, name)).status_code == 403
        assert office.client.post(url(proposal, name), {"begins": "now", "reason": "x"}).status_code == 403
        assert Client().get(url(proposal, name)).status_code == 302
    assert office.client.post(f"{LIST}look/").status_code == 403
    assert office.client.get(NEW).status_code == 403
    assert office.client.post(NEW, {"key": "x"}).status_code == 403
    office.act(PriceProposal, "approve_selected", proposal)
    form = {"action": "approve_selected", "_selected_action": [str(proposal.pk)], "confirmed": "1"}
    office.client.post(LIST, form)
    assert again(proposal).state == "open"

    clerk.user_permissions.add(Permission.objects.get(codename="approve_price"))
    assert 'approve/"' in office.open(proposal).text
    assert "look/" in office.list(PriceProposal).text
    assert office.client.get(NEW).status_code == 403
    assert office.client.post(url(proposal, "approve"), {"begins": "now"}).status_code == 302
    clerk.user_permissions.set(Permission.objects.filter(codename__in=["add_llm", "add_llmprice"]))
    assert office.client.get(NEW).status_code == 200
