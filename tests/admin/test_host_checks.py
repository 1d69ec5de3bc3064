"""Operators test the key of a private host: its list of models is asked for, and what came of it told in our words."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Permission

from llm.models import ProviderConnection
from tests.admin.rows import Office
from tests.audited import notes
from tests.hosting import HOST_KEY, make_connection
from tests.providers.standins import StandIn, refusal
from tests.resolver import resolver
from workspaces.models import User

__all__ = ["resolver"]


@pytest.fixture
def lab(provider: StandIn, db: None) -> ProviderConnection:
    return make_connection(provider)


def tried(office: Office, connection: ProviderConnection) -> str:
    url = f"/admin/llm/providerconnection/{connection.pk}/test/"
    assert url in office.open(connection).text
    assert "for the list of models at" in office.client.get(url).text
    response = office.client.post(url, {"typed": "1", "confirmed": "1"}, follow=True)
    assert HOST_KEY not in response.text
    (said,) = response.context["messages"]
    return str(said)


def test_a_hosts_key_is_tested_by_asking_for_its_models(
    office: Office, lab: ProviderConnection, provider: StandIn
) -> None:
    assert tried(office, lab).endswith("The host answers and takes the key: it lists 2 models.")
    for status, said in (
        (401, "Lab refuses the key."),
        (404, "The host answers, but has no list of models there: nothing is known of the key."),
        (503, "Lab can't be reached at the moment."),
    ):
        provider.always(refusal(status, message="No good: {key}"))
        assert tried(office, lab).endswith(f": {said}")
    ProviderConnection.objects.update(is_active=False)
    assert tried(office, lab).endswith("The host is switched off: nothing was called.")
    assert notes(lab) == ["Test begun.", "Tested."] * 5


def test_a_call_to_a_host_that_can_not_be_noted_is_not_made(
    office: Office, lab: ProviderConnection, provider: StandIn, full_log: None
) -> None:
    office.client.raise_request_exception = False
    url = f"/admin/llm/providerconnection/{lab.pk}/test/"
    assert office.client.post(url, {"typed": "1", "confirmed": "1"}).status_code == 500
    assert provider.requests == []


def test_testing_a_hosts_key_asks_for_the_permission(
    clerks_office: Office, clerk: User, lab: ProviderConnection, provider: StandIn
) -> None:
    url = f"/admin/llm/providerconnection/{lab.pk}/test/"
    clerk.user_permissions.set(Permission.objects.filter(codename="view_providerconnection"))
    assert url not in clerks_office.open(lab).text
    assert clerks_office.client.post(url, {"typed": "1", "confirmed": "1"}).status_code == 403
    assert provider.requests == []
