"""Variables of users and workspaces: one owner, one of a name, sealed to their row; and whose key a call runs on."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from llm.errors import PaidFallbackForbidden, ProviderNotConfigured
from llm.keys import credentials_for, own_sources, providers_with_key, source_for
from llm.models import LLM
from synapscale.common.errors import Conflict
from tests.people import Person
from tests.together import at_once
from workspaces import variables
from workspaces.crypto import CannotDecrypt
from workspaces.models import UserVariable

pytestmark = pytest.mark.django_db
NAMES = ("openai", "anthropic", "google", "grok", "deepseek", "llama")


@pytest.fixture(autouse=True)
def _house(settings: Any) -> None:
    settings.PROVIDERS = {name: {"api_key": "", "base_url": f"https://{name}.test"} for name in NAMES}
    settings.PROVIDERS["openai"]["api_key"] = "sk-house"


def variable(secret: str = "sk-own-0123456789", **fields: Any) -> UserVariable:
    row = UserVariable(**{"category": "api_key", "name": "openai", **fields})
    row.set_value(secret)
    row.save()
    return row


# --- Rows -------------------------------------------------------------------------------------------------------------


def test_a_secret_is_sealed_in_the_database_and_opens_for_its_row(alice: Person) -> None:
    row = UserVariable.objects.get(pk=variable(user=alice.user).pk)
    assert b"sk-own" not in bytes(row.ciphertext)
    assert (row.key_id, row.hint, row.get_value()) == ("test", "6789", "sk-own-0123456789")
    assert "sk-own" not in str(row)


@pytest.mark.parametrize(("secret", "hint"), [("x" * 11, ""), ("x" * 8 + "abcd", "abcd"), ("", "")])
def test_a_short_secret_gives_no_hint(alice: Person, secret: str, hint: str) -> None:
    row = variable(secret, user=alice.user)
    assert (row.hint, row.get_value()) == (hint, secret)


def test_a_secret_copied_into_another_row_does_not_open(alice: Person, bob: Person) -> None:
    stolen, own = variable(user=alice.user), variable("sk-bob-0123456789", user=bob.user)
    UserVariable.objects.filter(pk=own.pk).update(ciphertext=stolen.ciphertext, key_id=stolen.key_id)
    own.refresh_from_db()
    with pytest.raises(CannotDecrypt):
        own.get_value()


@pytest.mark.parametrize("field", ["user", "category", "name"])
def test_a_row_given_to_somebody_else_or_renamed_does_not_open(alice: Person, bob: Person, field: str) -> None:
    row = variable(user=alice.user)
    UserVariable.objects.filter(pk=row.pk).update(
        **{"user": {"user": bob.user}, "category": {"category": "general"}, "name": {"name": "grok"}}[field]
    )
    row.refresh_from_db()
    with pytest.raises(CannotDecrypt):
        row.get_value()


def test_a_variable_has_one_owner(alice: Person) -> None:
    for owners in ({}, {"user": alice.user, "workspace": alice.workspace}):
        with pytest.raises(IntegrityError), transaction.atomic():
            variable(**owners)


@pytest.mark.parametrize("kind", ["user", "workspace"])
def test_an_owner_has_one_variable_of_a_name_and_category(alice: Person, charlie: Person, kind: str) -> None:
    variable(**{kind: getattr(alice, kind)})
    with pytest.raises(IntegrityError), transaction.atomic():
        variable(**{kind: getattr(alice, kind)})
    variable(**{kind: getattr(alice, kind)}, category="general")
    variable(**{kind: getattr(alice, kind)}, name="grok")
    variable(**{kind: getattr(charlie, kind)})
    assert UserVariable.objects.count() == 4


# --- Setting one ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["user", "workspace"])
def test_a_secret_is_set_and_replaced_whole(alice: Person, charlie: Person, kind: str) -> None:
    owner, ends = getattr(alice, kind), timezone.now() + timedelta(days=1)
    secret = {"owner": owner, "category": "api_key", "name": "openai"}
    first, is_new = variables.set_secret(**secret, value="sk-one-0123456789", expires_at=ends, is_active=False)
    assert (is_new, first.get_value(), first.is_active, first.expires_at) == (True, "sk-one-0123456789", False, ends)
    again, is_new = variables.set_secret(**secret, value="sk-two-9876543210")
    stored = UserVariable.objects.get(pk=first.pk)
    assert (is_new, again.pk) == (False, first.pk)
    assert (stored.get_value(), stored.hint, stored.is_active, stored.expires_at) == (
        "sk-two-9876543210",
        "3210",
        True,
        None,
    )
    assert stored.updated_at > first.updated_at
    variables.set_secret(**{**secret, "owner": getattr(charlie, kind)}, value="sk-charlies")
    assert list(variables.variables_of(owner)) == [stored]


def test_creating_what_is_there_is_a_conflict_and_leaves_it_alone(alice: Person) -> None:
    one = {"owner": alice.user, "category": "general", "name": "A"}
    variables.create(**one, value="first")
    with pytest.raises(Conflict) as refused:
        variables.create(**one, value="second")
    assert refused.value.code == "variable_exists"
    assert [row.get_value() for row in variables.variables_of(alice.user)] == ["first"]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("kind", ["user", "workspace"])
def test_of_many_who_set_it_at_once_one_creates_it_and_it_is_whole(alice: Person, kind: str) -> None:
    def set_it(number: int) -> bool:
        secret = {"owner": getattr(alice, kind), "category": "api_key", "name": "openai"}
        return variables.set_secret(**secret, value=f"sk-{number}-0123456789-{number:04}")[1]

    assert sorted(at_once(12, set_it)) == [False] * 11 + [True]
    row = UserVariable.objects.get()
    assert row.get_value().endswith(row.hint)


@pytest.mark.django_db(transaction=True)
def test_of_many_who_create_it_at_once_one_does(alice: Person) -> None:
    def create_it(number: int) -> str:
        try:
            variables.create(owner=alice.user, category="general", name="A", value=f"{number}")
        except Conflict as refused:
            return refused.code
        return "created"

    assert sorted(at_once(12, create_it)) == ["created"] + ["variable_exists"] * 11


# --- Whose key --------------------------------------------------------------------------------------------------------


def key_of(person: Person, provider: str = "openai") -> tuple[str, str]:
    llm, own = LLM(provider=provider, name="any"), own_sources(user=person.user, workspace=person.workspace)
    try:
        credentials = credentials_for(user=person.user, workspace=person.workspace, llm=llm)
    except ProviderNotConfigured:
        if provider not in own:  # one of their own that can't be read is found out when it is opened
            with pytest.raises(ProviderNotConfigured):
                source_for(user=person.user, llm=llm, own=own)
        raise
    assert source_for(user=person.user, llm=llm, own=own) == credentials.source
    assert credentials.base_url == f"https://{provider}.test"
    assert credentials.provider == provider
    assert credentials.api_key not in repr(credentials)
    return credentials.api_key, credentials.source


def test_the_users_before_the_workspaces_before_the_houses(alice: Person, bob: Person, charlie: Person) -> None:
    assert key_of(alice) == ("sk-house", "global")
    variable("sk-workspace", workspace=alice.workspace)
    assert key_of(alice) == ("sk-workspace", "workspace")
    variable("sk-alice", user=alice.user)
    assert key_of(alice) == ("sk-alice", "user")
    assert key_of(bob) == ("sk-workspace", "workspace")
    assert key_of(charlie) == ("sk-house", "global")


@pytest.mark.parametrize(
    "change", [{"is_active": False}, {"expires_at": timedelta(seconds=-1)}, {"category": "general"}]
)
def test_a_key_that_does_not_count_is_passed_over(alice: Person, change: dict[str, Any]) -> None:
    change = {name: timezone.now() + value if name == "expires_at" else value for name, value in change.items()}
    variable(user=alice.user, **change)
    assert key_of(alice) == ("sk-house", "global")


def test_a_key_that_expires_later_counts(alice: Person) -> None:
    variable("sk-alice", user=alice.user, expires_at=timezone.now() + timedelta(seconds=30))
    assert key_of(alice) == ("sk-alice", "user")


def test_without_any_key_it_is_refused(alice: Person) -> None:
    with pytest.raises(ProviderNotConfigured, match="No key is configured for grok"):
        key_of(alice, "grok")
    variable("sk-grok", workspace=alice.workspace, name="grok")
    assert key_of(alice, "grok") == ("sk-grok", "workspace")


def test_a_key_that_can_not_be_read_is_an_error_and_no_other_is_taken(alice: Person, settings: Any) -> None:
    """Or a call meant for one's own account would be billed to another."""
    variable(user=alice.user)
    variable("sk-workspace", workspace=alice.workspace)
    settings.MASTER_KEYS = ["other:" + "x" * 32]
    with pytest.raises(ProviderNotConfigured, match="Your openai key can't be read; set it again"):
        key_of(alice)


