"""Who is calling: every way a token can be wrong ends in the same 401."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from tests.api.asking import Api, assert_invalid, error_of, make_conversation, messages_of
from tests.people import Person, fund
from tests.providers.standins import StandIn
from workspaces import tokens, wrong_tokens
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


@pytest.mark.parametrize("name", ["x-api-key", "x-goog-api-key"])
def test_the_headers_of_other_sdks_are_accepted(alice: Person, name: str) -> None:
    assert call(**{name: alice.token}).status_code == 200
    assert_refused(call(**{name: "sk-somebody-elses"}))
    assert call(**{name: alice.token, "Authorization": "Basic YWxpY2U6cGFzcw=="}).status_code == 200


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


@pytest.mark.parametrize(
    "name", ["key", "token", "access_token", "api_key", "API_KEY", "x-api-key", "x-goog-api-key", "authorization"]
)
def test_a_token_in_the_address_is_refused_with_and_without_one_where_it_belongs(alice: Person, name: str) -> None:
    """It is in a log by now, so nobody should get used to it."""
    wrong = alice.token[:-1]
    for value in (alice.token, wrong, f"Bearer {alice.token}"):
        for headers in ({}, alice.headers):
            response = Client().get("/api/v1/conversations", {"limit": 5, name: value}, headers=headers)
            error = error_of(response, 400, "token_in_address")
            assert error["details"] == {"parameter": name.lower()}
            assert wrong not in response.content.decode()


def test_what_only_looks_like_a_token_in_the_address_is_left_alone(alice: Person) -> None:
    assert_invalid(Client().get("/api/v1/conversations", {"key": "sk-other-1"}, headers=alice.headers), "key")
    for query in ({"search": "sk-syn-"}, {"limit": "1"}):
        assert Client().get("/api/v1/conversations", query, headers=alice.headers).status_code == 200
    assert_refused(Client().get("/api/v1/conversations", {"key": "sk-other-1"}))


# --- Wrong ones, again and again ------------------------------------------------------------------------------------


def guess(raw: str = "sk-syn-nonsense", address: str = "10.0.0.1") -> Any:
    return Client(REMOTE_ADDR=address).get("/api/v1/conversations", headers={"x-api-key": raw})


def test_wrong_tokens_are_slowed_down_by_address_and_good_ones_never(
    alice: Person, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = [1000.0]
    monkeypatch.setattr(wrong_tokens, "clock", lambda: now[0])
    tried = tokens.new_token().raw
    for _ in range(30):
        assert_refused(guess(tried))
    now[0] += 12.5
    for _ in range(3):
        response = guess(tried)
        assert error_of(response, 429, "rate_limited")["message"] == "Too many wrong access tokens from this address."
        assert response.headers["Retry-After"] == "48"
    assert guess(alice.token).status_code == 200
    assert_refused(Client(REMOTE_ADDR="10.0.0.1").get("/api/v1/conversations"))  # none at all is no guess
    assert_refused(guess(tried, address="10.0.0.2"))
    now[0] += 47.5
    assert_refused(guess(tried))
    (line,) = [record.getMessage() for record in caplog.records if record.name == "workspaces.wrong_tokens"]
    assert line == "more than 30 wrong access tokens within a minute from 10.0.0.1"
    assert tried.split("-")[3] not in caplog.text


def test_the_list_of_addresses_does_not_grow_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wrong_tokens, "MAX_ADDRESSES", 3)
    for number in range(10):
        wrong_tokens.note(f"10.0.0.{number}")
        wrong_tokens.note("10.0.0.0")
    assert sorted(wrong_tokens._counts) == ["10.0.0.0", "10.0.0.8", "10.0.0.9"]
    assert wrong_tokens._counts["10.0.0.0"][1] == 11


def test_an_asynchronous_endpoint_counts_each_guess_once(alice: Person) -> None:
    path = f"/api/v1/conversations/{make_conversation(alice).pk}/messages"
    codes = [Client().get(path, headers={"x-goog-api-key": "wrong"}).status_code for _ in range(32)]
    assert codes == [401] * 30 + [429] * 2


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
