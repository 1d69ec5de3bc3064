"""Language, topic and code of a text, on real texts: ``tests/data/texts/README.md`` says whose they are."""

from __future__ import annotations

import json
import os
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagging.texts.code import has_code
from tagging.texts.guess import Guess
from tagging.texts.language import language_of
from tagging.texts.prose import prose_of
from tagging.texts.topics import TOPICS, topic_of

DATA = Path(__file__).parent.parent / "data/texts"
SIB = os.environ.get("SIB200")
SIB_TOPICS = {"science/technology": "science-and-technology", "travel": "travel-and-places", "geography": "travel-and-places"}
needs_sib = pytest.mark.skipif(not SIB, reason="SIB200 names no folder with the texts of SIB-200")


class Labelled(NamedTuple):
    text: str
    language: str
    topic: str | None


def labelled(name: str) -> list[Labelled]:
    rows = map(json.loads, (DATA / name).read_text(encoding="utf-8").splitlines())
    return [Labelled(row["text"], row["language"], row.get("topic")) for row in rows]


def sib(language: str, folder: str) -> list[Labelled]:
    lines = (Path(SIB or "") / folder / "test.tsv").read_text(encoding="utf-8").splitlines()[1:]
    return [Labelled(text, language, SIB_TOPICS.get(topic, topic)) for _, topic, text in (x.split("\t") for x in lines)]


def right_languages(texts: list[Labelled]) -> int:
    return sum((guess := language_of(t.text)) is not None and guess.label == t.language for t in texts)


def right_topics(texts: list[Labelled]) -> int:
    """Of the texts; a None counts as wrong."""
    return sum((guess := topic_of(t.text)) is not None and guess.label == t.topic for t in texts)


@pytest.mark.parametrize(
    ("language", "texts", "languages", "topics"),
    [("en", 84, 0, 0), ("pt", 82, 0, 0)],
)
def test_texts_of_packages(language: str, texts: int, languages: int, topics: int) -> None:
    of = [t for t in labelled("packages.jsonl") if t.language == language]
    assert len(of) == texts
    assert right_languages(of) == languages > 0.95 * texts
    assert right_topics(of) == topics > 0.80 * texts


@needs_sib
@pytest.mark.parametrize(
    ("language", "folder", "languages", "topics"),
    [("en", "eng_Latn", 0, 0), ("pt", "por_Latn", 0, 0)],
)
def test_texts_of_sib_200(language: str, folder: str, languages: int, topics: int) -> None:
    of = sib(language, folder)
    assert len(of) == 204
    assert right_languages(of) == languages > 0.95 * 204
    assert right_topics(of) == topics


@needs_sib
def test_a_sure_topic_is_mostly_right() -> None:
    sure = [
        (guess.label, t.topic)
        for t in (*sib("en", "eng_Latn"), *sib("pt", "por_Latn"))
        if (guess := topic_of(t.text)) is not None and guess.confidence >= Decimal("0.8")
    ]
    assert sum(label == topic for label, topic in sure) > 0.85 * len(sure)


def test_other_languages_are_not_taken_for_english_or_portuguese() -> None:
    of = labelled("other_languages.jsonl")
    assert Counter(t.language for t in of) == {"es": 30, "fr": 30, "de": 30}
    assert right_languages(of) == 0
    assert not [t for t in of if (guess := language_of(t.text)) is not None and guess.label in ("en", "pt")]
