"""Access tokens: shown once, stored as a digest, and told from a typing error without asking the database."""

from __future__ import annotations

import hashlib
import math
import re
import string
from datetime import timedelta

import pytest
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from synapscale.common.tenancy import fleet_wide
from tests.people import Person
from workspaces import tokens
from workspaces.authentication import caller_of
from workspaces.models import AccessToken, Membership

ALPHABET = string.ascii_letters + string.digits


def test_its_form() -> None:
    token = tokens.new_token()
    assert re.fullmatch(r"sk-syn-[A-Za-z0-9]{8}-[A-Za-z0-9]{43}-[0-9a-f]{8}", token.raw)
    assert token.raw.split("-")[2] == token.prefix
    assert token.digest == hashlib.sha256(token.raw.encode()).hexdigest() == tokens.digest(token.raw)
    assert tokens.is_well_formed(token.raw)


def test_its_secret_part_has_256_bits() -> None:
    assert len(ALPHABET) == len(tokens._ALPHABET) == len(set(tokens._ALPHABET))
    assert 43 * math.log2(len(tokens._ALPHABET)) > 256
    made = [tokens.new_token() for _ in range(500)]
    assert len({token.raw.split("-")[3] for token in made}) == 500
    assert set("".join(token.raw.split("-")[3] for token in made)) == set(ALPHABET)


def test_it_does_not_show_in_a_repr() -> None:
    token = tokens.new_token()
    assert token.raw not in repr(token)
    assert token.prefix in repr(token)


@given(position=st.integers(min_value=0), char=st.sampled_from(ALPHABET + "-_ é"))
def test_one_wrong_character_is_noticed(position: int, char: str) -> None:
    raw = tokens.new_token().raw
    position %= len(raw)
    wrong = raw[:position] + char + raw[position + 1 :]
    assert tokens.is_well_formed(wrong) is (wrong == raw)


@given(position=st.integers(min_value=0))
def test_two_characters_exchanged_are_noticed(position: int) -> None:
    raw = tokens.new_token().raw
    position %= len(raw) - 1
    wrong = raw[:position] + raw[position + 1] + raw[position] + raw[position + 2 :]
    assert tokens.is_well_formed(wrong) is (wrong == raw)


@given(st.text())
def test_any_text_is_no_token(text: str) -> None:
    assert not tokens.is_well_formed(text)


@pytest.mark.parametrize("around", ["{} ", " {}", "{}\n", "{}x", "x{}", "{0}{0}"])
def test_a_token_with_something_around_it_is_none(around: str) -> None:
    assert not tokens.is_well_formed(around.format(tokens.new_token().raw))


@pytest.mark.django_db
def test_only_its_digest_is_stored(alice: Person) -> None:
    token = AccessToken.objects.get(user=alice.user)
    stored = [str(getattr(token, field.attname)) for field in AccessToken._meta.concrete_fields]
    assert alice.token not in stored
    assert alice.token.split("-")[3] not in "".join(stored)
    assert (token.digest, token.prefix) == (tokens.digest(alice.token), alice.token.split("-")[2])
    assert str(token) == f"alice's token (sk-syn-{token.prefix}…)"


@pytest.mark.django_db
def test_it_stands_for_its_user_and_workspace(alice: Person) -> None:
    caller = caller_of(alice.token)
    assert caller is not None
    assert (caller.user, caller.workspace, caller.membership) == (alice.user, alice.workspace, alice.membership)


@pytest.mark.django_db
def test_a_wrong_token_is_refused_without_a_query(alice: Person, django_assert_num_queries: object) -> None:
    with django_assert_num_queries(0):  # type: ignore[operator]
        assert caller_of(alice.token[:-1] + ("0" if alice.token[-1] != "0" else "1")) is None


@pytest.mark.django_db
@pytest.mark.parametrize("reason", ["revoked", "expired", "inactive", "removed", "unknown"])
def test_a_token_that_is_not_valid_stands_for_nobody(alice: Person, reason: str) -> None:
    rows = AccessToken.objects.filter(user=alice.user)
    now = timezone.now()
    if reason == "revoked":
        rows.update(revoked_at=now)
    elif reason == "expired":
        rows.update(expires_at=now)
    elif reason == "inactive":
        alice.user.is_active = False
        alice.user.save()
    elif reason == "removed":
        Membership.objects.filter(user=alice.user).delete()
    else:
        with fleet_wide():  # no product code deletes a token
            rows.delete()
    assert caller_of(alice.token) is None


@pytest.mark.django_db
def test_a_token_that_expires_later_is_valid(alice: Person) -> None:
    AccessToken.objects.filter(user=alice.user).update(expires_at=timezone.now() + timedelta(seconds=30))
    assert caller_of(alice.token) is not None


@pytest.mark.django_db
def test_its_use_is_noted_at_most_once_a_minute(alice: Person) -> None:
    """The table is replicated in a cluster: no write for every request."""

    def used() -> object:
        return AccessToken.objects.get(user=alice.user).last_used_at

    assert used() is None
    caller_of(alice.token)
    first = used()
    assert first is not None
    caller_of(alice.token)
    assert used() == first
    AccessToken.objects.update(last_used_at=timezone.now() - timedelta(seconds=61))
    caller_of(alice.token)
    assert used() > first  # type: ignore[operator]
