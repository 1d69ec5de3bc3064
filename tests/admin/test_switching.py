"""Models are retired and brought back after a page that says who relies on them, with a reason, once."""

from __future__ import annotations

import html
import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from conversations.models import Agent, ConversationLLM
from llm.admin.showing import moment
from llm.models import LLM, LLMPrice, ProviderConnection
from tests.admin.rows import Office, again, conversation_of
from tests.audited import entries, notes
from tests.catalogue import make_llm
from tests.people import Cast
from workspaces.models import User, Workspace

pytestmark = pytest.mark.django_db


@pytest.fixture
def llm(db: None) -> LLM:
    return make_llm("demo", supports_vision=False)


def unpriced(name: str = "unpriced", **fields: Any) -> LLM:
    return LLM.objects.create(
        provider="demo", name=name, display_name=name, context_window=1000, max_output_tokens=100, **fields
    )


def url(llm: LLM, page: str) -> str:
    return f"/admin/llm/llm/{llm.pk}/{page}/"


def text_of(page: Any) -> str:
    main = page.text.partition('id="content-main"')[2].partition('id="modal-overlay"')[0]
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", main)).split())


def told(office: Office, row: LLM, page: str) -> str:
    return text_of(office.client.get(url(row, page)))


def switched(office: Office, llm: LLM, page: str, **given: Any) -> Any:
    return office.client.post(url(llm, page), {"confirmed": "1", "reason": "Too dear", **given})


def rely_on(llm: LLM, cast: Cast) -> None:
    """Two agents with it as their main model (one has a fallback), one that falls back to it, and two workspaces."""
    other = make_llm("openai")
    acme, rival = cast.alice.workspace, cast.charlie.workspace
    Agent.objects.create(workspace=acme, name="Alone", llm=llm)
    Agent.objects.create(workspace=acme, name="Rescued", llm=llm, fallback_llms=[str(other)])
    Agent.objects.create(workspace=acme, name="Falls back", llm=other, fallback_llms=["openai/x", str(llm)])
    Agent.objects.create(workspace=acme, name="Near miss", llm=other, fallback_llms=[f"{llm}-2"])
    Agent.objects.create(workspace=acme, name="Switched off", llm=llm, is_active=False)
    Workspace.objects.filter(pk=acme.pk).update(default_model=str(llm))
    Workspace.objects.filter(pk=rival.pk).update(fallback_models=[str(llm)], allowed_models=[str(llm), str(other)])
    chat = conversation_of(cast.alice)
    now = timezone.now()
    for row, at in ((chat, now), (conversation_of(cast.bob), now - timedelta(days=31))):
        ConversationLLM.objects.create(
            workspace=acme, conversation=row, llm=llm, first_used_at=at, last_used_at=at, message_count=1
        )


def test_the_page_says_who_relies_on_it_and_what_they_will_be_told(office: Office, llm: LLM, cast: Cast) -> None:
    rely_on(llm, cast)
    text = told(office, llm, "retire")

    for said in (
        "1 conversation had an answer of it in the last 30 days.",
        "1 agent answers with its fallback from now on, as long as that can be called.",
        "1 agent has no fallback: its questions are refused (422, “model_retired”)",
        "1 workspace has it as its default and no fallback",
        "1 agent falls back to it, and passes it over from now on.",
        "1 workspace falls back to it, and passes it over from now on.",
        "1 workspace names it among the models that it allows.",
        "Agents that it answers for Rescued · Acme Alone · Acme",
        "Agents that fall back to it Falls back · Acme",
        "Workspaces that name it in their rules Acme Rival",
    ):
        assert said in text, said
    assert again(llm).is_active


def test_nobody_relies_on_it(office: Office, llm: LLM) -> None:
    assert "No active agent and no active workspace names it." in told(office, llm, "retire")


def test_it_is_done_once_with_its_reason_in_the_audit_log(office: Office, llm: LLM, root: User) -> None:
    assert list(switched(office, llm, "retire", reason=" ").context["form"].errors) == ["reason"]
    assert again(llm).is_active

    first, second = switched(office, llm, "retire"), switched(office, llm, "retire")
    assert not again(llm).is_active
    assert "Retired already; nothing was done twice." in office.client.get(second["Location"]).text
    assert first["Location"] == f"/admin/llm/llm/{llm.pk}/change/"
    (entry,) = entries(llm)
    assert entry.actor == root
    assert entry.changes == {"is_active": ["True", "False"]}
    assert entry.additional_data == {"what": "Retired.", "reason": "Too dear"}

    switched(office, llm, "activate")
    assert again(llm).is_active


def test_what_stands_in_the_way_of_an_answer_is_said_before(office: Office, db: None) -> None:
    llm = unpriced(is_active=False, metadata={"unconfirmed": ["max_output_tokens"]})
    text = told(office, llm, "activate")

    assert "It has no valid price. Calls are refused (422, “no_price”) until it has one" in text
    assert "Give it a price" in text
    assert "It was added from a list of prices" in text
    switched(office, llm, "activate")
    assert "No valid price: refused" in office.open(llm).text


def test_several_at_once(office: Office, llm: LLM, cast: Cast) -> None:
    others = [make_llm("demo", f"other-{number}") for number in range(3)]
    retired = unpriced(is_active=False)
    page = office.act(LLM, "retire", llm, *others, retired)
    text = text_of(page)
    assert "Retire 4 models" in text
    assert str(retired) not in text
    assert LLM.objects.filter(is_active=True).count() == 4

    keys = [str(row.pk) for row in (llm, *others, retired)]
    form = {"action": "retire", "_selected_action": keys, "confirmed": "1", "reason": "Old"}
    assert office.client.post("/admin/llm/llm/", form)["Location"] == "/admin/llm/llm/"
    assert not LLM.objects.filter(is_active=True).exists()
    assert notes(kind=LLM) == ["Retired."] * 4

    text = text_of(office.act(LLM, "activate", llm, retired))
    assert "Activate 2 models" in text
    assert text.count("It has no valid price.") == 1


