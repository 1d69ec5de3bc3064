"""Operators try a key: a real call on exactly that key, metered as its owner's, told in our words, without the key."""

from __future__ import annotations

import logging
import re
from datetime import timedelta
from typing import Any

import pytest
from auditlog.models import LogEntry
from django.db import connection
from django.test import Client
from django.utils import timezone

from conversations.models import UsageLog
from llm import own_keys
from llm.models import LLM
from synapscale.common.models import new_id
from tests.admin.conftest import full_log
from tests.admin.rows import Office
from tests.audited import entries, notes
from tests.people import Cast
from tests.providers.standins import StandIn, refusal
from workspaces.models import Membership, User, UserVariable, Workspace

__all__ = ["full_log"]
pytestmark = pytest.mark.django_db(transaction=True)
CANARY = "sk-canary-0123456789-never-seen-wxyz"


@pytest.fixture
def office(transactional_db: None) -> Office:
    client = Client()
    client.force_login(User.objects.create_superuser("root@example.org"))
    return Office(client)


@pytest.fixture
def keys(house_keys: StandIn, audited: None, llm: LLM) -> StandIn:
    return house_keys


def key_of(owner: User | Workspace, **fields: Any) -> UserVariable:
    return own_keys.set_key(owner=owner, provider="openai", key=CANARY, **fields)[0]


def url(key: UserVariable) -> str:
    return f"/admin/workspaces/uservariable/{key.pk}/test/"


def tried(office: Office, key: UserVariable) -> str:
    """What the page says after the call."""
    (once,) = re.findall(r'name="once" value="(office:[^"]+)"', office.client.get(url(key)).text)
    response = office.client.post(url(key), {"typed": "1", "confirmed": "1", "once": once})
    assert response["Location"] == f"/admin/workspaces/uservariable/{key.pk}/change/"
    page = office.client.get(response["Location"])
    assert CANARY not in page.text
    (said,) = page.context["messages"]
    return str(said)


@pytest.mark.parametrize("kind", ["user", "workspace"])
def test_a_key_that_works(office: Office, cast: Cast, keys: StandIn, kind: str) -> None:
    key = key_of(getattr(cast.alice, kind))
    shown = office.client.get(url(key))
    assert "as a call of alice@example.org in Acme" in shown.text
    assert keys.requests == []

    assert "The key works: openai/openai-test answered in " in tried(office, key)

    (sent,) = keys.requests
    assert sent.key == CANARY
    log = UsageLog.objects.get(workspace=cast.alice.workspace)
    assert (log.user, log.key_source, log.charged_usd) == (cast.alice.user, kind, 0)
    begun, entry = entries(key)[-2:]
    assert begun.actor.email == entry.actor.email == "root@example.org"
    assert begun.cid == entry.cid
    assert begun.additional_data == {"what": "Test begun.", "workspace": str(cast.alice.workspace.pk)}
    assert entry.additional_data == {
        "what": "Tested.", "result": "works", "model": "openai/openai-test", "workspace": str(cast.alice.workspace.pk),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("status", "said", "code"),
    [
        (401, "OpenAI refuses the key.", "provider_authentication_failed"),
        (403, "OpenAI takes the key, but lets it not use openai/openai-test.", "provider_permission_denied"),
        (404, "OpenAI takes the key, but knows no openai/openai-test.", "provider_model_not_found"),
        (429, "OpenAI limits the rate of calls at the moment: try again later.", "provider_rate_limited"),
        (503, "OpenAI can't be reached at the moment.", "provider_unavailable"),
    ],
)
def test_a_key_that_does_not_is_told_in_our_words(
    office: Office, cast: Cast, keys: StandIn, caplog: Any, status: int, said: str, code: str
) -> None:
    caplog.set_level(logging.DEBUG)
    key = key_of(cast.alice.user)
    keys.always(refusal(status, message="No good: {key}"))

    assert tried(office, key).endswith(f": {said}")

    assert entries(key)[-1].additional_data["result"] == code
    everything = str(list(LogEntry.objects.values())) + caplog.text
    everything += office.client.get(office.url(UserVariable, "history", key.pk)).text
    everything += office.list(UserVariable).text + office.client.get("/admin/auditlog/logentry/").text
    assert CANARY not in everything
    assert "No good" not in str(list(LogEntry.objects.values()))


