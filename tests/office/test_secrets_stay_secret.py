"""A key or token that went in is on no page, in no history, audit entry, error or log, whatever operators do with it."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from auditlog.models import LogEntry
from django.test import Client

from analytics.models import WebhookEndpoint
from conversations.models import IdempotencyKey, MessageImage
from llm import connections
from llm.models import ProviderConnection
from synapscale.common.tenancy import fleet_wide
from tests.admin.rows import Office, again, newest
from tests.people import Cast
from workspaces.models import AccessToken, User, UserVariable

pytestmark = pytest.mark.django_db
CANARY = "sk-canary-0123456789-never-seen-again"
OTHER = "sk-other-9876543210-nor-this-one-ever"
CONFIRMED = {"typed": "1", "confirmed": "1", "reason": "It leaked"}


@pytest.fixture
def office(db: None) -> Office:
    client = Client()
    client.force_login(User.objects.create_superuser("root@example.org"))
    return Office(client)


class Seen:
    """Everything that anybody could have read."""

    def __init__(self, office: Office, caplog: Any) -> None:
        self.office, self.caplog = office, caplog
        self.texts: list[str] = []

    def note(self, response: Any) -> Any:
        assert response.status_code < 500
        self.texts.append(response.text)
        return response

    def look_around(self, row: Any) -> None:
        office, model = self.office, type(row)
        for page in (
            office.list(model),
            office.open(row),
            office.client.get(office.url(model, "history", row.pk)),
            office.client.get("/admin/auditlog/logentry/"),
            office.client.get("/admin/"),
        ):
            assert page.status_code == 200
            self.note(page)
        for entry in LogEntry.objects.all():
            self.note(office.open(entry))

    def must_not_have(self, *secrets: str) -> None:
        everything = "".join(self.texts) + str(list(LogEntry.objects.values())) + self.caplog.text
        for secret in secrets:
            for part in (secret, secret[:16], secret[-16:]):
                assert part not in everything


@pytest.fixture
def seen(office: Office, caplog: Any) -> Seen:
    caplog.set_level(logging.DEBUG)
    return Seen(office, caplog)


def test_of_a_provider_key(office: Office, cast: Cast, seen: Seen) -> None:
    typed = {"workspace": cast.alice.workspace.pk, "category": "api_key", "name": "openai", "value": CANARY}
    seen.note(office.add(UserVariable, **{**typed, "name": "nobody"}))  # a form with an error
    assert office.add(UserVariable, **typed, is_active="on").status_code == 302
    key = UserVariable.objects.get()
    seen.note(office.save(key, value=OTHER, expires_at_0="2020-01-01", expires_at_1="00:00:00"))
    assert office.save(key, value=OTHER).status_code == 302
    for action in ("switch-off", "switch-on", "switch-off"):
        url = f"/admin/workspaces/uservariable/{key.pk}/{action}/"
        seen.note(office.client.get(url))
        seen.note(office.client.post(url, {"typed": "1", "reason": "x"}))
        seen.note(office.client.post(url, CONFIRMED))
    seen.look_around(key)
    ciphertext = bytes(again(key).ciphertext)
    seen.note(office.client.post(office.url(UserVariable, "delete", key.pk), {"post": "yes"}))
    assert again_or_none(key) is None
    seen.note(office.client.get("/admin/auditlog/logentry/"))
    seen.must_not_have(CANARY, OTHER, ciphertext.hex(), str(ciphertext))


def again_or_none(row: Any) -> Any:
    return type(row)._default_manager.filter(pk=row.pk).first()


def test_of_a_private_hosts_key(office: Office, seen: Seen) -> None:
    typed = {"slug": "lab", "name": "Lab", "base_url": "https://models.example/v1", "is_active": "on"}
    seen.note(office.add(ProviderConnection, **{**typed, "slug": "llama"}, key=CANARY))
    assert office.add(ProviderConnection, **typed, key=CANARY).status_code == 302
    connection = newest(ProviderConnection)
    seen.note(office.save(connection, base_url="https://other.example/v1"))  # asks for the key again
    assert office.save(connection, base_url="https://other.example/v1", key=OTHER).status_code == 302
    assert connections.credentials(again(connection)).api_key == OTHER
    seen.note(office.client.get(f"/admin/llm/providerconnection/{connection.pk}/test/"))
    seen.look_around(connection)
    ciphertext = bytes(again(connection).ciphertext)
    seen.must_not_have(CANARY, OTHER, ciphertext.hex(), str(ciphertext))


def test_of_an_access_token(office: Office, cast: Cast, seen: Seen) -> None:
    with fleet_wide():
        token = AccessToken.objects.get(user=cast.bob.user)
    for action in ("expiry", "revoke"):
        url = f"/admin/workspaces/accesstoken/{token.pk}/{action}/"
        seen.note(office.client.get(url))
        seen.note(office.client.post(url, {"typed": "1", "reason": "x"}))
        seen.note(office.client.post(url, CONFIRMED))
    assert again(token).revoked_at is not None
    seen.look_around(token)
    seen.must_not_have(cast.bob.token.partition(token.prefix)[2], token.digest)


@pytest.mark.parametrize(
    ("model", "lookup"),
    [
        (AccessToken, "digest__startswith"),
        (UserVariable, "ciphertext__startswith"),
        (UserVariable, "key_id"),
        (ProviderConnection, "ciphertext__isnull"),
        (WebhookEndpoint, "ciphertext__startswith"),
        (User, "password__startswith"),
        (MessageImage, "data__startswith"),
        (IdempotencyKey, "request_hash__startswith"),
    ],
)
def test_no_list_is_filtered_by_one(office: Office, model: Any, lookup: str) -> None:
    """The rows that are found would tell it, letter by letter."""
    assert office.list(model, **{lookup: "1"}).status_code == 400
