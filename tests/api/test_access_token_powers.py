"""/access-tokens: a token is never more powerful than the one that asks, and nobody else's."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from tests.api.asking import assert_invalid, error_of
from tests.api.tokens import ALL, RULES, limit, limited, made, own, soon, works
from tests.people import Cast, Person, join
from workspaces.models import AccessToken, Membership

__all__ = ["limited"]


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


# --- Never more than the one that asks --------------------------------------------------------------------------------


MODEL, OTHER = "openai/openai-test", "anthropic/anthropic-test"


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


# --- Those of others --------------------------------------------------------------------------------------------------


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
