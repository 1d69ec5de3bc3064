"""/me: who is calling, for which workspace, and with what."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.utils import timezone

from tests.api.asking import assert_invalid, error_of
from tests.people import Cast, Person
from workspaces.models import AccessToken, User


def test_show(alice: Person) -> None:
    ends = timezone.now() + timedelta(days=1)
    tokens = AccessToken.objects.filter(user=alice.user)
    tokens.update(spend_limit_usd=Decimal("2.5"), spend_period="month", requests_per_minute=7, expires_at=ends)
    token = tokens.get()
    answer = alice.get("me").json()
    used = answer["token"].pop("last_used_at")
    assert used is not None
    assert answer == {
        "id": str(alice.user.pk),
        "email": "alice@example.org",
        "name": "Alice",
        "allows_paid_fallback": True,
        "workspace": {"id": str(alice.workspace.pk), "slug": "acme", "name": "Acme"},
        "role": "owner",
        "token": {
            "id": str(token.pk),
            "user": str(alice.user.pk),
            "name": "alice's token",
            "prefix": f"sk-syn-{token.prefix}…",
            "scopes": ["chat", "read", "billing", "keys", "admin"],
            "allowed_models": [],
            "requests_per_minute": 7,
            "tokens_per_minute": None,
            "spend_limit_usd": "2.50",
            "spend_period": "month",
            "expires_at": ends.isoformat().replace("+00:00", "Z"),
            "revoked_at": None,
            "created_at": token.created_at.isoformat().replace("+00:00", "Z"),
        },
    }


def test_everybody_sees_themselves(cast: Cast, victor: Person) -> None:
    for person, slug, role in (
        (cast.bob, "acme", "member"),
        (victor, "acme", "viewer"),
        (cast.charlie, "rival", "owner"),
    ):
        answer = person.get("me").json()
        assert (answer["email"], answer["workspace"]["slug"], answer["role"]) == (person.user.email, slug, role)


@pytest.mark.parametrize("who", ["alice", "bob", "victor"])
def test_change(request: pytest.FixtureRequest, who: str) -> None:
    person: Person = request.getfixturevalue(who)
    response = person.patch("me", {"name": "Al", "allows_paid_fallback": False})
    assert response.status_code == 200, response.content
    assert (response.json()["name"], response.json()["allows_paid_fallback"]) == ("Al", False)
    stored = User.objects.get(pk=person.user.pk)
    assert (stored.name, stored.allows_paid_fallback) == ("Al", False)
    assert person.patch("me", {"allows_paid_fallback": True}).json()["name"] == "Al"
    assert person.patch("me", {"name": ""}).json()["name"] == ""


def test_reading_takes_any_scope_and_changing_the_scope_keys(alice: Person) -> None:
    tokens = AccessToken.objects.filter(user=alice.user)
    for scope in ("chat", "read", "billing", "admin"):
        tokens.update(scopes=[scope])
        assert alice.get("me").json()["token"]["scopes"] == [scope]
        error_of(alice.patch("me", {"allows_paid_fallback": True}), 403, "scope_missing")
    tokens.update(scopes=["keys"])
    assert alice.patch("me", {"name": "Al"}).status_code == 200


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", None),
        ("name", "x" * 151),
        ("name", []),
        ("allows_paid_fallback", None),
        ("allows_paid_fallback", "maybe"),
        ("email", "mallory@example.org"),
        ("id", "x"),
        ("is_superuser", True),
        ("is_staff", True),
        ("password", "x"),
        ("role", "owner"),
        ("workspace", "x"),
        ("token", "x"),
    ],
)
def test_a_wrong_value_is_refused_by_field(bob: Person, field: str, value: Any) -> None:
    before = User.objects.filter(pk=bob.user.pk).values().get()
    assert_invalid(bob.patch("me", {field: value}), field)
    assert User.objects.filter(pk=bob.user.pk).values().get() == before


def test_it_takes_two_queries(alice: Person, django_assert_num_queries: Any) -> None:
    alice.get("me")
    with django_assert_num_queries(2):  # token, membership
        alice.get("me")
