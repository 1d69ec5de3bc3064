"""Characters that can't be seen, or that change how others are seen, as signs.

What people write is shown as text. Escaping keeps it from being HTML; this keeps it from being anything else: a bidi
override makes ``exe.gpj`` look like ``jpg.exe``, an escape sequence colours a terminal that it is copied into, and what
has no width at all hides in a name.
"""

from __future__ import annotations

import json
import re
from typing import Any

# All controls but tab, line feed, and carriage return before a line feed; marks, embeddings, overrides and isolates of
# bidirectional text; what has no width, but the joiners that scripts and emoji need.
_UNSEEN = "\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff"
_ANY = re.compile(rf"[{_UNSEEN}]|\r(?!\n)")
# In a form these stay what they are, or saving it would write the signs.
_OUTSIDE_CONTROLS = re.compile(rf"(<textarea\b[^>]*>.*?</textarea\s*>|<input\b[^>]*>)|{_ANY.pattern}", re.S | re.I)


def _sign(found: re.Match[str]) -> str:
    return f"[U+{ord(found[0]):04X}]"


def visible(text: str) -> str:
    """``text`` with signs in place of what can't be seen: ``[U+202E]``."""
    return _ANY.sub(_sign, text)


def visible_page(page: str) -> str:
    """The same for a page of HTML, but for the values of its form's controls."""
    if not _ANY.search(page):
        return page
    return _OUTSIDE_CONTROLS.sub(lambda found: found[1] or _sign(found), page)


def visible_json(text: str) -> str:
    """The same for the texts in a JSON document."""
    return json.dumps(_visible_value(json.loads(text)))


def _visible_value(value: Any) -> Any:
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, list):
        return [_visible_value(one) for one in value]
    return {name: _visible_value(one) for name, one in value.items()} if isinstance(value, dict) else value
