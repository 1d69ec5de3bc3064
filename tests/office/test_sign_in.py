"""Signing in to the back office: a few wrong passwords, the same answer whoever is asked for, and all of it written down."""

from __future__ import annotations

import logging
import re
from datetime import timedelta
from typing import Any

import pytest
from auditlog.models import LogEntry
from django.conf import settings
from django.contrib.auth.hashers import MD5PasswordHasher
from django.db import connection
from django.db.models import F
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from synapscale.common.history import what
from tests.together import at_once
from workspaces import sign_ins
from workspaces.models import SignInAttempt, User

pytestmark = pytest.mark.django_db
HOME, AWAY = "192.0.2.1", "198.51.100.7"
RIGHT, WRONG = "correct horse battery", "correct horse butter"
TOO_MANY = "Too many wrong passwords: wait a quarter of an hour."
NOT_RIGHT = "Please enter the correct email and password for a staff account."


@pytest.fixture
def dora(db: None) -> User:
    return User.objects.create_user("dora@example.org", RIGHT, is_staff=True)


def attempt(email: str, password: str, *, address: str = HOME, **headers: str) -> Any:
    """What somebody is answered who signs in with a browser of their own."""
    form = {"username": email, "password": password}
    return Client(headers=headers).post("/admin/login/?next=/admin/", form, REMOTE_ADDR=address)


def answer(email: str, password: str, *, address: str = HOME) -> str:
    response = attempt(email, password, address=address)
    if response.status_code == 302:
        return "in"
    # By the page alone: what a client of tests notes of templates is mixed up with what other threads render.
    (said,) = (name for name, text in (("refused", TOO_MANY), ("wrong", NOT_RIGHT)) if text in response.text)
    return said


def answers(count: int, email: str = "dora@example.org", *, address: str = HOME) -> set[str]:
    """To so many wrong passwords."""
    return {answer(email, WRONG, address=address) for _ in range(count)}


def later(by: timedelta) -> None:
    SignInAttempt.objects.update(counts_until=F("counts_until") - by)


def log() -> list[tuple[str, str, str | None, str | None]]:
    """Of the audit log: what, with whom, who did it, and from where."""
    found = LogEntry.objects.filter(action=LogEntry.Action.ACCESS).order_by("pk")
    return [(what(entry), entry.object_repr, entry.actor_email, entry.remote_addr) for entry in found]


# --- Limits -----------------------------------------------------------------------------------------------------------


def test_after_five_wrong_passwords_the_right_one_is_refused_too(dora: User) -> None:
    assert answers(5) == {"wrong"}
    assert answer(dora.email, RIGHT) == "refused"
    assert answer("DORA@example.org", RIGHT) == "refused"
    assert "_auth_user_id" not in attempt(dora.email, RIGHT).client.session


def test_it_is_said_in_the_language_of_whoever_reads(dora: User) -> None:
    answers(5)
    page = attempt(dora.email, RIGHT, **{"Accept-Language": "pt-BR"})
    assert "Muitas senhas erradas: aguarde um quarto de hora." in page.text
    assert page.status_code == 200


def test_who_can_only_wait_is_not_told_to_correct_anything(dora: User) -> None:
    to_correct = "Please correct the error below."
    assert to_correct in attempt(dora.email, WRONG).text
    answers(5)
    page = attempt(dora.email, RIGHT).text
    assert TOO_MANY in page
    assert to_correct not in page


def test_a_quarter_of_an_hour_later_it_is_taken(dora: User) -> None:
    answers(5)
    later(timedelta(minutes=14))
    assert answer(dora.email, RIGHT) == "refused"
    later(timedelta(minutes=1))
    assert answer(dora.email, RIGHT) == "in"


def test_who_is_refused_does_not_wait_longer_for_trying_again(dora: User) -> None:
    answers(5)
    later(timedelta(minutes=10))
    assert answers(3) == {"refused"}
    later(timedelta(minutes=5))
    assert answer(dora.email, RIGHT) == "in"


def test_each_wrong_password_counts_for_its_own_quarter_of_an_hour(dora: User) -> None:
    answers(4)
    later(timedelta(minutes=10))
    assert answers(1) == {"wrong"}
    later(timedelta(minutes=5))
    assert answers(4) == {"wrong"}
    assert answers(1) == {"refused"}


def test_a_right_password_takes_back_the_wrong_ones_before_it(dora: User) -> None:
    for _ in range(3):
        assert answers(4) == {"wrong"}
        assert answer(dora.email, RIGHT) == "in"


def test_others_are_not_kept_out(dora: User) -> None:
    User.objects.create_user("eve@example.org", RIGHT, is_staff=True)
    answers(6)
    assert answer(dora.email, RIGHT, address=AWAY) == "in"
    assert answer("eve@example.org", RIGHT) == "in"


