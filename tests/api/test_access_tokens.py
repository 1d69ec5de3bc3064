"""/access-tokens: shown once, narrowed at will, revoked at once."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.utils import timezone

from llm.models import LLM
from tests.api.asking import assert_invalid, error_of
from tests.api.tokens import ALL, RULES, limit, made, own, soon, text, works
from tests.people import Cast, Person
from workspaces import tokens
from workspaces.models import AccessToken

# --- Creating ---------------------------------------------------------------------------------------------------------


def test_create(alice: Person, llm: LLM) -> None:
    ends = soon(days=30)
    response = alice.post("access-tokens", {"name": "Editor", **RULES, "expires_at": ends})
    assert response.status_code == 201, response.content
    assert response.headers["Cache-Control"] == "no-store"
    answer = response.json()
    raw = answer.pop("token")
    assert tokens.is_well_formed(raw)
    stored = AccessToken.objects.get(digest=tokens.digest(raw))
    expected = {
        "id": str(stored.pk),
        "user": str(alice.user.pk),
        "name": "Editor",
        "prefix": f"sk-syn-{raw.split('-')[2]}…",
        **RULES,
        "expires_at": ends,
        "revoked_at": None,
        "last_used_at": None,
        "created_at": text(stored.created_at),
    }
    assert answer == expected
    shown = alice.get(f"access-tokens/{stored.pk}")
    assert shown.json() == expected
    assert (stored.user, stored.workspace, stored.spend_limit_usd) == (alice.user, alice.workspace, Decimal(5))
    assert raw.split("-")[3] not in shown.content.decode() + alice.get("access-tokens").content.decode()


def test_what_is_left_out_is_as_the_asking_token_has_it(alice: Person) -> None:
    answer = alice.post("access-tokens", {"name": "Same"}).json()
    unlimited = {
        "scopes": ALL, "allowed_models": [], "requests_per_minute": None, "tokens_per_minute": None,
        "spend_limit_usd": None, "spend_period": "", "expires_at": None,
    }  # fmt: skip
    assert unlimited.items() <= answer.items()
    ends = timezone.now() + timedelta(days=3)
    rules = {**RULES, "spend_limit_usd": None}
    limit(alice, **rules, expires_at=ends)
    answer = alice.post("access-tokens", {"name": "Same"}).json()
    assert {name: answer[name] for name in (*rules, "expires_at")} == {**rules, "expires_at": text(ends)}


def test_a_new_token_works_within_its_scopes(bob: Person) -> None:
    _, reader = made(bob, scopes=["read"])
    assert reader.get("conversations").status_code == 200
    error_of(reader.post("conversations", {}), 403, "scope_missing")
    error_of(reader.get("access-tokens"), 403, "scope_missing")


def test_a_viewer_makes_tokens_that_only_read(victor: Person) -> None:
    _, again = made(victor)
    assert again.get("conversations").status_code == 200
    error_of(again.post("conversations", {}), 403, "permission_denied")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""),
        ("name", "  "),
        ("name", "x" * 101),
        ("name", None),
        ("scopes", []),
        ("scopes", ["everything"]),
        ("scopes", "chat"),
        ("scopes", [None]),
        ("scopes", [["chat"]]),
        ("scopes", None),
        ("allowed_models", ["openai/nothing"]),
        ("allowed_models", "openai/openai-test"),
        ("allowed_models", None),
        ("requests_per_minute", 0),
        ("requests_per_minute", -1),
        ("requests_per_minute", 1.5),
        ("requests_per_minute", "10"),
        ("requests_per_minute", True),
        ("requests_per_minute", 2**31),
        ("tokens_per_minute", 0),
        ("tokens_per_minute", "10"),
        ("spend_limit_usd", "0"),
        ("spend_limit_usd", "0.000000000000"),
        ("spend_limit_usd", "-1"),
        ("spend_limit_usd", "NaN"),
        ("spend_limit_usd", "Infinity"),
        ("spend_limit_usd", "1e3"),
        ("spend_limit_usd", "1_000"),
        ("spend_limit_usd", " 5"),
        ("spend_limit_usd", "５"),
        ("spend_limit_usd", ""),
        ("spend_limit_usd", 1.5),
        ("spend_limit_usd", 5),
        ("spend_limit_usd", True),
        ("spend_limit_usd", ["5"]),
        ("spend_limit_usd", "0.0000000000001"),
        ("spend_limit_usd", "4000000.01"),
        ("spend_limit_usd", "9" * 1000),
        ("spend_period", "year"),
        ("spend_period", None),
        ("expires_at", "2020-01-01T00:00:00Z"),
        ("expires_at", "tomorrow"),
        ("expires_at", 1),
        ("expires_at", "9999-12-31T23:59:59-23:59"),
        ("colour", "blue"),
    ],
)
def test_a_wrong_value_is_refused_by_field(alice: Person, llm: LLM, field: str, value: Any) -> None:
    before = AccessToken.objects.filter(user=alice.user).values().get()
    assert_invalid(alice.post("access-tokens", {"name": "X", field: value}), field)
    assert_invalid(alice.patch(f"access-tokens/{before['id']}", {field: value}), field)
    now = AccessToken.objects.filter(user=alice.user).values().get()
    assert {**now, "last_used_at": None} == {**before, "last_used_at": None}


def test_a_name_is_needed(alice: Person) -> None:
    assert_invalid(alice.post("access-tokens", {}), "name")


def test_scopes_are_a_set(alice: Person) -> None:
    answer = alice.post("access-tokens", {"name": "X", "scopes": ["read", "chat", "read"]}).json()
    assert answer["scopes"] == ["chat", "read"]


# --- Reading and changing ---------------------------------------------------------------------------------------------


def test_change(alice: Person, llm: LLM) -> None:
    pk, new = made(alice)
    ends = soon(days=1)
    body = {"name": "Renamed", **RULES, "expires_at": ends}
    response = alice.patch(f"access-tokens/{pk}", body)
    assert response.status_code == 200, response.content
    assert body.items() <= response.json().items()
    assert "token" not in response.json()
    assert alice.get(f"access-tokens/{pk}").json() == response.json()
    loosened = {"spend_limit_usd": None, "requests_per_minute": None, "expires_at": None, "allowed_models": []}
    assert loosened.items() <= alice.patch(f"access-tokens/{pk}", loosened).json().items()
    assert works(new)
    error_of(alice.put(f"access-tokens/{pk}", body), 405, "method_not_allowed")


def test_a_change_leaves_alone_what_is_not_sent(alice: Person) -> None:
    pk, _ = made(alice, scopes=["chat"], requests_per_minute=5)
    used = timezone.now()
    AccessToken.objects.filter(pk=pk).update(last_used_at=used)
    answer = alice.patch(f"access-tokens/{pk}", {"requests_per_minute": 6}).json()
    assert (answer["scopes"], answer["requests_per_minute"], answer["last_used_at"]) == (["chat"], 6, text(used))


def test_what_everybody_sees(cast: Cast, dora: Person) -> None:
    def names(person: Person, **query: Any) -> list[str]:
        response = person.get("access-tokens", **query)
        assert response.status_code == 200
        return [row["name"] for row in response.json()["results"]]

    made(cast.bob, name="Bob's other")
    assert names(cast.bob) == names(cast.bob, all="true") == ["Bob's other", "bob's token"]
    assert names(cast.bob, user=str(cast.alice.user.pk)) == []
    for admin in (cast.alice, dora):
        assert names(admin) == [f"{admin.user.name.lower()}'s token"]
        assert names(admin, user=str(cast.bob.user.pk)) == ["Bob's other", "bob's token"]
        assert names(admin, all="true") == ["Bob's other", "dora's token", "bob's token", "alice's token"]
        assert names(admin, all="false") == names(admin)
    assert names(cast.charlie, all="true") == ["charlie's token"]
    limit(dora, scopes=["keys"])
    assert names(dora, all="true") == ["dora's token"]  # what is others' takes the scope “admin” as well
    error_of(dora.get(f"access-tokens/{own(cast.bob).pk}"), 404, "not_found")


def test_revoked_ones_stay_in_the_list(alice: Person) -> None:
    pk, _ = made(alice)
    alice.delete(f"access-tokens/{pk}")
    row = next(row for row in alice.get("access-tokens").json()["results"] if row["id"] == pk)
    assert row["revoked_at"] is not None


def test_the_list_takes_three_queries_however_long(alice: Person, django_assert_num_queries: Any) -> None:
    alice.get("access-tokens")
    for count in (1, 20):
        for number in range(count):
            AccessToken.issue(user=alice.user, workspace=alice.workspace, name=f"{number}")
        with django_assert_num_queries(3):  # token, membership, tokens
            alice.get("access-tokens")


# --- Revoking ---------------------------------------------------------------------------------------------------------


def test_revoking_works_at_once_and_as_often_as_one_likes(alice: Person) -> None:
    pk, new = made(alice)
    assert works(new)
    assert alice.delete(f"access-tokens/{pk}").status_code == 204
    assert not works(new)
    error_of(new.get("conversations"), 401, "not_authenticated")
    when = AccessToken.objects.get(pk=pk).revoked_at
    assert alice.delete(f"access-tokens/{pk}").status_code == 204
    assert AccessToken.objects.get(pk=pk).revoked_at == when
    error_of(alice.patch(f"access-tokens/{pk}", {"name": "X"}), 409, "token_revoked")


def test_a_token_may_revoke_itself(bob: Person) -> None:
    assert bob.delete(f"access-tokens/{own(bob).pk}").status_code == 204
    assert not works(bob)
