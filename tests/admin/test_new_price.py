"""A price is changed in two steps: what it will be, then what that would have meant; stored once."""

from __future__ import annotations

import html
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from llm.admin.beginning import next_monday, next_month
from llm.models import LLM, LLMPrice
from tests.admin.rows import Office, shown
from tests.analytics.usage import Call, write
from tests.audited import changes, notes
from tests.catalogue import SINCE, make_llm
from tests.people import Cast
from tests.together import at_once
from workspaces.models import User

pytestmark = pytest.mark.django_db
NEXT_YEAR = {"begins": "other", "effective_from_0": "2200-01-01", "effective_from_1": "00:00:00"}


@pytest.fixture
def llm(db: None) -> LLM:
    return make_llm("demo", supports_vision=False)


def url(llm: LLM) -> str:
    return f"/admin/llm/llm/{llm.pk}/new-price/"


def form_of(office: Office, llm: LLM, **typed: Any) -> dict[str, Any]:
    """What a browser sends of the form as it is shown, with ``typed`` over it."""
    page = office.client.get(url(llm))
    assert page.status_code == 200
    return {**shown(page.context["form"]), **typed}


def preview(office: Office, llm: LLM, **typed: Any) -> Any:
    return office.client.post(url(llm), form_of(office, llm, **typed))


def hidden_in(page: Any) -> dict[str, str]:
    main = page.text.partition('id="new-price"')[2].partition("</form>")[0]
    pairs = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', main)
    return {name: html.unescape(value) for name, value in pairs}


def confirm(office: Office, llm: LLM, page: Any) -> Any:
    return office.client.post(url(llm), {**hidden_in(page), "confirmed": "1"})


def stored(office: Office, llm: LLM, **typed: Any) -> LLMPrice:
    page = preview(office, llm, **typed)
    assert page.context.get("is_confirming"), page.context["form"].errors
    assert confirm(office, llm, page).status_code == 302
    price: LLMPrice = llm.prices.order_by("-effective_from").first()
    return price


def text_of(page: Any) -> str:
    main = page.text.partition('id="content-main"')[2].partition('id="modal-overlay"')[0]
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", main)).split())


def test_from_next_monday_with_what_it_would_have_meant(office: Office, llm: LLM, cast: Cast) -> None:
    day = timezone.now() - timedelta(days=1)
    million = (1_000_000, 0, 0, 0, 0, 0)
    write(
        [
            Call(at=day, person=cast.alice, llm=llm, tokens=million, cost=1_000_000),
            Call(at=day, person=cast.charlie, llm=llm, tokens=million, cost=1_000_000),
            Call(at=day, person=cast.charlie, llm=llm, tokens=(0, 0, 0, 0, 500_000, 0), cost=1_000_000),
            Call(at=day - timedelta(days=31), person=cast.alice, llm=llm, tokens=million, cost=1_000_000),
            Call(at=day, person=cast.alice, llm=make_llm("openai"), tokens=million, cost=1_000_000),
        ]
    )
    monday = next_monday(timezone.now())
    page = preview(office, llm, input_usd_per_mtok="1.25", source="The vendor's page")

    text = text_of(page)
    assert (
        f"Nothing is stored yet. This is what the new price would change: New price begins Monday, {monday:%b}" in text
    )
    assert "Input all calls 1.00 1.25 +25.0 %" in text
    assert "Output all calls" not in text
    assert (
        "Did cost $3.00 Calls: 3 Would have cost $3.50 the same calls at the new price Difference +$0.50 +16.7 %"
        in text
    )
    assert "Acme 1 $1.00 $1.25 +$0.25 (+25.0 %)" in text
    assert "Rival 2 $2.00 $2.25 +$0.25 (+12.5 %)" in text
    assert "Source The vendor's page" in text
    assert llm.prices.count() == 1

    answer = confirm(office, llm, page)
    assert answer["Location"] == f"/admin/llm/llm/{llm.pk}/change/"
    before, after = llm.prices.order_by("effective_from")
    assert (before.effective_from, before.effective_to) == (SINCE, monday)
    assert (after.effective_from, after.effective_to) == (monday, None)
    assert (after.input_usd_per_mtok, after.output_usd_per_mtok) == (Decimal("1.25"), 2)
    assert after.source == "The vendor's page"
    assert (notes(after), changes(before)["effective_to"]) == (["Created."], ["None", f"{monday:%Y-%m-%d %H:%M:%S}"])
    assert "Stored: the new price holds from Monday" in office.client.get(answer["Location"]).text


def test_the_days_that_are_offered() -> None:
    sunday, monday = datetime(2026, 11, 29, 23, 59, tzinfo=UTC), datetime(2026, 11, 30, tzinfo=UTC)
    assert next_monday(sunday) == monday
    assert next_monday(monday) == datetime(2026, 12, 7, tzinfo=UTC)
    assert next_month(sunday) == datetime(2026, 12, 1, tzinfo=UTC)
    assert next_month(datetime(2026, 12, 31, tzinfo=UTC)) == datetime(2027, 1, 1, tzinfo=UTC)


