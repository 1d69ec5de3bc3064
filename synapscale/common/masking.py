"""What looks like a key is kept out of errors and log lines.

No code of ours puts one there. But a client that mixes up two fields sends its key as a model's name, and an error that
repeats what was wrong would carry it into that client's logs; and an exception of a library may say what it was given.
"""

from __future__ import annotations

import re
from typing import Any

_KEY = re.compile(r"(?<![A-Za-z0-9])(sk-|xai-|gsk_|hf_|tgp_|AIza)[A-Za-z0-9_-]{16,}")
"""Keys of the vendors, and access tokens of our own."""


def masked(text: str) -> str:
    """``text`` with nothing but the beginning of what looks like a key."""
    return _KEY.sub(r"\1…", text)


def masked_all(data: Any) -> Any:
    """The same for every text within ``data``, the names of fields included."""
    if isinstance(data, str):  # also DRF's, which say what kind of error they are
        return masked(data)
    if isinstance(data, dict):
        return {masked_all(name): masked_all(value) for name, value in data.items()}
    if isinstance(data, list | tuple):
        return [masked_all(value) for value in data]
    return data
