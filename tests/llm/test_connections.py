"""The keys of private hosts: encrypted into their rows, and sent to their own host alone."""

from __future__ import annotations

import asyncio
import io
import logging
from typing import Any

import pytest
from django.core.management import call_command

from llm import connections
from llm.errors import ProviderHostForbidden, ProviderNotConfigured
from llm.models import ProviderConnection
from llm.providers import adapter_for
from llm.providers.pool import POOL
from llm.types import Credentials
from tests.hosting import HOST_KEY, make_connection
from tests.people import Person
from tests.providers.calling import request
from tests.providers.standins import StandIn
from workspaces import variables

pytestmark = pytest.mark.django_db


def call(who: Credentials) -> None:
    async def run() -> None:
        try:
            await adapter_for(who.provider).complete(request(), who)
        finally:
            await POOL.aclose()

    asyncio.run(run())


def test_a_key_is_stored_encrypted_and_read_for_a_call(provider: StandIn) -> None:
    connection = make_connection(provider)
    stored = ProviderConnection.objects.get()
    assert HOST_KEY.encode() not in bytes(stored.ciphertext)
    assert (stored.key_id, stored.hint) == ("test", "host")
    who = connections.credentials(stored)
    assert who == Credentials(
        provider="private", api_key=HOST_KEY, base_url=provider.openai_url, source="global", guard="private"
    )
    assert HOST_KEY not in repr(who)
    connections.drop_key(connection)
    connection.save()
    assert connections.credentials(ProviderConnection.objects.get()).api_key == "none"


def test_the_hint_of_a_short_key_tells_nothing(provider: StandIn) -> None:
    assert make_connection(provider, key="sk-short").hint == ""


def test_a_ciphertext_copied_into_another_row_is_of_no_use(provider: StandIn, caplog: pytest.LogCaptureFixture) -> None:
    ours = make_connection(provider)
    theirs = make_connection(provider, "theirs", key="", base_url="https://attacker.example/v1")
    theirs.ciphertext, theirs.key_id = ours.ciphertext, ours.key_id
    theirs.save()
    with caplog.at_level(logging.DEBUG), pytest.raises(ProviderNotConfigured, match="key of theirs can't be read"):
        connections.credentials(theirs)
    assert f"the key of connection {theirs.pk} can't be read" in caplog.text
    assert HOST_KEY not in caplog.text


def test_an_older_master_key_still_reads_and_a_lost_one_does_not(provider: StandIn, settings: Any) -> None:
    connection = make_connection(provider)
    old = settings.MASTER_KEYS
    settings.MASTER_KEYS = ["new:another-master-key-that-is-long-enough-for-it", *old]
    assert connections.credentials(connection).api_key == HOST_KEY
    settings.MASTER_KEYS = settings.MASTER_KEYS[:1]
    with pytest.raises(ProviderNotConfigured):
        connections.credentials(connection)


def test_where_a_connection_may_lead(provider: StandIn) -> None:
    public = make_connection(provider, base_url="https://models.example/v1", allows_private_addresses=False)
    assert connections.credentials(public).guard == "public"
    public.is_active = False
    with pytest.raises(ProviderNotConfigured, match="lab is switched off"):
        connections.credentials(public)


@pytest.mark.parametrize(
    ("url", "allows_private"),
    [
        ("http://models.example/v1", False),
        ("https://127.0.0.1/v1", False),
        ("https://user:pw@models.example/v1", True),
        ("http://169.254.169.254/v1", True),
    ],
)
def test_a_base_url_that_came_around_the_form_is_not_called(provider: StandIn, url: str, allows_private: bool) -> None:
    connection = make_connection(provider)
    ProviderConnection.objects.update(base_url=url, allows_private_addresses=allows_private)
    connection.refresh_from_db()
    with pytest.raises(ProviderHostForbidden, match="The host lab can't be called") as refusal:
        connections.credentials(connection)
    assert HOST_KEY not in str(refusal.value)


def test_every_key_goes_to_its_own_host_alone(house_keys: StandIn, settings: Any) -> None:
    """The house has keys for all vendors, and the host is the same server: only the keys tell the calls apart."""
    lab, open_host = make_connection(house_keys), make_connection(house_keys, "open", key="")
    house = settings.PROVIDERS["llama"]
    call(connections.credentials(lab))
    call(connections.credentials(open_host))
    call(Credentials("llama", house["api_key"], house["base_url"]))
    assert [seen.key for seen in house_keys.requests] == [HOST_KEY, "none", house["api_key"]]
    for seen in house_keys.requests[:2]:
        assert "sk-house" not in str(seen.headers) + str(seen.body)
    assert HOST_KEY not in str(house_keys.requests[2])


def test_a_key_moves_to_the_new_master_key_with_all_the_others(alice: Person, provider: StandIn, settings: Any) -> None:
    old, new = "old:" + "o" * 32, "new:" + "n" * 32
    settings.MASTER_KEYS = [old]
    lab, _, other = make_connection(provider), make_connection(provider, "open", key=""), make_connection(provider, "b")
    variables.create(owner=alice.user, category="secret", name="A", value="one")
    settings.MASTER_KEYS = [new, old]
    out = io.StringIO()
    call_command("rotate_keys", stdout=out)
    assert out.getvalue().splitlines() == [
        "provider_connections: 2 on an older master key",
        "user_variables: 1 on an older master key",
        "webhook_endpoints: 0 on an older master key",
        "rotate_keys: 3 found, 3 re-encrypted, 0 changed meanwhile, 0 unreadable",
    ]
    settings.MASTER_KEYS = [new]
    rows = {row.slug: row for row in ProviderConnection.objects.all()}
    assert {slug: row.key_id for slug, row in rows.items()} == {"lab": "new", "open": "", "b": "new"}
    assert [connections.credentials(rows[slug]).api_key for slug in ("lab", "open", "b")] == [
        HOST_KEY,
        "none",
        HOST_KEY,
    ]
    assert rows["lab"].hint == lab.hint
    # Still bound to its own row.
    ProviderConnection.objects.filter(pk=other.pk).update(ciphertext=rows["lab"].ciphertext)
    with pytest.raises(ProviderNotConfigured):
        connections.credentials(ProviderConnection.objects.get(pk=other.pk))
