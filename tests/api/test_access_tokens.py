"""/access-tokens: shown once, narrowed at will, never more powerful than the token that asks."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.utils import timezone

from billing import spending
from billing.models import TokenSpend
from llm.models import LLM
from tests.api.asking import assert_invalid, error_of
from tests.catalogue import make_llm
from tests.people import Cast, Person, join
from tests.together import at_once
from workspaces import tokens
from workspaces.authentication import caller_of
from workspaces.models import AccessToken, Membership

ALL = ["chat", "read", "billing", "keys", "admin"]
RULES: dict[str, Any] = {
    "scopes": ["chat", "keys"],
    "allowed_models": ["openai/openai-test"],
    "requests_per_minute": 10,
    "tokens_per_minute": 1000,
    "spend_limit_usd": "5.00",
    "spend_period": "day",
}


def text(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


def soon(**time: float) -> str:
    return text(timezone.now() + timedelta(**time))


def own(person: Person) -> AccessToken:
    """The token that ``person`` asks with."""
    return AccessToken.objects.get(digest=tokens.digest(person.token))


def limit(person: Person, **rules: Any) -> Person:
    AccessToken.objects.filter(pk=own(person).pk).update(**rules)
    return person


def made(person: Person, **body: Any) -> tuple[str, Person]:
    """A new token of ``person``: its id, and the person with it."""
    response = person.post("access-tokens", {"name": "New", **body})
    assert response.status_code == 201, response.content
    return response.json()["id"], replace(person, token=response.json()["token"])


def works(person: Person) -> bool:
    return caller_of(person.token) is not None


# --- Creating -----------------------------------------------------------------------------------------------------------


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


def test_a_token_is_for_its_user_and_workspace_alone(cast: Cast) -> None:
    join(cast.charlie.workspace, "alice", Membership.Role.ADMIN)
    for field, value in (
        ("user", str(cast.bob.user.pk)),
        ("workspace", str(cast.charlie.workspace.pk)),
        ("token", "sk-syn-mine"),
        ("prefix", "abcdefgh"),
        ("digest", "0" * 64),
        ("revoked_at", None),
        ("last_used_at", None),
        ("id", str(own(cast.alice).pk)),
    ):
        assert_invalid(cast.alice.post("access-tokens", {"name": "X", field: value}), field)
        assert_invalid(cast.alice.patch(f"access-tokens/{own(cast.alice).pk}", {field: value}), field)
    assert AccessToken.objects.count() == 4


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


# --- Never more than the one that asks --------------------------------------------------------------------------------

MODEL, OTHER = "openai/openai-test", "anthropic/anthropic-test"


@pytest.fixture
def limited(alice: Person, llm: LLM) -> Person:
    """Alice with a token that may make others and has every limit."""
    make_llm("anthropic")
    ends = timezone.now() + timedelta(days=3)
    return limit(alice, **{**RULES, "spend_limit_usd": Decimal(5), "spend_period": "week"}, expires_at=ends)


@pytest.mark.parametrize(
    ("body", "beyond"),
    [
        ({"scopes": ["chat"]}, set()),
        ({"scopes": ["keys", "chat"]}, set()),
        ({"scopes": ["read"]}, {"scopes"}),
        ({"scopes": ["chat", "admin"]}, {"scopes"}),
        ({"allowed_models": [MODEL]}, set()),
        ({"allowed_models": [MODEL, OTHER]}, {"allowed_models"}),
        ({"allowed_models": [OTHER]}, {"allowed_models"}),
        ({"allowed_models": []}, {"allowed_models"}),
        ({"requests_per_minute": 10, "tokens_per_minute": 999}, set()),
        ({"requests_per_minute": 11}, {"requests_per_minute"}),
        ({"requests_per_minute": None}, {"requests_per_minute"}),
        ({"tokens_per_minute": 1001}, {"tokens_per_minute"}),
        ({"tokens_per_minute": None}, {"tokens_per_minute"}),
        ({"spend_limit_usd": "4.999999999999"}, set()),
        ({"spend_limit_usd": "5.000000000001"}, {"spend_limit_usd"}),
        ({"spend_limit_usd": None}, {"spend_limit_usd"}),
        ({"spend_period": "week"}, set()),
        ({"spend_period": ""}, set()),
        ({"spend_period": "day"}, {"spend_period"}),
        ({"spend_period": "month"}, {"spend_period"}),
        ({"expires_at": {"days": 2}}, set()),
        ({"expires_at": {"days": 4}}, {"expires_at"}),
        ({"expires_at": None}, {"expires_at"}),
        ({"scopes": ["admin"], "spend_limit_usd": None}, {"scopes", "spend_limit_usd"}),
    ],
)
def test_a_token_makes_none_that_may_more_than_itself(limited: Person, body: dict[str, Any], beyond: set[str]) -> None:
    if body.get("expires_at"):
        body = {"expires_at": soon(**body["expires_at"])}
    itself = f"access-tokens/{own(limited).pk}"
    before = AccessToken.objects.filter(pk=own(limited).pk).values(*RULES, "expires_at").get()
    # With a spending limit it makes no others at all: each would have a limit of its own.
    new = error_of(limited.post("access-tokens", {"name": "X", **body}), 403, "more_than_own_token")
    assert set(new["details"]) == (beyond or {"spend_limit_usd"})
    changed = limited.patch(itself, body)
    if not beyond:
        assert changed.status_code == 200, changed.content
    else:
        assert set(error_of(changed, 403, "more_than_own_token")["details"]) == beyond
        assert AccessToken.objects.filter(user=limited.user).values(*RULES, "expires_at").get() == before


def test_by_the_day_is_tighter_by_the_month_too(alice: Person) -> None:
    limit(alice, spend_limit_usd=Decimal(5), spend_period="day")
    itself = f"access-tokens/{own(alice).pk}"
    for period in ("day", "week", "month", ""):
        limit(alice, spend_period="day")
        assert alice.patch(itself, {"spend_period": period}).status_code == 200
    for period in ("day", "week", "month"):
        error_of(alice.patch(itself, {"spend_period": period}), 403, "more_than_own_token")


def test_the_successor_of_a_limited_token_inherits_what_it_has_spent(alice: Person) -> None:
    limit(alice, spend_limit_usd=Decimal(5), spend_period="")
    old = own(alice)
    TokenSpend.objects.create(workspace=alice.workspace, access_token=old, spent=Decimal("4.5"), held=Decimal("0.25"))
    new = alice.post(f"access-tokens/{old.pk}/rotate").json()["id"]
    successor = AccessToken.objects.get(pk=new)
    assert spending.left(successor, at=timezone.now()) == Decimal("0.5")


def test_a_weak_token_gains_nothing_from_a_strong_one(alice: Person) -> None:
    """It may rename or narrow it, or revoke it; but not take its place or widen it."""
    strong, _ = made(alice, spend_limit_usd="100", spend_period="month")
    _, weak = made(alice, scopes=["keys"], spend_limit_usd="5", spend_period="month")
    assert weak.patch(f"access-tokens/{strong}", {"name": "Renamed"}).json()["scopes"] == ALL
    for body in ({"scopes": ["chat"]}, {"spend_limit_usd": None}, {"spend_limit_usd": "50"}, {"spend_period": ""}):
        error_of(weak.patch(f"access-tokens/{strong}", body), 403, "more_than_own_token")
    details = error_of(weak.post(f"access-tokens/{strong}/rotate"), 403, "more_than_own_token")["details"]
    assert set(details) == {"scopes", "spend_limit_usd"}
    assert AccessToken.objects.filter(user=alice.user).count() == 3
    assert weak.patch(f"access-tokens/{strong}", {"scopes": ["keys"], "spend_limit_usd": "4"}).status_code == 200
    assert weak.post(f"access-tokens/{strong}/rotate").status_code == 201


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


@pytest.mark.parametrize("role", ["alice", "dora"])
def test_admins_revoke_those_of_others_and_do_nothing_else_with_them(
    request: pytest.FixtureRequest, bob: Person, role: str
) -> None:
    admin: Person = request.getfixturevalue(role)
    path = f"access-tokens/{own(bob).pk}"
    assert admin.get(path).json()["name"] == "bob's token"
    error_of(admin.patch(path, {"name": "X"}), 403, "permission_denied")
    error_of(admin.post(f"{path}/rotate"), 403, "permission_denied")
    assert works(bob)
    assert admin.delete(path).status_code == 204
    assert not works(bob)


def test_members_and_strangers_do_not_find_those_of_others(cast: Cast, victor: Person) -> None:
    path = f"access-tokens/{own(cast.alice).pk}"
    for person in (cast.bob, cast.charlie, victor):
        error_of(person.get(path), 404, "not_found")
        error_of(person.patch(path, {"name": "X"}), 404, "not_found")
        error_of(person.delete(path), 404, "not_found")
        error_of(person.post(f"{path}/rotate"), 404, "not_found")
    assert works(cast.alice)


def test_a_token_for_another_workspace_of_the_same_person_is_not_found(cast: Cast) -> None:
    elsewhere = join(cast.charlie.workspace, "alice", Membership.Role.OWNER)
    error_of(cast.alice.delete(f"access-tokens/{own(elsewhere).pk}"), 404, "not_found")
    assert works(elsewhere)


# --- Rotating ---------------------------------------------------------------------------------------------------------


def test_rotate(alice: Person, llm: LLM) -> None:
    pk, old = made(alice, **RULES, expires_at=soon(days=9))
    response = alice.post(f"access-tokens/{pk}/rotate")
    assert response.status_code == 201, response.content
    assert response.headers["Cache-Control"] == "no-store"
    answer = response.json()
    new = replace(alice, token=answer.pop("token"))
    assert (works(old), works(new)) == (False, True)
    assert answer["id"] != pk
    before = alice.get(f"access-tokens/{pk}").json()
    assert before["revoked_at"] is not None
    differ = {name for name in answer if answer[name] != before[name]}
    assert differ == {"id", "prefix", "revoked_at", "created_at"}


def test_the_old_one_may_live_on_for_a_while(alice: Person) -> None:
    pk, old = made(alice)
    answer = alice.post(f"access-tokens/{pk}/rotate", {"grace_seconds": 3600}).json()
    assert answer["expires_at"] is None
    assert works(old)
    ends = AccessToken.objects.get(pk=pk).expires_at
    assert ends is not None
    assert timedelta(minutes=59) < ends - timezone.now() <= timedelta(hours=1)
    AccessToken.objects.filter(pk=pk).update(expires_at=timezone.now())
    assert not works(old)


def test_a_grace_does_not_prolong_a_life(alice: Person) -> None:
    ends = soon(minutes=1)
    pk, _ = made(alice, expires_at=ends)
    assert alice.post(f"access-tokens/{pk}/rotate", {"grace_seconds": 86400}).json()["expires_at"] == ends
    assert alice.get(f"access-tokens/{pk}").json()["expires_at"] == ends


def test_a_token_rotates_itself_however_limited(limited: Person) -> None:
    response = limited.post(f"access-tokens/{own(limited).pk}/rotate")
    assert response.status_code == 201, response.content
    assert {**RULES, "spend_period": "week"}.items() <= response.json().items()
    assert not works(limited)
    assert works(replace(limited, token=response.json()["token"]))


@pytest.mark.parametrize("change", ["revoked_at", "expires_at"])
def test_what_is_dead_is_not_rotated(alice: Person, change: str) -> None:
    pk, _ = made(alice)
    AccessToken.objects.filter(pk=pk).update(**{change: timezone.now()})
    error_of(alice.post(f"access-tokens/{pk}/rotate"), 409, "token_not_valid")


@pytest.mark.parametrize("value", [-1, 86401, "60", 1.5, True, None])
def test_a_wrong_grace_is_refused(alice: Person, value: Any) -> None:
    pk, old = made(alice)
    assert_invalid(alice.post(f"access-tokens/{pk}/rotate", {"grace_seconds": value}), "grace_seconds")
    assert_invalid(alice.post(f"access-tokens/{pk}/rotate", {"name": "X"}), "name")
    assert works(old)


def test_a_rotation_by_two_at_once_makes_one_new_token(alice: Person, transactional_db: None) -> None:
    pk, _ = made(alice)
    codes = at_once(5, lambda _: alice.post(f"access-tokens/{pk}/rotate").status_code)
    assert sorted(codes) == [201, 409, 409, 409, 409]


def test_the_list_takes_three_queries_however_long(alice: Person, django_assert_num_queries: Any) -> None:
    alice.get("access-tokens")
    for count in (1, 20):
        for number in range(count):
            AccessToken.issue(user=alice.user, workspace=alice.workspace, name=f"{number}")
        with django_assert_num_queries(3):  # token, membership, tokens
            alice.get("access-tokens")
