"""In which language a text is written, by py3langid: naive Bayes over byte n-grams, its model in the package."""

from __future__ import annotations

from functools import cache
from threading import Lock
from typing import TYPE_CHECKING

from tagging.texts.guess import Guess
from tagging.texts.prose import prose_of

if TYPE_CHECKING:
    # Some 100 MB at the peak, for the model and numpy, and half a second: only a process that asks pays for it.
    from py3langid.langid import LanguageIdentifier

FEWEST_LETTERS = 12
"""Below this a text is anybody's: "ok", "hi", "oi, tudo bem" and "no problem" share their letters with many languages."""
_loading = Lock()


def language_of(text: str) -> Guess | None:
    """The ISO 639-1 code of the language of ``text``; None where there is too little prose to tell."""
    prose = prose_of(text)
    if sum(map(str.isalpha, prose)) < FEWEST_LETTERS:
        return None
    label, probability = _identifier().classify(prose)
    return Guess.of(label, probability)


def _identifier() -> LanguageIdentifier:
    # Two first calls at once would load the model twice; after that, reading it needs no lock: classify changes nothing.
    with _loading:
        return _loaded()


@cache
def _loaded() -> LanguageIdentifier:
    # Some 100 MB at the peak, for the model and numpy, and half a second: only a process that asks pays for it.
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
