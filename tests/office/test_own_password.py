"""A new password of one's own: only with the present one, which an open session must not be able to guess."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from billing.models import Wallet
from synapscale.common.models import new_id
from tests.audited import notes
from tests.people import Cast
from workspaces.models import User

pytestmark = pytest.mark.django_db
RIGHT, NEW = "correct horse battery", "staple of another horse"
TOO_MANY = "Too many wrong passwords: wait a quarter of an hour."


@pytest.fixture
def root(db: None) -> User:
    return User.objects.create_superuser("root@example.org", RIGHT)


@pytest.fixture
def session(root: User) -> Client:
    client = Client()
    client.force_login(root)
    return client


def change(session: Client, old: str) -> Any:
    form = {"old_password": old, "new_password1": NEW, "new_password2": NEW}
    return session.post(reverse("admin:password_change"), form)


def has(user: User, password: str) -> bool:
    return User.objects.get(pk=user.pk).check_password(password)


def test_with_the_present_one(session: Client, root: User) -> None:
    assert session.get(reverse("admin:password_change")).status_code == 200
    assert change(session, RIGHT).status_code == 302
    assert has(root, NEW)
    assert session.get("/admin/").status_code == 200  # it stays signed in


def test_not_with_a_wrong_one_nor_after_five_with_the_right_one(session: Client, root: User) -> None:
    for _ in range(5):
        assert change(session, "a guess").context["form"].errors == {"old_password": ["This is not your password."]}
    assert notes(root) == ["Wrong password for choosing a new one."] * 5
    assert TOO_MANY in change(session, RIGHT).text
    assert has(root, RIGHT)


def test_guesses_before_money_count_too(session: Client, root: User, cast: Cast, settings: Any) -> None:
    settings.OFFICE_REAUTH_USD = 0
    path = f"/admin/billing/wallet/{Wallet.objects.get(workspace=cast.alice.workspace).pk}/top-up/"
    form = {
        "reference": f"office:{new_id()}",
        "amount": "1",
        "reason": "Because",
        "confirmed": "1",
        "password": "a guess",
    }
    for _ in range(5):
        session.post(path, form)
    assert notes(root) == ["Wrong password for moving money."] * 5
    assert TOO_MANY in change(session, RIGHT).text


def test_who_may_set_the_passwords_of_others_needs_the_present_one_for_their_own(session: Client, root: User) -> None:
    of_their_own = reverse("admin:auth_user_password_change", args=[root.pk])
    response = session.post(of_their_own, {"password1": NEW, "password2": NEW, "usable_password": "true"})
    assert response["Location"] == reverse("admin:password_change")
    assert has(root, RIGHT)
    bob = User.objects.create_user("bob@example.org", RIGHT, is_staff=True)
    path = reverse("admin:auth_user_password_change", args=[bob.pk])
    session.post(path, {"password1": NEW, "password2": NEW, "usable_password": "true"})
    assert has(bob, NEW)
