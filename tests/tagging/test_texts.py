"""Language, topic and code of a text, on real texts: ``tests/data/texts/README.md`` says whose they are."""

from __future__ import annotations

import json
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


class Labelled(NamedTuple):
    text: str
    language: str
    topic: str | None


def labelled(name: str) -> list[Labelled]:
    rows = map(json.loads, (DATA / name).read_text(encoding="utf-8").splitlines())
    return [Labelled(row["text"], row["language"], row.get("topic")) for row in rows]


def right_languages(texts: list[Labelled]) -> int:
    return sum((guess := language_of(t.text)) is not None and guess.label == t.language for t in texts)


def right_topics(texts: list[Labelled]) -> int:
    """Of the texts; a None counts as wrong."""
    return sum((guess := topic_of(t.text)) is not None and guess.label == t.topic for t in texts)


@pytest.mark.parametrize(
    ("language", "texts", "languages", "topics"),
    [("en", 266, 265, 216), ("pt", 247, 244, 198)],
)
def test_texts_of_packages(language: str, texts: int, languages: int, topics: int) -> None:
    of = [t for t in labelled("packages.jsonl") if t.language == language]
    assert len(of) == texts
    assert right_languages(of) == languages > 0.95 * texts
    assert right_topics(of) == topics > 0.80 * texts


def test_texts_of_every_topic_in_both_languages() -> None:
    of = Counter((t.topic, t.language) for t in labelled("packages.jsonl"))
    assert set(of) == {(topic, language) for topic in TOPICS for language in ("en", "pt")}
    assert min(of.values()) >= 15


def test_a_sure_topic_is_mostly_right() -> None:
    sure = [
        (guess.label, t.topic)
        for t in labelled("packages.jsonl")
        if (guess := topic_of(t.text)) is not None and guess.confidence >= Decimal("0.8")
    ]
    assert sum(label == topic for label, topic in sure) > 0.9 * len(sure)


def test_other_languages_are_not_taken_for_english_or_portuguese() -> None:
    of = labelled("other_languages.jsonl")
    assert Counter(t.language for t in of) == {"es": 30, "fr": 30, "de": 29}
    assert right_languages(of) == 89
    assert not [t for t in of if (guess := language_of(t.text)) is not None and guess.label in ("en", "pt")]


@pytest.mark.parametrize(
    "text", ["", "ok", "hi", "oi", "thanks", "sim", "123 456", "https://example.com/a/long/path/to/it", "🙂🙂🙂"]
)
def test_too_little_to_tell_the_language(text: str) -> None:
    assert language_of(text) is None


def test_code_around_prose_does_not_hide_its_language() -> None:
    code = "for value in values:\n    print(value)\n"
    only = f"```python\n{code * 300}```"
    assert language_of(only) is None
    around = language_of(f"{only}\nPor que este laço não imprime nada na tela?")
    assert around is not None
    assert around.label == "pt"
    assert prose_of("run `make test` at https://example.com now").split() == ["run", "at", "now"]


@pytest.mark.parametrize(
    ("text", "topic"),
    [
        ("Quanto custa uma passagem para o Rio de Janeiro?", "travel-and-places"),
        ("fix this python function, it raises a KeyError", "programming"),
        ("como faço um for em javascript?", "programming"),
        ("estou com febre e dor de garganta, o que eu tomo?", "health"),
        ("como declarar imposto de renda de ações?", "business-and-finance"),
    ],
)
def test_a_question_in_a_chat_has_a_sure_topic(text: str, topic: str) -> None:
    guess = topic_of(text)
    assert guess is not None
    assert guess.label == topic
    assert guess.confidence >= Decimal("0.8")


@pytest.mark.parametrize(
    "text", ["", "hello, how are you?", "bom dia pessoal, tudo certo?", "Obrigado, ajudou muito!", "ok"]
)
def test_small_talk_has_no_topic(text: str) -> None:
    assert topic_of(text) is None


CODE = [
    "```\nanything\n```",
    "here it is:\n\ndef total(prices: list[int]) -> int:\n    return sum(prices)",
    "from django.db import models",
    "import numpy as np",
    "for i in range(10):\n    print(i)",
    "const total = prices.reduce((a, b) => a + b, 0)",
    "function add(a, b) {\n  return a + b;\n}",
    "import React from 'react'",
    "public static void main(String[] args) {",
    "#include <stdio.h>\nint main(void) {\n  return 0;\n}",
    "func main() {\n\tx := 1\n}",
    'fn main() {\n    println!("hi");\n}',
    "SELECT id, name FROM users WHERE id = 3",
    "CREATE TABLE users (id integer)",
    '<div class="a">hello</div>',
    "#!/bin/bash\necho hi",
    "$ git push origin main",
    'Traceback (most recent call last):\n  File "a.py", line 1',
    "console.log(pets[0]);",
    "if (a > b) {",
]
PROSE = [
    "",
    "Please select a gift from the list, and update the table for me.",
    "Selecione um presente da lista e atualize a mesa para mim.",
    "If you go there, take these things with you:\n- water\n- food",
    "For the record: I was there.",
    "import taxes are too high this year",
    "importar da China ficou caro",
    "from Lisbon we took a train to Porto",
    "Class starts at nine.",
    "The function of the heart (in brief) is to pump blood.",
    "return the book to the library; it is late",
    "let us go then, you and I",
    "let x = the number of apples you have, he said",
    "public transport in Lisbon is good",
    "use `git push` to send it",
    "2 + 2 = 4, and a = b means they are the same",
    "while we wait: a joke",
    "Com a palavra o presidente (aplausos);",
]


@pytest.mark.parametrize("text", CODE)
def test_code(text: str) -> None:
    assert has_code(text)


@pytest.mark.parametrize("text", PROSE)
def test_prose_is_no_code(text: str) -> None:
    assert not has_code(text)


def test_prose_of_real_texts_is_no_code() -> None:
    of = [t for t in labelled("packages.jsonl") if t.topic == "business-and-finance"] + labelled(
        "other_languages.jsonl"
    )
    assert [t.text for t in of if has_code(t.text)] == []


ANY_TEXT = st.text() | st.text(alphabet="`~\n\t\0 .@:/(){}=;aé\u0301\ud800", max_size=200)


@given(ANY_TEXT, st.sampled_from([1, 1, 1, 50_000]))
def test_any_input_is_answered(text: str, times: int) -> None:
    text = (text * times)[:1_000_000]
    assert has_code(text) in (True, False)
    for guess in (language_of(text), topic_of(text)):
        assert guess is None or 0 <= guess.confidence <= 1
    topic = topic_of(text)
    assert topic is None or topic.label in TOPICS


@given(st.floats(allow_nan=False))
def test_a_confidence_is_a_decimal_of_three_places(probability: float) -> None:
    confidence = Guess.of("en", probability).confidence
    assert 0 <= confidence <= 1
    assert confidence.as_tuple().exponent == -3