def test_the_page_of_many_makes_as_many_queries_as_that_of_two(office: Office, llm: LLM, cast: Cast) -> None:
    rely_on(llm, cast)
    rows = [llm, *(make_llm("demo", f"other-{number}") for number in range(20))]

    def count(chosen: list[LLM]) -> int:
        with CaptureQueriesContext(connection) as queries:
            assert "This is what will happen" in office.act(LLM, "retire", *chosen).text
        return len(queries)

    assert count(rows) == count(rows[:2]) <= 12
    with CaptureQueriesContext(connection) as queries:
        told(office, llm, "retire")
    assert len(queries) <= 12


def test_who_may_not_change_models_has_no_button(clerk: User, clerks_office: Office, llm: LLM) -> None:
    clerk.user_permissions.add(Permission.objects.get(codename="view_llm"))
    assert 'retire/"' not in clerks_office.open(llm).text
    for page in ("retire", "activate"):
        assert clerks_office.client.get(url(llm, page)).status_code == 403
        assert switched(clerks_office, llm, page).status_code == 403
        assert Client().get(url(llm, page)).status_code == 302
    clerks_office.act(LLM, "retire", llm)
    assert again(llm).is_active

    clerk.user_permissions.add(Permission.objects.get(codename="change_llm"))
    shown = clerks_office.open(llm).text
    assert 'retire/"' in shown
    assert 'activate/"' not in shown
    rely = told(clerks_office, llm, "retire")
    assert f"Retire {llm}" in rely


def test_names_are_for_those_who_may_see_the_rows(clerk: User, clerks_office: Office, llm: LLM, cast: Cast) -> None:
    rely_on(llm, cast)
    clerk.user_permissions.add(*Permission.objects.filter(codename__in=["view_llm", "change_llm"]))
    text = told(clerks_office, llm, "retire")
    assert "1 agent falls back to it" in text
    assert "Acme" not in text


# --- The list and the page of a model -------------------------------------------------------------------------------


def test_the_list_shows_what_each_is_and_finds_those_without_a_price(office: Office, llm: LLM) -> None:
    none, off = unpriced(), unpriced("off", is_active=False)
    host = ProviderConnection.objects.create(slug="lab", name="Lab", base_url="https://h.example/v1", is_active=False)
    hosted = make_llm("private", "lab/x", supports_vision=False, connection=host)
    page = office.list(LLM).text
    statuses = re.findall(r'office-badge-(\w+)">([^<]+)<', page)
    assert sorted(statuses) == [
        ("active", "Active"),
        ("refused", "Host switched off: refused"),
        ("refused", "No valid price: refused"),
        ("retired", "Retired"),
    ]
    assert "Structured output" in page
    assert office.found(LLM, price="none") == {none.pk, off.pk}
    assert office.found(LLM, price="valid") == {llm.pk, hosted.pk}


def test_the_page_of_a_model_tells_its_prices_over_time(office: Office, llm: LLM) -> None:
    now = timezone.now()
    first = llm.prices.get()
    LLMPrice.supersede(
        llm=llm, effective_from=now, input_usd_per_mtok="1.25", output_usd_per_mtok=2, source="A page <b>there</b>"
    )
    LLMPrice.supersede(
        llm=llm, effective_from=now + timedelta(days=9), input_usd_per_mtok="1.25", output_usd_per_mtok=2
    )
    with CaptureQueriesContext(connection) as queries:
        page = office.open(llm)
    assert len(queries) <= 12
    text = text_of(page)

    assert [entry.state for entry in page.context["timeline"]] == ["planned", "current", "past"]
    assert "The same rates as before." in text
    assert "Input: 1.00 → 1.25 +25.0 %" in text
    assert "Source: A page <b>there</b>" in text
    assert "&lt;b&gt;there" in page.text
    assert "The first price." in text
    assert f"/admin/llm/llmprice/{first.pk}/change/" in page.text
    assert "Active" in text


def test_a_time_without_a_price_is_told(office: Office) -> None:
    llm = unpriced()
    now = timezone.now()
    ended, begun = now - timedelta(days=9), now - timedelta(days=2)
    rates = {"input_usd_per_mtok": 1, "output_usd_per_mtok": 2}
    LLMPrice.objects.create(llm=llm, effective_from=now - timedelta(days=30), effective_to=ended, **rates)
    text = text_of(office.open(llm))
    assert "No valid price: refused" in text
    assert "Current" not in text
    LLMPrice.objects.create(llm=llm, effective_from=begun, **rates)

    text = text_of(office.open(llm))
    assert f"There was no price between {moment(ended)} and then." in text
    assert "No valid price" not in text


def test_many_prices_are_not_all_on_one_page(office: Office) -> None:
    llm = unpriced()
    start = timezone.now() - timedelta(days=60)
    for number in range(22):
        LLMPrice.supersede(
            llm=llm, effective_from=start + timedelta(days=number), input_usd_per_mtok=number, output_usd_per_mtok=1
        )
    page = office.open(llm)
    entries_shown = page.context["timeline"]
    assert len(entries_shown) == 20
    assert [move.old for move in entries_shown[-1].moved] == ["1.00"]
    (older,) = re.findall(r'<a href="([^"]+)">Older prices', page.text)
    assert office.client.get(html.unescape(older)).context["cl"].result_count == 22