def test_an_account_is_guessed_a_few_times_from_however_many_addresses(dora: User) -> None:
    for number in range(5):
        assert answers(5, address=f"203.0.113.{number}") == {"wrong"}
    assert answers(1, address="203.0.113.9") == {"refused"}
    assert answer(dora.email, RIGHT, address=AWAY) == "refused"
    later(timedelta(minutes=15))
    assert answer(dora.email, RIGHT, address=AWAY) == "in"


def test_guesses_from_elsewhere_keep_nobody_out_where_they_are_known(dora: User) -> None:
    assert answer(dora.email, RIGHT) == "in"
    for number in range(5):
        answers(5, address=f"203.0.113.{number}")
    later(timedelta(days=29))
    for number in range(5):
        answers(5, address=f"203.0.113.{number}")

    assert answer(dora.email, RIGHT, address=AWAY) == "refused"
    assert answers(5) == {"wrong"}  # there, too, as many as from anywhere
    assert answer(dora.email, RIGHT) == "refused"


def test_an_address_is_known_for_thirty_days(dora: User) -> None:
    assert answer(dora.email, RIGHT) == "in"
    later(timedelta(days=30))
    for number in range(5):
        answers(5, address=f"203.0.113.{number}")
    assert answer(dora.email, RIGHT) == "refused"


def test_from_one_address_not_all_accounts_are_guessed(dora: User) -> None:
    for number in range(50):
        assert answers(1, f"nobody-{number}@example.org", address=AWAY) == {"wrong"}
    assert answers(1, "nobody@example.org", address=AWAY) == {"refused"}
    assert answer(dora.email, RIGHT, address=AWAY) == "refused"
    assert answer(dora.email, RIGHT) == "in"


def test_addresses_of_one_network_are_one(dora: User) -> None:
    for number in range(5):
        assert answers(1, address=f"2001:db8:0:1::{number}") == {"wrong"}
    assert answer(dora.email, RIGHT, address="2001:db8:0:1:ffff::9") == "refused"
    assert answer(dora.email, RIGHT, address="2001:db8:0:2::1") == "in"


def test_clients_without_an_address_are_counted_as_one(dora: User) -> None:
    assert answers(5, address="") == {"wrong"}
    assert answer(dora.email, RIGHT, address="unix:") == "refused"


def test_an_empty_form_is_no_try(dora: User) -> None:
    for form in ({}, {"username": dora.email}, {"password": WRONG}):
        assert Client().post("/admin/login/", form).status_code == 200
    assert not SignInAttempt.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_guesses_at_the_same_moment_are_as_few_as_those_in_a_row(dora: User) -> None:
    found = at_once(16, lambda number: answer(dora.email, f"{WRONG} {number}"))

    assert sorted(found) == ["refused"] * 11 + ["wrong"] * 5
    assert [entry[0] for entry in log()].count("Failed to sign in.") == 5
    assert answer(dora.email, RIGHT) == "refused"


@pytest.mark.django_db(transaction=True)
def test_so_are_those_from_many_addresses_and_for_many_accounts(dora: User) -> None:
    for number in range(4):
        answers(5, address=f"203.0.113.{number}")
    spread = at_once(12, lambda number: answer(dora.email, WRONG, address=f"203.0.113.{number + 9}"))
    assert sorted(spread) == ["refused"] * 7 + ["wrong"] * 5

    for number in range(45):
        answers(1, f"nobody-{number}@example.org", address=AWAY)
    sprayed = at_once(12, lambda number: answer(f"somebody-{number}@example.org", WRONG, address=AWAY))
    assert sorted(sprayed) == ["refused"] * 7 + ["wrong"] * 5


def test_what_counts_no_more_is_forgotten(dora: User) -> None:
    answers(6)
    later(timedelta(minutes=15))
    assert answer(dora.email, RIGHT) == "in"
    assert [row.outcome for row in SignInAttempt.objects.all()] == ["right"]
    later(timedelta(days=30))
    answers(1, "nobody@example.org", address=AWAY)
    assert [row.outcome for row in SignInAttempt.objects.all()] == ["wrong"]


# --- Nothing is told about accounts -----------------------------------------------------------------------------------