def test_the_present_price_is_carried_over_whole(office: Office) -> None:
    tiers = [{"above_input_tokens": 1000, "input": "3", "cached_input": "0.3", "output": "4"}]
    llm = make_llm("demo", price={"cached_input_usd_per_mtok": "0.1", "request_fee_usd": "0.01", "tiers": tiers})
    page = preview(office, llm, output_usd_per_mtok="5", **NEXT_YEAR)
    text = text_of(page)
    assert "Output all calls 2.00 5.00 +150.0 %" in text
    assert "The rates for long prompts stay as they are." in text
    confirm(office, llm, page)

    price = llm.prices.get(effective_to=None)
    assert (price.input_usd_per_mtok, price.cached_input_usd_per_mtok, price.output_usd_per_mtok) == (
        1, Decimal("0.1"), 5,
    )  # fmt: skip
    assert (price.request_fee_usd, price.tiers) == (Decimal("0.01"), tiers)


def test_each_rate_that_changes_is_shown_fee_and_long_prompts_included(office: Office) -> None:
    tiers = [{"above_input_tokens": 1000, "input": "3", "output": "4"}]
    llm = make_llm("demo", price={"tiers": tiers})
    more = '[{"above_input_tokens": 1000, "input": "1.5", "output": "4"}]'
    text = text_of(preview(office, llm, tiers=more, request_fee_usd="0.001", **NEXT_YEAR))

    assert "Input prompts above 1,000 tokens 3.00 1.50 -50.0 %" in text
    assert "Fee per call all calls 0.00 0.001 new" in text
    assert "Nobody called this model in the last 30 days" in text


@pytest.mark.parametrize(
    ("typed", "field"),
    [
        ({"begins": "other", "effective_from_0": "2025-01-01", "effective_from_1": "00:00:00"}, "effective_from"),
        ({"begins": "other", "effective_from_0": "2026-01-01", "effective_from_1": "00:00:00"}, "effective_from"),
        ({"begins": "other"}, "effective_from"),
        ({"effective_from_0": "2200-01-01", "effective_from_1": "00:00:00"}, "effective_from"),
        ({"begins": "yesterday"}, "begins"),
        ({"input_usd_per_mtok": "-1"}, "input_usd_per_mtok"),
        ({"input_usd_per_mtok": "0.0000001"}, "input_usd_per_mtok"),
        ({"input_usd_per_mtok": "NaN"}, "input_usd_per_mtok"),
        ({"output_usd_per_mtok": ""}, "output_usd_per_mtok"),
        ({"request_fee_usd": "5000000"}, "request_fee_usd"),
        ({"tiers": '[{"above": 1}]'}, "tiers"),
        ({"tiers": "{}"}, "tiers"),
        ({"windows": "no json"}, "windows"),
        ({"reference": "x"}, "reference"),
    ],
)
def test_what_is_wrong_is_said_at_its_field(office: Office, llm: LLM, typed: dict[str, str], field: str) -> None:
    page = preview(office, llm, **typed)

    assert page.status_code == 200
    assert list(page.context["form"].errors) == [field]
    sent = office.client.post(url(llm), {**form_of(office, llm, **typed), "confirmed": "1"})
    assert sent.status_code == 200
    assert llm.prices.get().effective_to is None


def test_a_planned_price_stands_in_the_way_unless_this_one_ends_there(office: Office, llm: LLM) -> None:
    later = datetime(2200, 1, 1, tzinfo=UTC)
    LLMPrice.supersede(llm=llm, effective_from=later, input_usd_per_mtok=5, output_usd_per_mtok=5)

    page = preview(office, llm, input_usd_per_mtok="2")
    assert list(page.context["form"].errors) == ["effective_from"]
    assert "Another price is planned from Wednesday, Jan. 1, 2200, 00:00 UTC on." in html.unescape(page.text)
    same = preview(office, llm, **NEXT_YEAR)
    assert "Another price begins at that very moment" in str(same.context["form"].errors["effective_from"])

    page = preview(office, llm, input_usd_per_mtok="2", ends_at_next="on")
    assert "It ends Wednesday, Jan. 1, 2200" in text_of(page)
    confirm(office, llm, page)
    assert [price.input_usd_per_mtok for price in llm.prices.order_by("effective_from")] == [1, 2, 5]
    assert llm.prices.get(input_usd_per_mtok=2).effective_to == later


def test_a_price_that_somebody_plans_meanwhile_is_an_error_of_the_field(office: Office, llm: LLM) -> None:
    page = preview(office, llm, input_usd_per_mtok="2", **NEXT_YEAR)
    LLMPrice.supersede(
        llm=llm, effective_from=datetime(2200, 1, 1, tzinfo=UTC), input_usd_per_mtok=5, output_usd_per_mtok=5
    )
    answer = confirm(office, llm, page)

    assert list(answer.context["form"].errors) == ["effective_from"]
    assert llm.prices.count() == 2


