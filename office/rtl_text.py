"""Arabic, Hebrew and the like for a page that is painted from left to right, one letter after another.

A small part of the Unicode Bidirectional Algorithm (UAX #9), enough for names and short texts: runs of right-to-left words
are turned around, numbers in them stay, and Arabic letters take the form that their neighbours ask for.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache

_RIGHT_TO_LEFT = {"R", "AL"}
_WITHIN = {"R", "AL", "NSM", "WS", "ON", "ES", "CS", "ET", "EN", "AN"}
_NUMBER = re.compile(r"\d+(?:[.,/:]\d+)*")
_MIRRORED = str.maketrans("()[]{}<>«»", ")(][}{><»«")


def as_painted(text: str) -> str:
    """``text`` with its letters in the order in which they stand on the page."""
    directions = [unicodedata.bidirectional(letter) for letter in text]
    if not _RIGHT_TO_LEFT.intersection(directions):
        return text
    parts, place = [], 0
    while place < len(text):
        if directions[place] not in _RIGHT_TO_LEFT:
            parts.append(text[place])
            place += 1
            continue
        end = last = place
        while end < len(text) and directions[end] in _WITHIN:
            if directions[end] in _RIGHT_TO_LEFT or directions[end] == "NSM":
                last = end
            end += 1
        parts.append(_turned(_joined(text[place : last + 1])))
        place = last + 1
    return "".join(parts)


def _turned(text: str) -> str:
    clusters = re.findall(r"\d+(?:[.,/:]\d+)*|.[\u0300-\u036f\u0591-\u05c7\u064b-\u065f\u0670]*", text, re.DOTALL)
    return "".join(
        cluster if _NUMBER.fullmatch(cluster) else cluster.translate(_MIRRORED) for cluster in reversed(clusters)
    )


@cache
def _forms() -> dict[str, dict[str, str]]:
    """Of each letter (or lam with alef) its forms: isolated, final, initial, medial, as far as it has them."""
    found: dict[str, dict[str, str]] = {}
    for code in (*range(0xFB50, 0xFDFC), *range(0xFE80, 0xFEFD)):
        kind, *letters = unicodedata.decomposition(chr(code)).split()[:3] or [""]
        plain = "".join(chr(int(letter, 16)) for letter in letters)
        is_wanted = len(plain) == 1 or (
            len(plain) == 2 and plain[0] == "\u0644" and plain[1] in "\u0622\u0623\u0625\u0627"
        )
        if kind in ("<isolated>", "<final>", "<initial>", "<medial>") and is_wanted:
            found.setdefault(plain, {})[kind.strip("<>")] = chr(code)
    return found


def _joined(text: str) -> str:
    forms = _forms()
    letters = re.findall("\u0644[\u0622\u0623\u0625\u0627]|.", text, re.DOTALL)
    # Vowel signs stand on a letter, and let its neighbours join past them.
    places = [place for place, letter in enumerate(letters) if unicodedata.bidirectional(letter[0]) != "NSM"]
    found = list(letters)
    for before, place, after in zip([None, *places], places, [*places[1:], None], strict=False):
        own = forms.get(letters[place], {})
        # A letter joins with the next one if it can begin a word, with the one before if it can end it.
        is_joined_before = "final" in own and before is not None and "initial" in forms.get(letters[before], {})
        is_joined_after = "initial" in own and after is not None and "final" in forms.get(letters[after], {})
        kind = _FORM[is_joined_before, is_joined_after]
        found[place] = own.get(kind, letters[place])
    return "".join(found)


_FORM = {(False, False): "isolated", (True, False): "final", (False, True): "initial", (True, True): "medial"}
