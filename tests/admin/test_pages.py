"""Every page of every model opens, for those who may, and shows nothing that must not be shown."""

from __future__ import annotations

import re

import pytest
from django.apps import apps
from django.contrib import admin
from django.db.models import Model

from analytics.models import (
    AgentHour,
    Alert,
    AlertDelivery,
    AlertRule,
    FleetHour,
    FleetLatencyDay,
    HealthState,
    LatencyDay,
    Report,
    ReportMail,
    ReportRun,
    RollupState,
    UsageDay,
    UsageHour,
    UsageTail,
    UserDay,
    WebhookEndpoint,
)
from billing.models import BillingEvent, Hold, HoldIncident, TokenSpend, Wallet
from conversations.models import (
    Agent,
    Conversation,
    ConversationLLM,
    IdempotencyKey,
    Message,
    MessageFeedback,
    MessageImage,
    UsageLog,
)
from llm.models import LLM, LLMPrice, PriceProposal, ProviderConnection
from synapscale.common.models import PeriodicJob
from synapscale.common.tenancy import fleet_wide
from tagging.models import Tag, TagLink, TagRule
from tests.admin.rows import CONTENT, SECRET, Office, make_workplace, newest, our_models
from workspaces.models import AccessToken, Membership, RateBucket, SignInAttempt, User, UserVariable, Workspace

READ_ONLY = [
    Alert, AlertDelivery, BillingEvent, ConversationLLM, Hold, HoldIncident, IdempotencyKey, Message, MessageImage,
    PeriodicJob, PriceProposal, RateBucket, Report, ReportMail, ReportRun, TokenSpend, UsageLog,
]  # fmt: skip
ADDABLE = [
    Agent,
    AlertRule,
    AccessToken,
    Conversation,
    LLM,
    LLMPrice,
    Membership,
    ProviderConnection,
    Tag,
    TagRule,
    User,
    UserVariable,
    Workspace,
]
KEPT = [
    *READ_ONLY,
    AccessToken,
    Agent,
    AlertRule,
    Conversation,
    LLM,
    LLMPrice,
    MessageFeedback,
    ProviderConnection,
    Tag,
    TagLink,
    TagRule,
    User,
    Wallet,
    WebhookEndpoint,
    Workspace,
]
"""What no one can delete here."""

models = pytest.mark.parametrize("model", our_models(), ids=lambda model: model._meta.label)
read_only = pytest.mark.parametrize("model", READ_ONLY, ids=lambda model: model.__name__)


def content(page: str) -> str:
    """What a page shows between its heading and the search that every page ends with."""
    return page.partition('id="content"')[2].partition('id="modal-overlay"')[0]


SUMS = {
    *(UsageTail, UsageHour, UsageDay, UserDay, AgentHour, LatencyDay, FleetHour, FleetLatencyDay),
    *(RollupState, HealthState),
}
"""Made of other rows: operators look at figures, not at what these are kept in."""


def test_every_model_of_the_project_is_registered() -> None:
    ours = ("common", "workspaces", "llm", "billing", "tagging", "conversations", "analytics")
    missing = {m for label in ours for m in apps.get_app_config(label).get_models()} - set(admin.site._registry)
    assert missing == SUMS | {SignInAttempt}  # counted for a quarter of an hour; what became of it is in the audit log


@models
def test_a_superuser_opens_the_list_the_row_its_history_and_the_add_form(office: Office, model: type[Model]) -> None:
    make_workplace(1)
    row = newest(model)

    assert office.list(model).status_code == 200
    page = office.open(row)
    assert page.status_code == 200, page
    assert office.client.get(office.url(model, "history", row.pk)).status_code == 200
    is_addable = model in ADDABLE or model._meta.app_label == "auth"
    assert office.client.get(office.url(model, "add")).status_code == (200 if is_addable else 403)


def test_the_front_page_names_the_house(office: Office) -> None:
    assert "SynapScale" in office.client.get("/admin/").text


@models
def test_staff_without_permissions_see_nothing(clerks_office: Office, model: type[Model]) -> None:
    make_workplace(1)
    row = newest(model)

    assert clerks_office.list(model).status_code == 403
    assert clerks_office.open(row).status_code == 403
    assert clerks_office.client.post(clerks_office.url(model, "add")).status_code == 403
    assert clerks_office.client.post(clerks_office.url(model, "delete", row.pk), {"post": "yes"}).status_code == 403


@read_only
def test_what_the_message_road_and_the_ledger_wrote_is_not_edited(office: Office, model: type[Model]) -> None:
    make_workplace(1)
    row = newest(model)

    assert office.client.post(office.url(model, "change", row.pk), {}).status_code == 403
    assert office.client.post(office.url(model, "add"), {}).status_code == 403
    page = office.open(row).text
    assert 'name="_save"' not in page
    assert not re.search(r"<(input|select|textarea)[^>]*\bname=\"(?!csrf)", content(page))


@pytest.mark.parametrize("model", KEPT, ids=lambda model: model.__name__)
def test_what_others_refer_to_is_not_deleted(office: Office, model: type[Model]) -> None:
    make_workplace(1)
    row = newest(model)

    assert office.client.post(office.url(model, "delete", row.pk), {"post": "yes"}).status_code == 403
    office.act(model, "delete_selected", row)
    assert newest(model) == row


def test_no_page_shows_a_secret(office: Office, root: User) -> None:
    owner = make_workplace(1)
    root.set_password("correct horse battery")
    root.save()
    office.client.force_login(root)
    with fleet_wide():
        tokens, variables = list(AccessToken.objects.all()), list(UserVariable.objects.all())
    secrets = {SECRET, SECRET[:20], owner.token, root.password, root.password.split("$")[-1]}
    for token in tokens:
        secrets |= {token.digest, token.digest[:16]}
    for variable in variables:
        secrets |= {bytes(variable.ciphertext).hex(), str(bytes(variable.ciphertext))}

    for model in our_models():
        with fleet_wide():
            rows = list(model._default_manager.all())
        pages = [office.list(model), *(office.open(row) for row in rows)]
        for page in pages:
            assert page.status_code == 200
            assert not [secret for secret in secrets if secret in page.text], (model, page.request["PATH_INFO"])


def test_lists_do_not_show_what_people_wrote(office: Office) -> None:
    make_workplace(1)

    for model in our_models():
        assert "nobody may read in a list" not in office.list(model).text
    answer = newest(Message)
    assert CONTENT in office.open(answer).text


def test_money_is_written_as_the_api_writes_it(office: Office) -> None:
    make_workplace(1)

    for model in our_models():
        for page in (office.list(model), office.open(newest(model))):
            # A time in JSON or an address is no money: its millionths of a second end in 0 now and then.
            text = re.sub(r"T\d\d(:|%3A)\d\d(:|%3A)\d\d\.\d{6}", "", content(page.text))
            assert not re.search(r"\d\.\d{5}0+\b|\b0E-\d+", text), model


def test_a_row_leads_to_the_rows_that_point_at_it(office: Office) -> None:
    owner = make_workplace(1)
    other = make_workplace(2)
    conversation = Conversation.objects.get(workspace=owner.workspace)

    page = office.open(conversation)
    links = dict(re.findall(r'<a href="([^"]*\?workspace__id__exact[^"]*)">([^<]*)</a>', page.text))
    assert "Messages" in links.values()
    for url, _ in links.items():
        rows = office.client.get(url.replace("&amp;", "&")).context["cl"].result_list
        assert rows
        assert {row.workspace_id for row in rows} == {owner.workspace.pk}
    assert office.open(other.workspace).status_code == 200
