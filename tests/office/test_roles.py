"""The roles of staff, page by page and action by action."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group
from django.test import Client

from billing.models import BillingEvent, Hold, Wallet
from conversations.models import Agent, Conversation, Message, MessageFeedback, UsageLog
from llm.models import LLM, LLMPrice, PriceProposal, ProviderConnection
from office import roles
from tagging.models import Tag, TagLink
from tests.admin.rows import CONTENT, SECRET, Office, again, make_workplace, newest
from tests.people import Person
from workspaces.models import AccessToken, Membership, User, UserVariable, Workspace

pytestmark = pytest.mark.django_db
ROLES = ("Operator", "Finance", "Support", "Read-only")


def member_of(*names: str) -> User:
    user = User.objects.create_user(f"{'-'.join(names).lower()}@example.org", is_staff=True)
    user.groups.set(Group.objects.filter(name__in=names))
    assert user.groups.count() == len(names)
    return user


def office_of(*names: str) -> Office:
    client = Client()
    client.force_login(member_of(*names))
    return Office(client)


@pytest.fixture
def owner(db: None) -> Person:
    return make_workplace(1)


def labels(*models: Any) -> set[str]:
    return {model._meta.label for model in models}


HIDDEN_FROM = {
    "Operator": set(),
    "Read-only": set(),
    "Finance": {
        "auth.Group", "common.PeriodicJob", "conversations.Agent", "conversations.Conversation",
        "conversations.IdempotencyKey", "conversations.Message", "conversations.MessageFeedback",
        "conversations.MessageImage", "llm.ProviderConnection", "tagging.TagLink", "tagging.TagRule",
        "workspaces.RateBucket", "workspaces.UserVariable",
    },
    "Support": {
        "analytics.AlertDelivery", "analytics.AlertRule", "analytics.Report", "analytics.ReportMail",
        "analytics.ReportRun", "analytics.WebhookEndpoint", "auditlog.LogEntry", "auth.Group", "billing.HoldIncident",
        "billing.TokenSpend", "common.PeriodicJob", "llm.PriceProposal", "llm.ProviderConnection",
    },
}  # fmt: skip
ADDS = {
    "Operator": labels(LLM, LLMPrice, ProviderConnection, Workspace, Membership, User, UserVariable, Agent, Tag)
    | {"analytics.AlertRule", "tagging.TagRule"},
    "Finance": set(),
    "Support": labels(Tag),
    "Read-only": set(),
}
EDITS = {
    "Operator": labels(LLM, ProviderConnection, Workspace, Membership, User, UserVariable, Agent, Tag)
    | {"analytics.AlertRule", "analytics.WebhookEndpoint", "tagging.TagRule"},
    "Finance": labels(Wallet),
    "Support": labels(MessageFeedback, User, Tag),
    "Read-only": set(),
}


@pytest.mark.parametrize("role", ROLES)
def test_each_list_and_each_row_opens_for_whom_it_is_for_and_no_other(role: str, owner: Person) -> None:
    office = office_of(role)
    for model in admin.site._registry:
        expected = 403 if model._meta.label in HIDDEN_FROM[role] else 200
        assert office.list(model).status_code == expected, model
        row = owner.user if model is User else newest(model)  # the newest person is on the staff
        assert office.open(row).status_code == expected, model


@pytest.mark.parametrize("role", ROLES)
def test_what_a_role_may_add_and_edit(role: str, owner: Person) -> None:
    office = office_of(role)
    added = {
        model._meta.label
        for model in admin.site._registry
        if office.client.get(office.url(model, "add")).status_code == 200
    }
    edited = set()
    for model in admin.site._registry:
        row = owner.user if model is User else newest(model)
        if office.client.post(office.url(model, "change", row.pk), {}).status_code != 403:
            edited.add(model._meta.label)
    assert (added, edited) == (ADDS[role], EDITS[role])


@pytest.mark.parametrize("role", ROLES)
def test_who_moves_money(role: str, owner: Person) -> None:
    office = office_of(role)
    wallet = Wallet.objects.get(workspace=owner.workspace)
    charge = BillingEvent.objects.get(workspace=owner.workspace, event_type="usage")
    pages = [f"/admin/billing/wallet/{wallet.pk}/{page}/" for page in ("top-up", "adjust", "suspend")]
    statuses = {
        office.client.get(url).status_code for url in (*pages, f"/admin/billing/billingevent/{charge.pk}/refund/")
    }
    assert statuses == ({200} if role == "Finance" else {403})
    shown = office.open(wallet).text
    assert [f"/{page}/" in shown for page in ("top-up", "adjust", "suspend")] == [role == "Finance"] * 3


@pytest.mark.parametrize("role", ROLES)
def test_who_downloads_lists_and_who_the_usage_report(role: str, owner: Person) -> None:
    office = office_of(role)
    for model in (BillingEvent, Hold, UsageLog, Wallet):
        expected = 200 if role == "Finance" else 403
        assert office.client.get(office.url(model, "export")).status_code == expected, model
        assert ("Download CSV" in office.list(model).text) == (role == "Finance"), model
    for format_ in ("table", "csv", "json"):
        assert office.client.get("/admin/usage-report/", {"format": format_}).status_code == 200


@pytest.mark.parametrize("role", ROLES)
def test_who_decides_revokes_and_reviews(role: str, owner: Person) -> None:
    """Actions of lists: whoever may not is not offered them, and gets nowhere by sending them."""
    office = office_of(role)
    link, review = newest(TagLink), newest(MessageFeedback)
    may = {
        "accept": role in {"Operator", "Support"},
        "mark_as_reviewed": role == "Support",
        "revoke": role in {"Operator", "Support"},
    }
    for model, action in ((TagLink, "accept"), (MessageFeedback, "mark_as_reviewed"), (AccessToken, "revoke")):
        page = office.list(model)
        assert (page.status_code == 200 and f'value="{action}"' in page.text) == may[action], action
    office.act(TagLink, "accept", link)
    office.act(MessageFeedback, "mark_as_reviewed", review)
    assert (again(link).state == "applied", again(review).review_status == "done") == (
        may["accept"],
        may["mark_as_reviewed"],
    )


@pytest.mark.parametrize("role", ROLES)
def test_what_people_wrote_is_for_support(role: str, owner: Person) -> None:
    office = office_of(role)
    for model in (Message, MessageFeedback, Conversation, UsageLog):
        assert CONTENT not in office.list(model).text
    shown = [CONTENT in office.open(newest(model)).text for model in (Message, MessageFeedback)]
    assert shown == [role == "Support"] * 2
    assert SECRET not in office.open(newest(UserVariable)).text


@pytest.mark.parametrize("role", ROLES)
def test_nobody_of_the_staff_makes_themselves_more(role: str, owner: Person) -> None:
    office = office_of(role)
    me = User.objects.get(email__startswith=role.lower())
    group = Group.objects.get(name="Support")
    assert office.client.post(office.url(Group, "change", group.pk), {"name": "Support"}).status_code == 403
    assert office.client.post(office.url(User, "change", me.pk), {"is_superuser": "on"}).status_code == 403
    assert office.client.post(f"/admin/workspaces/user/{me.pk}/password/", {}).status_code == 403
    assert office.client.get(office.url(AccessToken, "add")).status_code == 403


def test_two_roles_add_up(owner: Person) -> None:
    office = office_of("Finance", "Support")
    wallet = Wallet.objects.get(workspace=owner.workspace)
    assert office.client.get(f"/admin/billing/wallet/{wallet.pk}/top-up/").status_code == 200
    assert CONTENT in office.open(newest(Message)).text


def test_seeding_again_gives_back_what_is_missing_and_takes_nothing_away() -> None:
    group = Group.objects.get(name="Read-only")
    names = {f"{app}.{name}" for app, name in group.permissions.values_list("content_type__app_label", "codename")}
    assert names == roles.ROLES["Read-only"]
    group.permissions.remove(group.permissions.first())
    extra = Group.objects.get(name="Support").permissions.get(codename="read_content")
    group.permissions.add(extra)

    roles.seed()

    names = {f"{app}.{name}" for app, name in group.permissions.values_list("content_type__app_label", "codename")}
    assert names == roles.ROLES["Read-only"] | {"conversations.read_content"}
    assert Group.objects.filter(name__in=ROLES).count() == 4


def test_the_proposals_of_prices_are_the_operators(owner: Person) -> None:
    offices = {role: office_of(role) for role in ROLES}
    allowed = {role for role in ROLES if User.objects.get(email__startswith=role.lower()).has_perm("llm.approve_price")}
    assert allowed == {"Operator"}
    assert offices["Support"].list(PriceProposal).status_code == 403
