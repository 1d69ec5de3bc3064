"""Access tokens: ``sk-syn-<8 public>-<43 secret>-<8 checksum>``.

The secret part has 256 bits, so a plain SHA-256 is enough to store it. The checksum lets secret scanners, and us, tell
a real token from a typing error without asking the database.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import zlib
from dataclasses import dataclass, field

_ALPHABET = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
_TOKEN = re.compile(r"sk-syn-(?P<prefix>[A-Za-z0-9]{8})-(?P<secret>[A-Za-z0-9]{43})-(?P<checksum>[0-9a-f]{8})")


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token just made. ``raw`` is shown once and kept nowhere."""

    raw: str = field(repr=False)
    prefix: str
    digest: str


def new_token() -> NewToken:
    prefix = "".join(secrets.choice(_ALPHABET) for _ in range(8))
    secret = "".join(secrets.choice(_ALPHABET) for _ in range(43))
    body = f"sk-syn-{prefix}-{secret}"
    raw = f"{body}-{zlib.crc32(body.encode()):08x}"
    return NewToken(raw=raw, prefix=prefix, digest=digest(raw))


def digest(raw: str) -> str:
    """What is stored: 64 hexadecimal digits."""
    return hashlib.sha256(raw.encode()).hexdigest()


def shown(prefix: str) -> str:
    """How a token is told from others once its raw text is gone.

    >>> shown("abcdefgh")
    'sk-syn-abcdefgh…'
    """
    return f"sk-syn-{prefix}…"


def looks_like_one(text: str) -> bool:
    """Whether ``text`` was meant as a token, a right one or not."""
    return "sk-syn-" in text


def is_well_formed(raw: str) -> bool:
    match = _TOKEN.fullmatch(raw)
    return match is not None and f"{zlib.crc32(raw[:-9].encode()):08x}" == match["checksum"]
