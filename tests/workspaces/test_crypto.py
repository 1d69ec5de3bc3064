"""Secrets at rest: they open for their own row and on their own ring, and nowhere else."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workspaces import crypto
from workspaces.crypto import CannotDecrypt

OLD, NEW = "old:" + "o" * 32, "new:" + "n" * 32


@given(secret=st.text(), owner=st.text(max_size=50))
def test_what_is_sealed_opens_again(secret: str, owner: str) -> None:
    key_id, sealed = crypto.encrypt(secret, bound_to=owner)
    assert crypto.decrypt(sealed, key_id=key_id, bound_to=owner) == secret
    assert len(sealed) == 12 + len(secret.encode()) + 16


def test_the_same_secret_is_sealed_differently_each_time() -> None:
    assert len({crypto.encrypt("x", bound_to="a")[1] for _ in range(100)}) == 100


def test_a_secret_moved_to_another_row_does_not_open() -> None:
    key_id, sealed = crypto.encrypt("secret", bound_to="user:1")
    with pytest.raises(CannotDecrypt, match="does not belong to this row"):
        crypto.decrypt(sealed, key_id=key_id, bound_to="user:2")


@given(position=st.integers(min_value=0, max_value=33), bit=st.integers(min_value=0, max_value=7))
def test_any_changed_bit_is_noticed(position: int, bit: int) -> None:
    key_id, sealed = crypto.encrypt("secret", bound_to="a")
    changed = bytearray(sealed)
    changed[position] ^= 1 << bit
    with pytest.raises(CannotDecrypt):
        crypto.decrypt(bytes(changed), key_id=key_id, bound_to="a")


@given(st.binary(max_size=40))
def test_rubbish_does_not_open(blob: bytes) -> None:
    with pytest.raises(CannotDecrypt):
        crypto.decrypt(blob, key_id=crypto.current_key_id(), bound_to="a")


def test_a_ring_with_a_new_key_first_opens_the_old_and_seals_with_the_new(settings: Any) -> None:
    settings.MASTER_KEYS = [OLD]
    old_id, sealed = crypto.encrypt("secret", bound_to="a")
    settings.MASTER_KEYS = [NEW, OLD]
    assert crypto.decrypt(sealed, key_id=old_id, bound_to="a") == "secret"
    new_id, sealed_again = crypto.encrypt("secret", bound_to="a")
    assert (old_id, new_id, crypto.current_key_id()) == ("old", "new", "new")
    settings.MASTER_KEYS = [NEW]
    assert crypto.decrypt(sealed_again, key_id=new_id, bound_to="a") == "secret"
    with pytest.raises(CannotDecrypt, match="master key of this secret is not configured"):
        crypto.decrypt(sealed, key_id=old_id, bound_to="a")


def test_a_key_under_anothers_name_does_not_open(settings: Any) -> None:
    settings.MASTER_KEYS = [OLD, NEW]
    _, sealed = crypto.encrypt("secret", bound_to="a")
    with pytest.raises(CannotDecrypt):
        crypto.decrypt(sealed, key_id="new", bound_to="a")


def test_a_key_replaced_under_its_name_does_not_open(settings: Any) -> None:
    settings.MASTER_KEYS = [OLD]
    key_id, sealed = crypto.encrypt("secret", bound_to="a")
    settings.MASTER_KEYS = ["old:" + "x" * 32]
    with pytest.raises(CannotDecrypt):
        crypto.decrypt(sealed, key_id=key_id, bound_to="a")


def test_a_secret_may_contain_a_colon(settings: Any) -> None:
    settings.MASTER_KEYS = ["k:with:colons:" + "c" * 32]
    key_id, sealed = crypto.encrypt("secret", bound_to="a")
    assert key_id == "k"
    assert crypto.decrypt(sealed, key_id="k", bound_to="a") == "secret"
