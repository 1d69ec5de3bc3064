"""The words of a text as the topics see them: pieces of words, and words that a curated lexicon has."""

from __future__ import annotations

import re
import unicodedata
from math import log1p
from pathlib import Path

PREFIXES = (4, 6)
"""Letters of a word that are kept. It stands in for a stemmer, and lets kin share ("politics", "política", "politicians")."""
_WORD = re.compile(r"[a-z]{2,24}")
_LEXICON = Path(__file__).parent / "data" / "lexicon.txt"


def words_of(text: str) -> set[str]:
    """The different words of ``text``, in lower case and without accents, which chats often leave out."""
    decomposed = unicodedata.normalize("NFKD", text.lower())
    return set(_WORD.findall("".join(c for c in decomposed if not unicodedata.combining(c))))


def pieces_of(words: set[str]) -> set[str]:
    """The beginnings of ``words``, each with its length, as the weights know them."""
    return {f"{length}{word[:length]}" for word in words if len(word) > 2 for length in PREFIXES}


class Lexicon:
    """Words that speak for a topic; ``data/lexicon.txt`` says how it is written."""

    def __init__(self, text: str) -> None:
        self.topics: list[str] = []
        self._whole: dict[str, set[int]] = {}
        self._begin: dict[str, set[int]] = {}
        for line in text.splitlines():
            if line.startswith("["):
                self.topics.append(line.strip("[]"))
            elif line and not line.startswith("#"):
                self._add(len(self.topics) - 1, line.partition(":")[2].split())

    @classmethod
    def shipped(cls) -> Lexicon:
        return cls(_LEXICON.read_text(encoding="utf-8"))

    def _add(self, topic: int, entries: list[str]) -> None:
        for entry in entries:
            if entry.endswith("*"):
                self._begin.setdefault(entry[:-1], set()).add(topic)
            else:
                for form in (entry, f"{entry}s", f"{entry}es"):
                    self._whole.setdefault(form, set()).add(topic)

    def _topics_of(self, word: str) -> set[int]:
        found = set(self._whole.get(word, ()))
        for end in range(2, len(word) + 1):
            found |= self._begin.get(word[:end], set())
        return found

    def counts(self, words: set[str]) -> list[float]:
        """For each topic the logarithm of 1 + its words among ``words``; a word of several topics is shared out."""
        counts = [0.0] * len(self.topics)
        # Sorted, because the sum of floats depends on the order, and that of a set on the process.
        for word in sorted(words):
            found = self._topics_of(word)
            for topic in found:
                counts[topic] += 1 / len(found)
        return [log1p(count) for count in counts]