def test_whether_an_account_exists_is_told_by_nothing(dora: User, monkeypatch: pytest.MonkeyPatch) -> None:
    User.objects.create_user("customer@example.org", RIGHT)
    User.objects.create_user("tokens@example.org")
    User.objects.create_user("gone@example.org", RIGHT, is_staff=True, is_active=False)
    hashed: list[str] = []
    encode = MD5PasswordHasher.encode

    def counted(self: MD5PasswordHasher, password: str, salt: str) -> str:
        hashed.append(password)
        return encode(self, password, salt)

    monkeypatch.setattr(MD5PasswordHasher, "encode", counted)

    def told(email: str, password: str) -> tuple[str, list[str], int]:
        hashed.clear()
        with CaptureQueriesContext(connection) as captured:
            page = attempt(email, password).text
        statements = [re.sub(r"'[^']*'|\d+", "?", query["sql"])[:60] for query in captured]
        return re.sub(r'(value|nonce)="[^"]*"', "", page), statements, len(hashed)

    attempt("warm@example.org", WRONG)
    unknown = told("nobody@example.org", WRONG)
    assert unknown[2] == 1
    for email, password in [
        (dora.email, WRONG), ("customer@example.org", WRONG), ("customer@example.org", RIGHT),
        ("tokens@example.org", WRONG), ("gone@example.org", RIGHT),
    ]:  # fmt: skip
        assert told(email, password) == unknown, email


def test_who_is_no_staff_is_counted_for_the_right_password_too() -> None:
    User.objects.create_user("customer@example.org", RIGHT)
    assert [answer("customer@example.org", RIGHT) for _ in range(6)] == ["wrong"] * 5 + ["refused"]


def test_an_account_that_does_not_exist_is_refused_like_one_that_does() -> None:
    assert answers(5, "nobody@example.org") == {"wrong"}
    assert answers(1, "nobody@example.org") == {"refused"}


# --- What operators see -----------------------------------------------------------------------------------------------


def test_who_signed_in_and_who_was_refused_stands_in_the_audit_log(dora: User) -> None:
    began = timezone.now()
    answers(5)
    assert {answer(dora.email, RIGHT) for _ in range(3)} == {"refused"}
    assert answer(dora.email, RIGHT, address="2001:db8::7") == "in"
    answers(1, "nobody@example.org", address=AWAY)

    assert log() == [
        *[("Failed to sign in.", dora.email, None, HOME)] * 5,
        ("Sign-in refused: too many wrong passwords.", dora.email, None, HOME),  # once
        ("Signed in.", dora.email, dora.email, "2001:db8::7"),
        ("Failed to sign in.", "unknown account", None, AWAY),
    ]
    entries = LogEntry.objects.filter(action=LogEntry.Action.ACCESS)
    assert all(began <= entry.timestamp <= timezone.now() for entry in entries)


def test_operators_find_it(dora: User) -> None:
    answers(1, "nobody@example.org")
    answers(1)
    client = Client()
    client.force_login(User.objects.create_superuser("root@example.org"))

    listed = client.get("/admin/auditlog/logentry/").text
    assert listed.count("Failed to sign in.") == 2
    assert "unknown account" in listed
    for entry in LogEntry.objects.filter(action=LogEntry.Action.ACCESS):
        assert HOME in client.get(f"/admin/auditlog/logentry/{entry.pk}/change/").text
    assert "Failed to sign in." in client.get(f"/admin/workspaces/user/{dora.pk}/history/").text
    client.cookies[settings.LANGUAGE_COOKIE_NAME] = "pt-br"
    assert "Não conseguiu entrar." in client.get(f"/admin/workspaces/user/{dora.pk}/history/").text


def test_a_flood_of_the_page_does_not_flood_the_audit_log(dora: User) -> None:
    for number in range(50):
        answers(1, f"nobody-{number}@example.org")
    for number in range(20):
        answers(1, f"somebody-{number}@example.org")
    answers(20)
    assert [entry[0] for entry in log()].count("Sign-in refused: too many wrong passwords.") == 1
    assert len(log()) == 51


def test_a_flood_of_the_page_waits_for_no_lock_and_writes_nothing(dora: User) -> None:
    """Or tries that are refused anyway would stand in a row, each with a connection that others need."""
    answers(6)
    with CaptureQueriesContext(connection) as captured:
        assert sign_ins.begin(email=dora.email, address=HOME) is None
    assert [query["sql"].split()[0] for query in captured] == ["SELECT"] * 2
    assert "pg_advisory" not in str(captured.captured_queries)


def test_nothing_that_was_typed_is_kept(dora: User, caplog: pytest.LogCaptureFixture) -> None:
    """People type their password where their address belongs."""
    caplog.set_level(logging.DEBUG)
    secrets = ("hunter2-in-the-wrong-box", "hunter2-as-password")
    for _ in range(6):
        attempt(*secrets)
        attempt(dora.email, secrets[1])

    rows = str([*LogEntry.objects.values(), *SignInAttempt.objects.values()])
    assert "Failed to sign in." in rows
    assert "too many wrong passwords at the back office from 192.0.2.1, by pair" in caplog.text
    for secret in (*secrets, "hunter2"):
        assert secret not in rows
        assert secret not in caplog.text