@pytest.mark.parametrize("begins", ["monday", "now"])
def test_a_form_that_is_sent_twice_stores_one_price(office: Office, llm: LLM, begins: str) -> None:
    page = preview(office, llm, input_usd_per_mtok="2", begins=begins)
    first, second = confirm(office, llm, page), confirm(office, llm, page)

    assert (first.status_code, second.status_code) == (302, 302)
    assert "nothing was done twice" in office.client.get(second["Location"]).text
    assert llm.prices.count() == 2


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has one writer at a time")
@pytest.mark.django_db(transaction=True)
def test_two_clicks_at_the_same_moment(office: Office, llm: LLM, root: User) -> None:
    form = {**hidden_in(preview(office, llm, input_usd_per_mtok="2")), "confirmed": "1"}
    clients = [Client() for _ in range(4)]
    for client in clients:
        client.force_login(root)

    assert set(at_once(4, lambda number: clients[number].post(url(llm), form).status_code)) == {302}
    assert llm.prices.count() == 2


def test_in_another_language_the_same_price_is_stored(office: Office, llm: LLM) -> None:
    office.client.cookies["django_language"] = "pt-br"
    page = preview(office, llm, input_usd_per_mtok="1.25", source="Página do fornecedor")
    assert "+25,0 %" in text_of(page)
    assert confirm(office, llm, page).status_code == 302

    price = llm.prices.get(effective_to=None)
    assert (price.effective_from, price.input_usd_per_mtok) == (next_monday(timezone.now()), Decimal("1.25"))


def test_at_once_is_when_it_is_confirmed_and_next_monday_stays_that_monday(office: Office, llm: LLM) -> None:
    page = preview(office, llm, begins="monday")
    hidden = hidden_in(page)
    assert hidden["begins"] == "other"
    assert hidden["effective_from_0"] == f"{next_monday(timezone.now()):%Y-%m-%d}"

    before = timezone.now()
    price = stored(office, llm, begins="now")
    assert before <= price.effective_from <= timezone.now()


def test_going_back_keeps_what_was_typed(office: Office, llm: LLM) -> None:
    page = preview(office, llm, input_usd_per_mtok="7.5")
    back = office.client.post(url(llm), {**hidden_in(page), "back": "1"})

    assert 'value="7.5"' in back.text
    assert not back.context.get("is_confirming")


def test_a_model_without_a_price_gets_one_at_once(office: Office, db: None) -> None:
    llm = LLM.objects.create(provider="demo", name="x", display_name="X", context_window=1000, max_output_tokens=100)
    page = preview(office, llm, input_usd_per_mtok="0", output_usd_per_mtok="0")

    assert page.context["form"].data["begins"] == "now"
    assert "none: until then calls are refused" in text_of(page)
    confirm(office, llm, page)
    assert llm.price_at(timezone.now()).input_usd_per_mtok == 0


def test_adding_to_the_list_of_prices_leads_to_the_same_page(office: Office, llm: LLM) -> None:
    add = "/admin/llm/llmprice/add/"
    assert office.client.get(add).status_code == 200
    assert office.client.get(add, {"llm": llm.pk})["Location"] == url(llm)
    rates = {"input_usd_per_mtok": "1", "output_usd_per_mtok": "1", "effective_from_0": "2200-01-01"}
    assert office.client.post(add, {"llm": llm.pk, **rates})["Location"] == url(llm)
    assert "This field is required." in office.client.post(add, {}).text
    assert llm.prices.count() == 1


def test_who_may_and_who_sees_what(clerk: User, clerks_office: Office, llm: LLM, cast: Cast) -> None:
    write([Call(at=timezone.now(), person=cast.alice, llm=llm, cost=10)])
    page = clerks_office.client
    clerk.user_permissions.add(*Permission.objects.filter(codename__in=["view_llm", "view_llmprice"]))
    assert page.get(url(llm)).status_code == 403
    assert page.post(url(llm), {"confirmed": "1"}).status_code == 403
    assert page.get("/admin/llm/llmprice/add/").status_code == 403
    assert "new-price" not in clerks_office.open(llm).text
    assert Client().get(url(llm)).status_code == 302

    clerk.user_permissions.add(Permission.objects.get(codename="add_llmprice"))
    assert "new-price" in clerks_office.open(llm).text
    shown_to_clerk = text_of(preview(clerks_office, llm))
    assert "is shown to those who may see usage" in shown_to_clerk
    assert "Acme" not in shown_to_clerk
    clerk.user_permissions.add(Permission.objects.get(codename="view_usagelog"))
    assert "Acme 1 $0.00001" in text_of(preview(clerks_office, llm))


def test_the_preview_makes_a_fixed_number_of_queries(office: Office, llm: LLM, cast: Cast) -> None:
    def count() -> int:
        form = form_of(office, llm)
        with CaptureQueriesContext(connection) as queries:
            assert office.client.post(url(llm), form).context["is_confirming"]
        return len(queries)

    write([Call(at=timezone.now(), person=cast.alice, llm=llm, cost=10)])
    few = count()
    write(Call(at=timezone.now(), person=person, llm=llm, cost=10) for person in cast for _ in range(5))
    # Session, user; the model, its price now and at the moment, planned ones, usage, names of workspaces.
    assert count() == few == 8