def test_a_provider_that_is_not_there(office: Office, cast: Cast, keys: StandIn, settings: Any) -> None:
    settings.PROVIDERS = {"openai": {"api_key": "", "base_url": "http://127.0.0.1:9/v1"}}
    assert tried(office, key_of(cast.alice.user)).endswith("OpenAI can't be reached at the moment.")


def test_a_key_that_can_not_be_called_on(office: Office, cast: Cast, keys: StandIn) -> None:
    key = key_of(cast.alice.user, is_active=False)
    assert tried(office, key).endswith("The key is switched off: nothing was called.")
    UserVariable.objects.update(is_active=True, expires_at=timezone.now() - timedelta(days=1))
    assert tried(office, key).endswith("The key has expired: nothing was called.")
    UserVariable.objects.update(expires_at=None, ciphertext=b"x" * 40)
    assert tried(office, key).endswith("The key can't be read any more: it has to be typed again.")
    Workspace.objects.update(status="suspended")
    assert "Nobody could make the call" in tried(office, key)
    Workspace.objects.update(status="active")
    Membership.objects.filter(user=cast.alice.user).update(role="viewer")
    assert "Nobody could make the call" in tried(office, key)
    assert keys.requests == []


def test_what_is_no_provider_key_is_not_tried(office: Office, cast: Cast, keys: StandIn) -> None:
    secret = UserVariable(user=cast.alice.user, category="secret", name="openai")
    secret.set_value(CANARY)
    secret.save()
    assert "/test/" not in office.open(secret).text
    assert office.client.post(url(secret), {"typed": "1", "confirmed": "1"}).status_code == 404


def test_a_double_click_makes_one_call(office: Office, cast: Cast, keys: StandIn) -> None:
    key = key_of(cast.alice.user)
    form = {"typed": "1", "confirmed": "1", "once": f"office:{new_id()}"}
    first, second = (office.client.post(url(key), form) for _ in range(2))
    assert (first.status_code, second.status_code) == (302, 302)
    said = [str(message) for message in office.client.get(second["Location"]).context["messages"]]
    assert [words.partition(": ")[2][:13] for words in said] == ["The key works", "it was done a"]
    assert len(keys.requests) == 1
    assert notes(key) == ["Test begun.", "Tested."] * 2
    assert [entry.additional_data.get("result") for entry in entries(key)] == [
        None, "works", None, "key_tested_already",
    ]  # fmt: skip
    office.client.post(url(key), {"typed": "1", "confirmed": "1", "once": "x"})
    assert len(keys.requests) == 1


def test_the_call_is_made_in_no_transaction(office: Office, cast: Cast, keys: StandIn, monkeypatch: Any) -> None:
    """A crash while it is made leaves the entry of its beginning."""
    from office import key_checks

    key, seen = key_of(cast.alice.user), list[Any]()

    class Crash(BaseException):
        pass

    async def crash(admitted: Any) -> Any:
        raise Crash

    def watched(*args: Any) -> Any:
        seen.extend((connection.in_atomic_block, notes(key)))
        return original(*args)

    original = key_checks.try_key
    monkeypatch.setattr(key_checks, "try_key", watched)
    tried(office, key)
    assert seen == [False, ["Test begun."]]
    monkeypatch.setattr(key_checks, "_answer", crash)
    with pytest.raises(Crash):
        tried(office, key)
    assert notes(key) == ["Test begun.", "Tested.", "Test begun."]


def test_a_call_that_can_not_be_noted_is_not_made(
    office: Office, cast: Cast, keys: StandIn, request: pytest.FixtureRequest
) -> None:
    key = key_of(cast.alice.user)
    office.client.raise_request_exception = False
    request.getfixturevalue("full_log")
    form = {"typed": "1", "confirmed": "1", "once": f"office:{new_id()}"}
    assert office.client.post(url(key), form).status_code == 500
    assert keys.requests == []
