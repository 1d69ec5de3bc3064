"""Whose key a call may run on, and whose it never runs on."""

from __future__ import annotations

from typing import Any

import pytest

from llm import connections
from llm.errors import PaidFallbackForbidden, ProviderNotConfigured
from llm.keys import credentials_for, providers_with_key
from llm.models import LLM, ProviderConnection
from llm.types import Credentials
from tests.catalogue import make_llm
from tests.people import Cast, Person
from workspaces.models import User, UserVariable

pytestmark = pytest.mark.django_db
NAMES = ("openai", "anthropic", "google", "grok", "deepseek", "llama")


@pytest.fixture(autouse=True)
def _house(settings: Any) -> None:
    settings.PROVIDERS = {name: {"api_key": "", "base_url": ""} for name in NAMES}
    settings.PROVIDERS["openai"]["api_key"] = "sk-house-0123456789"


def own_key(secret: str, provider: str = "openai", **owner: Any) -> None:
    row = UserVariable(category="api_key", name=provider, **owner)
    row.set_value(secret)
    row.save()


def key_of(person: Person, provider: str = "openai", *, source: str = "") -> Credentials:
    user = User.objects.get(pk=person.user.pk)
    return credentials_for(user=user, workspace=person.workspace, llm=LLM(provider=provider, name="any"), source=source)


def forbid_paid_fallback(person: Person) -> None:
    User.objects.filter(pk=person.user.pk).update(allows_paid_fallback=False)


def test_who_lets_no_call_fall_back_to_paid_credit_calls_on_an_own_key_or_not_at_all(cast: Cast) -> None:
    forbid_paid_fallback(cast.alice)
    with pytest.raises(PaidFallbackForbidden) as refusal:
        key_of(cast.alice)
    assert (refusal.value.code, refusal.value.http_status) == ("paid_fallback_forbidden", 403)
    assert str(refusal.value) == ("There is no own key for openai, and you let no call fall back to paid credit.")
    own_key("sk-workspace-0123456789", workspace=cast.alice.workspace)
    assert key_of(cast.alice).api_key == "sk-workspace-0123456789"
    own_key("sk-alice-0123456789", user=cast.alice.user)
    assert key_of(cast.alice).api_key == "sk-alice-0123456789"
    # Nobody else forbade it.
    assert key_of(cast.bob).source == "workspace"
    assert key_of(cast.charlie).source == "global"


def test_where_there_is_no_key_of_the_house_that_is_said(alice: Person) -> None:
    forbid_paid_fallback(alice)
    with pytest.raises(ProviderNotConfigured, match="No key is configured for grok") as refusal:
        key_of(alice, "grok")
    assert refusal.value.code == "provider_not_configured"


def test_the_demo_and_private_hosts_are_paid_credit_too(alice: Person) -> None:
    forbid_paid_fallback(alice)
    with pytest.raises(PaidFallbackForbidden):
        key_of(alice, "demo")


@pytest.mark.parametrize(("source", "key"), [("user", "sk-alice-0123456789"), ("workspace", "sk-workspace-0123456789")])
def test_who_insists_on_a_key_gets_that_one(alice: Person, source: str, key: str) -> None:
    own_key("sk-workspace-0123456789", workspace=alice.workspace)
    own_key("sk-alice-0123456789", user=alice.user)
    credentials = key_of(alice, source=source)
    assert (credentials.api_key, credentials.source, credentials.hint) == (key, source, "6789")


@pytest.mark.parametrize(("source", "other"), [("user", "workspace"), ("workspace", "user")])
def test_who_insists_on_a_key_gets_no_other(alice: Person, source: str, other: str) -> None:
    own_key("sk-own-0123456789", **{other: getattr(alice, other)})
    with pytest.raises(ProviderNotConfigured, match=f"There is no key of the {source}'s own for openai"):
        key_of(alice, source=source)


def test_an_own_key_never_goes_to_an_operators_host(alice: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a user names a variable: a host that is no vendor's gets its own key, or none."""
    own_key("sk-alice-0123456789", "private", user=alice.user)
    own_key("sk-workspace-0123456789", "private", workspace=alice.workspace)
    host = ProviderConnection.objects.create(slug="gpu", name="GPU", base_url="https://gpu.test/v1")
    llm = make_llm("private", "gpu/qwen", connection=host)
    own = Credentials(provider="private", api_key="sk-gpu", base_url=host.base_url)
    monkeypatch.setattr(connections, "credentials", lambda connection: own)
    assert credentials_for(user=alice.user, workspace=alice.workspace, llm=llm) == own
    for source in ("user", "workspace"):
        with pytest.raises(ProviderNotConfigured):
            credentials_for(user=alice.user, workspace=alice.workspace, llm=llm, source=source)


def test_the_demo_is_called_on_no_key_of_anybodys(alice: Person) -> None:
    own_key("sk-alice-0123456789", "demo", user=alice.user)
    credentials = key_of(alice, "demo")
    assert (credentials.api_key, credentials.source) == ("demo", "global")


def test_the_providers_that_a_call_finds_a_key_for(cast: Cast) -> None:
    own_key("sk-alice-0123456789", "grok", user=cast.alice.user)
    own_key("sk-alice-0123456789", "demo", user=cast.alice.user)

    def providers(person: Person) -> set[str]:
        return providers_with_key(user=User.objects.get(pk=person.user.pk), workspace=person.workspace)

    assert providers(cast.alice) == {"demo", "private", "openai", "grok"}
    forbid_paid_fallback(cast.alice)
    assert providers(cast.alice) == {"grok"}
    assert providers(cast.bob) == providers(cast.charlie) == {"demo", "private", "openai"}
