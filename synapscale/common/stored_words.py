"""Sentences of ours that the database has in English, for programs read them too: pages say them in the reader's language.

Whoever writes such a column marks its sentences with ``gettext_noop``; those with placeholders are registered with the
column, so that what was stored is told apart into the sentence and what stood in it. Lists and pages of the column then
translate by themselves (``common.presenting``); other places ask ``said``, or without a row ``in_language``.
"""

from __future__ import annotations

import re
from typing import Any

from django.db import models
from django.utils.translation import gettext

_PLACE = re.compile(r"%\((\w+)\)s")
_sentences: dict[str, tuple[str, ...]] = {}
_shared: set[str] = set()


def register(column: str, *sentences: str, is_shared: bool = False) -> None:
    """``column`` (``app.Model.field``) holds sentences of ours. ``sentences`` are those with placeholders among them; all of
    them where the column ``is_shared`` with what people write.
    """
    _sentences[column] = (*_sentences.get(column, ()), *sentences)
    if is_shared:
        _shared.add(column)


def holds(field: models.Field[Any, Any]) -> bool:
    """Whether the column holds such sentences."""
    return _key(field) in _sentences


def _key(field: models.Field[Any, Any]) -> str:
    return f"{field.model._meta.label}.{field.name}"


def in_language(column: str, text: str) -> str:
    """``text``, as ``column`` has it, in the reader's language; what people wrote stays as it is."""
    if not text:
        return ""
    for sentence in _sentences[column]:
        # Every other part of the split is the name of a placeholder.
        parts = _PLACE.split(sentence)
        pattern = "".join(
            f"(?P<{part}>.*)" if place % 2 else re.escape(part.replace("%%", "%")) for place, part in enumerate(parts)
        )
        if found := re.fullmatch(pattern, text, re.DOTALL):
            return gettext(sentence) % found.groupdict()
    return text if column in _shared else gettext(text)


def said(row: models.Model, name: str) -> str:
    """What the column ``name`` of ``row`` says."""
    return in_language(_key(row._meta.get_field(name)), getattr(row, name) or "")  # type: ignore[arg-type]
