"""Lists stay usable when tables grow: a fixed number of queries, searches by key or prefix, no big drop-downs."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib import admin
from django.contrib.admin.filters import AllValuesFieldListFilter, RelatedFieldListFilter
from django.db import connection
from django.db.models import ForeignKey, Model
from django.test.utils import CaptureQueriesContext

from billing.models import BillingEvent, Wallet
from conversations.models import Agent, Conversation, Message, UsageLog
from llm.models import LLM, LLMPrice
from synapscale.common.admin import OperatorAdmin
from synapscale.common.models import BaseModel
from tests.admin.rows import Office, answer_in, conversation_of, make_workplace, newest, our_models
from tests.catalogue import make_llm
from tests.people import Cast, fund, join, make_workspace
from workspaces.models import AccessToken, Membership, User, UserVariable, Workspace

SMALL = {LLM}
"""Tables that may be offered as a drop-down or filter: the models of a handful of providers."""


def queries(get: Any) -> list[str]:
    with CaptureQueriesContext(connection) as captured:
        assert get().status_code == 200
    return [query["sql"] for query in captured.captured_queries]


def test_lists_make_as_many_queries_for_50_rows_as_for_5(office: Office) -> None:
    def counts() -> dict[str, int]:
        return {model._meta.label: len(queries(lambda model=model: office.list(model))) for model in our_models()}

    for number in range(5):
        make_workplace(number)
    few = counts()
    for number in range(5, 50):
        make_workplace(number)

    assert counts() == few
    # Session, user, one COUNT and the rows; choices of a filter, and the usage that ledger events were charged for.
    assert {label: count for label, count in few.items() if count > 4 and label != "auth.Group"} == {
        "billing.BillingEvent": 7,
        "conversations.Agent": 5,
        "conversations.ConversationLLM": 5,
        "conversations.UsageLog": 5,
        "tagging.TagLink": 5,  # how many suggestions wait
        "tagging.TagRule": 5,  # what people think of the rules
    }


def test_pages_of_rows_with_many_others_make_a_fixed_number_of_queries(office: Office) -> None:
    owner = make_workplace(1)
    conversation, llm = Conversation.objects.get(workspace=owner.workspace), LLM.objects.get()
    rows = [owner.workspace, owner.user, conversation, llm, Wallet.objects.get(workspace=owner.workspace)]

    def counts() -> list[int]:
        return [len(queries(lambda row=row: office.open(row))) for row in rows]

    counts()  # content types are remembered
    few = counts()
    for number in range(20):
        join(owner.workspace, f"colleague-{number}", "member")
        answer_in(conversation, owner, llm)

    assert counts() == few


def test_a_workspace_with_very_many_members_does_not_list_them_on_its_page(office: Office, cast: Cast) -> None:
    workspace = cast.alice.workspace
    people = User.objects.bulk_create(User(email=f"{number}@example.org") for number in range(100))
    Membership.objects.bulk_create(Membership(workspace=workspace, user=user) for user in people)

    page = office.open(workspace)

    assert "99@example.org" not in page.text
    assert f"workspace__id__exact={workspace.pk}" in page.text


def test_no_list_or_form_offers_a_big_table_as_a_drop_down(office: Office) -> None:
    for model, model_admin in admin.site._registry.items():
        if not isinstance(model_admin, OperatorAdmin):
            continue
        for name in model_admin.list_filter:
            if isinstance(name, str) and "__" not in name and model._meta.get_field(name).is_relation:
                assert model._meta.get_field(name).related_model in SMALL, (model, name)
        response = office.list(model)
        for shown in response.context["cl"].filter_specs:
            assert not isinstance(shown, AllValuesFieldListFilter), (model, shown)  # it reads the whole column
            if isinstance(shown, RelatedFieldListFilter):
                assert shown.field.related_model in SMALL, (model, shown)
        add = office.client.get(office.url(model, "add"))
        if add.status_code == 200:
            for name, field in add.context["adminform"].form.fields.items():
                if hasattr(field, "queryset") and name not in {"groups", "user_permissions"}:
                    assert name in model_admin.autocomplete_fields, (model, name)
        joined = {f.name for f in model._meta.concrete_fields if isinstance(f, ForeignKey)}
        assert joined & set(model_admin.list_display) <= {
            path.partition("__")[0] for path in model_admin.list_select_related
        }, model


@pytest.mark.parametrize("model", our_models(), ids=lambda model: model._meta.label)
def test_search_takes_anything_and_finds_rows_by_id(office: Office, model: type[Model]) -> None:
    make_workplace(1)
    row = newest(model)

    for term in ("", " ", "x", "%_\\'\"", "no such thing", "a@b.c", "00000000-0000-7000-8000-000000000000"):
        assert office.list(model, q=term).status_code == 200, term
    if model._meta.app_label not in {"auth", "auditlog"}:  # keys that are numbers
        assert office.found(model, q=str(row.pk)) == {row.pk}
    if issubclass(model, BaseModel):
        assert office.found(model, q=f" {row.pk.hex} ") == {row.pk}


def test_search_finds_rows_by_what_operators_know_of_them(office: Office) -> None:
    owner, other = make_workplace(1), make_workplace(2)
    user, workspace = owner.user, owner.workspace
    conversation = Conversation.objects.get(workspace=workspace)
    event = BillingEvent.objects.get(workspace=workspace, event_type="refund")
    llm = LLM.objects.get(name="demo-1")

    assert office.found(User, q="Owner-1@") == {user.pk}
    assert office.found(Workspace, q="works-1") == {workspace.pk}
    assert office.found(Membership, q="OWNER-1@example.org") == {owner.membership.pk}
    assert office.found(Membership, q="works-1") == {owner.membership.pk}
    assert office.found(Wallet, q="works-1") == {Wallet.objects.get(workspace=workspace).pk}
    join(workspace, "colleague", "member")
    for term in ("Works", "OWNER-1@example.org", "colleague@example.org"):
        wanted = {space.pk for space in (workspace, other.workspace) if term == "Works" or space == workspace}
        assert office.found(Workspace, q=term) == wanted
        assert office.found(Wallet, q=term) == {wallet.pk for wallet in Wallet.objects.filter(workspace__in=wanted)}
    assert office.list(Workspace, q="works-1").context["cl"].result_count == 1  # once, however many its members are
    assert office.found(Conversation, q="talk 1") == {conversation.pk}
    assert office.found(Conversation, q="owner-1@example.org") == {conversation.pk}
    assert office.found(Conversation, q=str(workspace.pk)) == {conversation.pk}
    assert office.found(Agent, q="agent 1") == {conversation.agent_id}
    assert office.found(BillingEvent, q="refund-1") == {event.pk}
    assert len(office.found(BillingEvent, q="works-1")) == 3
    assert len(office.found(Message, llm__id__exact=llm.pk)) == 1
    assert len(office.found(Message, q="works-1")) == 2
    assert len(office.found(UsageLog, q="owner-1@example.org")) == 1
    assert office.found(LLM, q="mo-1") == {llm.pk}
    assert office.found(LLMPrice, q="mo-1") == {llm.prices.get().pk}
    token = AccessToken.objects.filter(workspace=other.workspace).first()
    assert office.found(AccessToken, q=token.prefix) == {token.pk}
    assert office.found(UserVariable, q="works-2") == {UserVariable.objects.get(workspace=other.workspace).pk}


@pytest.mark.parametrize("model", our_models(), ids=lambda model: model._meta.label)
def test_every_filter_answers(office: Office, model: type[Model]) -> None:
    make_workplace(1)

    changelist = office.list(model).context["cl"]
    for shown in changelist.filter_specs:
        for choice in shown.choices(changelist):
            response = office.client.get(office.url(model, "changelist") + choice["query_string"])
            assert response.status_code == 200, (model, choice)


def test_an_empty_list_says_why_it_is_empty(office: Office) -> None:
    assert "Nothing is here yet" in office.list(Wallet).text
    fund(make_workspace("acme"), "5")

    found = office.list(Wallet, q="<b>rival")

    assert (
        "No row has “&lt;b&gt;rival”. The search takes: An id, the beginning of a workspace&#x27;s slug or name"
        in found.text
    )
    assert "No row is as the filters want it." in office.list(Wallet, status__exact="suspended").text


def test_filters_narrow_a_list(office: Office) -> None:
    owner = make_workplace(1)

    assert len(office.found(BillingEvent, event_type__exact="usage")) == 1
    assert office.found(UsageLog, status__exact="error") == set()
    assert len(office.found(Message, role__exact="assistant", workspace__id__exact=owner.workspace.pk)) == 1


# --- Autocomplete ---------------------------------------------------------------------------------------------------


def autocomplete(office: Office, model: str, field: str, term: str, **query: Any) -> Any:
    app_label, _, model_name = model.partition(".")
    data = {"app_label": app_label, "model_name": model_name, "field_name": field, "term": term, **query}
    return office.client.get("/admin/autocomplete/", data)


def names(response: Any) -> list[str]:
    assert response.status_code == 200, response
    return [result["text"] for result in response.json()["results"]]


def test_autocomplete_offers_what_begins_with_the_term(office: Office, cast: Cast) -> None:
    assert names(autocomplete(office, "workspaces.membership", "user", "ali")) == ["alice@example.org"]
    assert names(autocomplete(office, "conversations.agent", "workspace", "acm")) == ["Acme"]
    assert names(autocomplete(office, "conversations.agent", "workspace", "zzz")) == []


def test_autocomplete_of_a_tenants_rows_reads_across_tenants_and_can_be_narrowed_to_one(
    office: Office, cast: Cast
) -> None:
    llm = make_llm("demo")
    for person in (cast.alice, cast.charlie):
        Agent.objects.create(workspace=person.workspace, name=f"Helper of {person.user.name}", llm=llm)

    assert len(names(autocomplete(office, "conversations.conversation", "agent", "helper"))) == 2
    narrowed = autocomplete(office, "conversations.conversation", "agent", "", workspace=cast.alice.workspace.pk)
    assert names(narrowed) == ["Helper of Alice"]
    form = office.open(conversation_of(cast.alice)).text
    assert f"/admin/autocomplete/?workspace={cast.alice.workspace.pk}" in form


def test_autocomplete_makes_a_fixed_number_of_queries(office: Office) -> None:
    def count() -> int:
        return len(queries(lambda: autocomplete(office, "conversations.conversation", "agent", "agent")))

    make_workplace(0)
    few = count()
    for number in range(1, 10):
        make_workplace(number)
    assert count() == few


def test_autocomplete_is_for_those_who_may_see_the_rows(clerks_office: Office, cast: Cast) -> None:
    assert autocomplete(clerks_office, "workspaces.membership", "user", "ali").status_code == 403


def test_a_list_has_pages(office: Office, cast: Cast) -> None:
    fund(cast.alice.workspace, "5")
    Conversation.objects.bulk_create(
        Conversation(workspace=cast.alice.workspace, user=cast.alice.user) for _ in range(120)
    )

    newest_first = [row.pk for row in office.list(Conversation).context["cl"].result_list]
    last_page = office.list(Conversation, p=3).context["cl"]
    assert len(newest_first) == 50
    assert newest_first == sorted(newest_first, reverse=True)
    assert last_page.result_count == 120
    assert len(last_page.result_list) == 20
