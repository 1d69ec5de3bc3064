"""Who is calling: every way a token can be wrong ends in the same 401."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from tests.api.asking import Api, error_of, make_conversation, messages_of
from tests.people import Person, fund
from tests.providers.standins import StandIn
from workspaces import tokens
from workspaces.models import AccessToken, Membership, Workspace


def call(**headers: str) -> Any:
    return Client().get("/api/v1/conversations", headers=headers)


def assert_refused(response: Any) -> None:
    error = error_of(response, 401, "not_authenticated")
    assert error["details"] == {}
    assert response.headers["WWW-Authenticate"] == 'Bearer realm="api"'


def test_a_bearer_token_is_accepted(alice: Person) -> None:
    assert call(Authorization=f"Bearer {alice.token}").status_code == 200


def test_the_scheme_is_read_in_any_case(alice: Person) -> None:
    assert call(Authorization=f"bearer {alice.token}").status_code == 200


def test_x_api_key_is_accepted(alice: Person) -> None:
    assert call(**{"x-api-key": alice.token}).status_code == 200


def test_no_token(db: None) -> None:
    assert_refused(call())


@pytest.mark.parametrize(
    "header",
    ["", "Bearer", "Bearer ", "Bearer nonsense", "Basic YWxpY2U6cGFzcw==", "Token x", "Bearer sk-syn-", "Bearer é\x01"],
)
def test_a_malformed_token(db: None, header: str) -> None:
    assert_refused(call(Authorization=header))


def test_a_token_with_a_typing_error_is_refused_without_asking_the_database(
    alice: Person, django_assert_num_queries: Any
) -> None:
    wrong = alice.token[:-1] + ("0" if alice.token[-1] != "0" else "1")
    with django_assert_num_queries(0):
        assert_refused(call(Authorization=f"Bearer {wrong}"))


def test_a_well_formed_token_that_nobody_issued(db: None) -> None:
    assert_refused(call(Authorization=f"Bearer {tokens.new_token().raw}"))


def test_a_revoked_token(alice: Person) -> None:
    AccessToken.objects.filter(user=alice.user).update(revoked_at=timezone.now())
    assert_refused(alice.get("conversations"))


def test_a_token_expires(alice: Person) -> None:
    AccessToken.objects.filter(user=alice.user).update(expires_at=timezone.now() + timedelta(hours=1))
    assert alice.get("conversations").status_code == 200
    AccessToken.objects.filter(user=alice.user).update(expires_at=timezone.now())
    assert_refused(alice.get("conversations"))


def test_an_inactive_user(alice: Person) -> None:
    alice.user.is_active = False
    alice.user.save()
    assert_refused(alice.get("conversations"))


def test_a_removed_member(bob: Person) -> None:
    bob.membership.delete()
    assert_refused(bob.get("conversations"))


def test_a_new_role_applies_at_once(bob: Person) -> None:
    assert bob.post("conversations", {}).status_code == 201
    Membership.objects.filter(pk=bob.membership.pk).update(role=Membership.Role.VIEWER)
    error_of(bob.post("conversations", {}), 403, "permission_denied")


@pytest.mark.parametrize("name", ["key", "token", "access_token", "api_key", "x-api-key", "authorization"])
def test_a_token_in_the_address_is_not_read(alice: Person, name: str) -> None:
    assert_refused(Client().get("/api/v1/conversations", {name: alice.token}))


def test_only_the_digest_is_stored(alice: Person) -> None:
    stored = AccessToken.objects.get(user=alice.user)
    assert stored.digest == hashlib.sha256(alice.token.encode()).hexdigest()
    assert stored.prefix == alice.token.split("-")[2]
    row = AccessToken.objects.filter(pk=stored.pk).values_list().get()
    assert not any(alice.token in str(value) or alice.token.split("-")[3] in str(value) for value in row)


def test_no_endpoint_shows_a_token(alice: Person) -> None:
    for path in ("workspaces", f"workspaces/{alice.workspace.pk}/members", "conversations", "wallet"):
        assert "sk-syn-" not in alice.get(path).content.decode()


def test_the_last_use_is_noted_once_a_minute(alice: Person, django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(4):  # token, membership, last use, conversations
        alice.get("conversations")
    with django_assert_num_queries(3):
        alice.get("conversations")
    used = timezone.now() - timedelta(seconds=61)
    AccessToken.objects.filter(user=alice.user).update(last_used_at=used)
    with django_assert_num_queries(4):
        alice.get("conversations")
    assert AccessToken.objects.get(user=alice.user).last_used_at > used


def test_a_suspended_workspace_can_be_read_but_not_called(
    api: Api, alice: Person, llm: Any, house_keys: StandIn, audited: None
) -> None:
    fund(alice.workspace, "1")
    chat = make_conversation(alice)
    Workspace.objects.filter(pk=alice.workspace.pk).update(status=Workspace.Status.SUSPENDED)
    for path in ("conversations", f"conversations/{chat.pk}", messages_of(chat), "agents", "wallet", "billing-events"):
        assert api.get(alice, path).status_code == 200
    error_of(api.ask(alice, chat, llm=str(llm)), 403, "workspace_suspended")
    assert house_keys.requests == []


@pytest.mark.parametrize("path", ["messages", "messages/{id}", "messages/{id}/feedback"])
def test_asynchronous_endpoints_refuse_in_the_same_shape(transactional_db: None, path: str) -> None:
    some_id = "01890000-0000-7000-8000-000000000000"
    assert_refused(Client().get(f"/api/v1/conversations/{some_id}/{path.format(id=some_id)}"))
