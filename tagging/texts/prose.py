"""The prose of a message: what is left when code and addresses are out."""

from __future__ import annotations

import re

MOST_CHARACTERS = 4000
"""Of a text that is looked at: what it is about and in which language, its beginning tells."""

_FENCED = re.compile(r"(```|~~~).*?(?:\1|\Z)", re.DOTALL)
_INLINE = re.compile(r"`[^`\n]*`")
# Each run is bounded, so that no input makes the search more than linear.
_ADDRESS = re.compile(r"\b(?:https?://|www\.)\S{1,2000}|\b[\w.+-]{1,64}@[\w-]{1,63}\.[\w.]{1,63}")


def without_addresses(text: str) -> str:
    """The beginning of ``text`` without URLs and e-mail addresses."""
    return _ADDRESS.sub(" ", text[:MOST_CHARACTERS])


def prose_of(text: str) -> str:
    """The beginning of ``text`` without fenced and inline code, URLs and e-mail addresses."""
    # A block of code before the prose may be longer than what is looked at, so code goes first, with a bound of its own.
    return without_addresses(_INLINE.sub(" ", _FENCED.sub(" ", text[: 8 * MOST_CHARACTERS])))