def test_a_torn_key_is_an_error_too(alice: Person) -> None:
    UserVariable.objects.filter(pk=variable(user=alice.user).pk).update(ciphertext=b"short")
    with pytest.raises(ProviderNotConfigured):
        key_of(alice)


def test_the_demo_needs_no_key(alice: Person) -> None:
    credentials = credentials_for(user=alice.user, workspace=alice.workspace, llm=LLM(provider="demo", name="any"))
    assert (credentials.source, credentials.base_url) == ("global", "")


def test_whose_keys_there_are_is_one_query(alice: Person, bob: Person, django_assert_num_queries: Any) -> None:
    variable(user=alice.user, name="grok")
    variable(workspace=alice.workspace, name="grok")
    variable(workspace=alice.workspace, name="llama")
    with django_assert_num_queries(1):
        assert own_sources(user=alice.user, workspace=alice.workspace) == {"grok": "user", "llama": "workspace"}
    assert own_sources(user=bob.user, workspace=bob.workspace) == {"grok": "workspace", "llama": "workspace"}


def test_who_lets_no_call_be_paid_for_runs_on_own_keys_alone(alice: Person) -> None:
    alice.user.allows_paid_fallback = False
    with pytest.raises(PaidFallbackForbidden):
        key_of(alice)
    with pytest.raises(ProviderNotConfigured) as caught:
        key_of(alice, "grok")
    assert type(caught.value) is ProviderNotConfigured  # there is nothing to fall back to
    variable("sk-alice", user=alice.user)
    assert key_of(alice) == ("sk-alice", "user")


def test_which_providers_have_a_key(alice: Person, bob: Person) -> None:
    variable(user=alice.user, name="grok")
    variable(workspace=alice.workspace, name="llama")

    def providers(person: Person) -> set[str]:
        return providers_with_key(user=person.user, workspace=person.workspace)

    assert providers(alice) == {"demo", "private", "openai", "grok", "llama"}
    assert providers(bob) == {"demo", "private", "openai", "llama"}
