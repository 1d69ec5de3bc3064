"""How tags are written: ``customer:acme`` (or ``customer=acme``) is a name with a value, ``urgent`` a name alone.

Two ways of writing the same tag are one tag: case does not matter, nor does white space around or within. The database
holds the same rules as constraints (``tagging.models``).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

from django.utils.translation import gettext, gettext_noop

MAX_NAME = 64
MAX_VALUE = 128
MAX_CATEGORY = 64
MAX_LABEL = MAX_NAME + 1 + MAX_VALUE

NAME = r"^[^\s:=,*]+( [^\s:=,*]+)*\Z"
VALUE = r"^\Z|^[^\s,*]+( [^\s,*]+)*\Z"
"""What the constraints say; a comma parts tags in a header, and ``*`` is a wildcard in filters. They do not end
in ``$``: SQLite asks Python, where a line end may follow that."""
_SPACES = re.compile(r"\s+")
_SEPARATOR = re.compile(r"[:=]")


class NotATag(ValueError):
    """The text is no tag; ``field`` is the part that is wrong."""

    def __init__(self, message: str, *, field: str = "name") -> None:
        super().__init__(message)
        self.field = field


@dataclass(frozen=True, slots=True, order=True)
class TagName:
    """A tag's name and value, normalised."""

    name: str
    value: str = ""

    @property
    def label(self) -> str:
        return f"{self.name}:{self.value}" if self.value else self.name

    def __str__(self) -> str:
        return self.label


@dataclass(frozen=True, slots=True)
class Pattern:
    """What a filter asks for: one label, or with ``is_prefix`` all that begin like it."""

    text: str
    is_prefix: bool = False

    def __str__(self) -> str:
        return f"{self.text}*" if self.is_prefix else self.text


def normalised(text: str) -> str:
    """``text`` in NFKC and lower case, with single spaces, none at the ends. Raises NotATag for what nobody can see."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).lower())
    folded = _SPACES.sub(" ", folded).strip()
    if any(unicodedata.category(char) in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"} for char in folded):
        raise NotATag(gettext("A tag has no control or invisible characters."))
    return folded


def tag_name(name: str, value: str = "") -> TagName:
    """A checked name and value. Raises NotATag."""
    tag = TagName(_part(name, "name"), _part(value, "value"))
    if not tag.name:
        raise NotATag(gettext("A tag needs a name."))
    return tag


def category_of(text: str) -> str:
    """A checked category. Raises NotATag."""
    return _part(text, "category")


def parse(text: str) -> TagName:
    """The tag that ``name``, ``name:value`` or ``name=value`` writes. Raises NotATag."""
    name, _, value = _split(text)
    return tag_name(name, value)


def parse_pattern(text: str) -> Pattern:
    """What a filter asks for: a tag, or with a ``*`` at the end (``topic:*``, ``cust*``) all that begin like it.

    Raises NotATag.
    """
    if not text.rstrip().endswith("*"):
        return Pattern(parse(text).label)
    beginning = text.rstrip()[:-1]
    if not beginning:
        return Pattern("", is_prefix=True)
    name, separator, value = _split(beginning)
    if separator:
        if not _part(name, "name"):
            raise NotATag(gettext("A tag needs a name."))
        start = f"{_part(name, 'name')}:{_part(value, 'value') if value.strip() else ''}"
    else:
        start = _part(name, "name")
    return Pattern(start, is_prefix=True)


def parse_list(text: str) -> list[str]:
    """The tags of a header: parted by commas; an empty one is nothing."""
    return [part.strip() for part in text.split(",") if part.strip()]


def distinct(texts: Iterable[str]) -> list[TagName]:
    """The tags that ``texts`` write, each once, in order. Raises NotATag."""
    return list(dict.fromkeys(parse(text) for text in texts))


def _split(text: str) -> tuple[str, str, str]:
    found = _SEPARATOR.search(text)
    if found is None:
        return text, "", ""
    return text[: found.start()], found[0], text[found.end() :]


_LIMITS = {"name": MAX_NAME, "value": MAX_VALUE, "category": MAX_CATEGORY}
_TOO_LONG = {
    "name": gettext_noop("A tag's name has at most %(number)s characters."),
    "value": gettext_noop("A tag's value has at most %(number)s characters."),
    "category": gettext_noop("A tag's category has at most %(number)s characters."),
}
_FORBIDDEN = {
    "name": gettext_noop("A tag's name has no “%(character)s”."),
    "value": gettext_noop("A tag's value has no “%(character)s”."),
    "category": gettext_noop("A tag's category has no “%(character)s”."),
}


def _part(text: str, field: str) -> str:
    try:
        part = normalised(text)
    except NotATag as error:
        raise NotATag(str(error), field=field) from None
    if len(part) > _LIMITS[field]:
        raise NotATag(gettext(_TOO_LONG[field]) % {"number": _LIMITS[field]}, field=field)
    forbidden = ",*" if field == "value" else ",*:="
    if wrong := next((char for char in part if char in forbidden), ""):
        raise NotATag(gettext(_FORBIDDEN[field]) % {"character": wrong}, field=field)
    return part
