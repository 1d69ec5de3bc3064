"""Secrets at rest: AES-256-GCM, bound to their owner, with a ring of master keys for rotation.

The additional data names the row a secret belongs to, so a ciphertext copied into another row does not decrypt there
(Fernet would decrypt it).
"""

from __future__ import annotations

import hashlib
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.conf import settings

_NONCE_BYTES = 12


class CannotDecrypt(Exception):
    """The secret was written for another row, or its master key is no longer on the ring."""


def _ring() -> dict[str, AESGCM]:
    """Master keys by id, in order. ``MASTER_KEYS`` holds ``id:secret``; a secret has at least 32 characters."""
    ring = {}
    for entry in settings.MASTER_KEYS:
        key_id, _, secret = entry.partition(":")
        ring[key_id] = AESGCM(hashlib.sha256(secret.encode()).digest())
    return ring


def current_key_id() -> str:
    return next(iter(_ring()))


def encrypt(secret: str, *, bound_to: str) -> tuple[str, bytes]:
    """``(key id, nonce + ciphertext)``. ``bound_to`` names the owner and must be the same when decrypting."""
    key_id, cipher = next(iter(_ring().items()))
    nonce = os.urandom(_NONCE_BYTES)
    return key_id, nonce + cipher.encrypt(nonce, secret.encode(), f"{bound_to}|{key_id}".encode())


def decrypt(ciphertext: bytes, *, key_id: str, bound_to: str) -> str:
    """The secret. Raises CannotDecrypt."""
    cipher = _ring().get(key_id)
    if cipher is None:
        raise CannotDecrypt("The master key of this secret is not configured.")
    try:
        return cipher.decrypt(
            ciphertext[:_NONCE_BYTES], ciphertext[_NONCE_BYTES:], f"{bound_to}|{key_id}".encode()
        ).decode()
    except (InvalidTag, ValueError):  # ValueError: not even long enough to be one
        raise CannotDecrypt("The secret does not belong to this row.") from None
