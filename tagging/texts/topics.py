"""What a text in English or Portuguese is about. ``fixtures/README.md`` says how the weights were made, and how good they are."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable
from functools import cache
from math import exp, sqrt
from pathlib import Path

from tagging.texts.guess import Guess
from tagging.texts.prose import without_addresses
from tagging.texts.words import Lexicon, pieces_of, words_of

TOPICS = (
    "science-and-technology",
    "travel-and-places",
    "politics",
    "sports",
    "health",
    "entertainment",
    "programming",
    "business-and-finance",
)
WEIGHTS = Path(__file__).parent / "data" / "topics.json.gz"


class Model:
    """Logistic regression over pieces of words and the lexicon, with naive Bayes over the same pieces on top."""

    def __init__(self, weights: dict, lexicon: Lexicon) -> None:
        self._bias: list[float] = weights["bias"]
        self._of_lexicon: list[list[float]] = weights["lexicon"]
        # Of each piece: its rarity, then for each topic the weight times that rarity, then the one of naive Bayes.
        self._of_pieces: dict[str, list[float]] = weights["pieces"]
        self._temperature: float = weights["temperature"]
        self._lexicon = lexicon

    def scores(self, words: set[str]) -> list[float] | None:
        """One score per topic; None where no word of the lexicon is among ``words``."""
        counts = self._lexicon.counts(words)
        if not any(counts):
            return None
        known = [self._of_pieces[piece] for piece in sorted(pieces_of(words)) if piece in self._of_pieces]
        length = sqrt(sum(row[0] ** 2 for row in known)) or 1.0
        size = len(self._bias)
        scores = []
        for topic, bias in enumerate(self._bias):
            linear = sum(row[1 + topic] for row in known) / length
            bayes = sum(row[1 + size + topic] for row in known)
            lexicon = sum(count * row[topic] for count, row in zip(counts, self._of_lexicon, strict=True))
            scores.append((bias + linear + bayes + lexicon) / self._temperature)
        return scores


def topic_of(text: str) -> Guess | None:
    """Which of ``TOPICS`` ``text`` is about; None where no word speaks for any."""
    scores = _model().scores(words_of(without_addresses(text)))
    if scores is None:
        return None
    best = max(range(len(scores)), key=scores.__getitem__)
    return Guess.of(TOPICS[best], 1 / _total(score - scores[best] for score in scores))


def _total(differences: Iterable[float]) -> float:
    return sum(exp(difference) for difference in differences)


@cache
def _model() -> Model:
    # Twice at once is harmless: both loads give the same, and the later one is let go.
    return Model(json.loads(gzip.decompress(WEIGHTS.read_bytes())), Lexicon.shipped())
