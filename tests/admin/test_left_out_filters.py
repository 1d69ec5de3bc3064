"""A list whose address asks for what it can't filter by shows all rows, and says so."""

from __future__ import annotations

import html
from typing import Any

import pytest
from auditlog.models import LogEntry
from django.conf import settings
from django.db.models import Model

from billing.models import BillingEvent
from conversations.models import UsageLog
from tests.admin.rows import Office, make_workplace, our_models
from tests.people import Cast, fund
from workspaces.models import Workspace

pytestmark = pytest.mark.django_db
SAID = (
    "The address asked for something that this list can't filter by: the filters were left out, and all rows are shown."
)


def said_on(page: Any) -> bool:
    assert page.status_code == 200, page
    return SAID in html.unescape(page.text)


@pytest.mark.parametrize(
    "query", [{"workspace__id__exact": "x"}, {"id__exact": "x"}, {"nonsense": "1", "event_type__exact": "credit"}]
)
def test_an_odd_filter_is_said_once(office: Office, query: dict[str, str]) -> None:
    owner = make_workplace(1)
    page = office.client.get(office.url(BillingEvent, "changelist"), query, follow=True)
    assert said_on(page)
    assert page.context["cl"].result_count == BillingEvent.objects.filter(workspace=owner.workspace).count() > 1
    assert not said_on(office.list(BillingEvent))


@pytest.mark.parametrize("model", our_models(), ids=lambda model: model._meta.label)
def test_every_list_says_it(office: Office, model: type[Model]) -> None:
    assert said_on(office.client.get(office.url(model, "changelist"), {"nonsense": "1"}, follow=True))


def test_it_is_said_in_the_language_of_whoever_reads(office: Office) -> None:
    office.client.cookies[settings.LANGUAGE_COOKIE_NAME] = "pt-br"
    assert "os filtros foram deixados de lado" in office.list(Workspace, e="1").text


def test_nothing_is_said_of_filters_that_are_used(office: Office) -> None:
    make_workplace(1)
    page = office.list(BillingEvent, event_type__exact="credit", e="1")
    assert not said_on(page)
    assert {row.event_type for row in page.context["cl"].result_list} == {"credit"}


def test_the_button_downloads_what_is_shown(office: Office, cast: Cast) -> None:
    def button(**query: str) -> str:
        (one,) = office.list(BillingEvent, **query).context["actions_list"]
        return str(one["path"])

    assert button(e="1") == office.url(BillingEvent, "export")
    assert button(e="1", event_type__exact="credit").endswith("/export/?event_type__exact=credit")


def test_no_file_is_made_of_filters_that_were_left_out(office: Office, cast: Cast) -> None:
    fund(cast.alice.workspace, "1")
    for query in ({"e": "1"}, {"e": "1", "event_type__exact": "credit"}):
        response = office.client.get(office.url(BillingEvent, "export"), query, follow=True)
        assert response.redirect_chain[0][1] == 302
        assert response.context["cl"].opts.model is BillingEvent
    assert said_on(office.client.get(office.url(UsageLog, "export"), {"e": "1"}, follow=True))
    assert not LogEntry.objects.filter(action=LogEntry.Action.ACCESS).exists()
