"""How tags are written: what is one tag, what is none, and what the database says to it."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import IntegrityError, transaction
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tagging import names, vocabulary
from tagging.models import Tag
from tagging.names import NotATag, Pattern, TagName, parse, parse_list, parse_pattern
from tests.people import Person

ODD = st.sampled_from(
    list(" \t\u00a0\u2003\u1680:=,*%_\\/'\"-.#?&|^$[]()aAzZßẞſσςΣİıǅﬁÅåñ９：＝，＊≠日🏷️\u0338\u200b\x00\x1f\x85\ud800")
)
texts = st.text(ODD | st.characters(), max_size=40)
"""Anything, and often what is special to tags, to LIKE, to regular expressions or to Unicode."""
words = st.text(st.sampled_from("abé%_\\'.日"), min_size=1, max_size=6)
in_database = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def parsed(text: str) -> TagName | None:
    try:
        return parse(text)
    except NotATag:
        return None


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("urgent", "urgent", ""),
        ("customer:acme", "customer", "acme"),
        ("customer=acme", "customer", "acme"),
        ("  Customer :  ACME   Ltd ", "customer", "acme ltd"),
        ("topic:a:b=c", "topic", "a:b=c"),
        ("topic:", "topic", ""),
        ("ＴＯＰＩＣ:ﬁne", "topic", "fine"),
        ("model:openai/gpt-4", "model", "openai/gpt-4"),
        ("x" * 64 + ":" + "y" * 128, "x" * 64, "y" * 128),
    ],
)
def test_what_is_a_tag(text: str, name: str, value: str) -> None:
    assert parse(text) == TagName(name, value)


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("", "name"),
        ("   ", "name"),
        (":acme", "name"),
        ("=", "name"),
        ("a,b", "name"),
        ("a*", "name"),
        ("a：b", "name"),  # only a wide colon once it is normalised
        ("a:b,c", "value"),
        ("a:*", "value"),
        ("a\x00", "name"),
        ("a\u200bb", "name"),
        ("a:\u202eb", "value"),
        ("a:\ud800", "value"),
        ("x" * 65, "name"),
        ("a:" + "x" * 129, "value"),
    ],
)
def test_what_is_none(text: str, field: str) -> None:
    with pytest.raises(NotATag) as refused:
        parse(text)
    assert refused.value.field == field


@given(texts)
@example("A\u030a ¨")
@example("ΑΣ ΑΣΑ")
def test_normalising_twice_is_normalising_once(text: str) -> None:
    try:
        once = names.normalised(text)
    except NotATag:
        return
    assert names.normalised(once) == once


@given(texts | words | st.builds("{}:{}".format, words, words))
@example("a:\u0338b")
@example("a=:b")
def test_a_label_writes_the_tag_it_is_the_label_of(text: str) -> None:
    tag = parsed(text)
    if tag is None:  # of the texts that are anything at all, many are no tag; of the others, all are
        return
    assert parse(tag.label) == tag == parse(str(tag))


@given(words, words, st.sampled_from(":="), st.sampled_from(["", " ", " \t", "\u00a0 "]), st.booleans())
def test_two_ways_of_writing_a_tag_are_one_tag(name: str, value: str, separator: str, space: str, shouts: bool) -> None:
    text = f"{space}{name}{space}{separator}{space}{value}{space}"
    assert parse(text.upper() if shouts else text) == TagName(name, value)


@in_database
@given(text=texts)
@example(text="a\n")
@example(text="İ" * 33)
@example(text="ǆ:ẞΣ")
def test_whatever_is_a_tag_the_database_takes_as_well(alice: Person, text: str) -> None:
    tag = parsed(text)
    if tag is None:
        return
    with transaction.atomic():
        stored = Tag.objects.create(workspace=alice.workspace, name=tag.name, value=tag.value)
        stored.refresh_from_db()
        assert (stored.label, str(stored)) == (tag.label, tag.label)
        transaction.set_rollback(True)


@pytest.mark.parametrize("name", ["", " ", "A", "a:b", "a,b", "a*", " a", "a  b", "a\n"])
def test_what_nobody_has_normalised_the_database_refuses(alice: Person, name: str) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        Tag.objects.create(workspace=alice.workspace, name=name)


# --- Patterns ---------------------------------------------------------------------------------------------------------

LABELS = [
    "a",
    "ab",
    "a:b",
    "a:bc",
    "ab:c",
    "a%",
    "a%:b",
    "a_b",
    "axb",
    "a\\b",
    "a\\",
    "é",
    "éa:é",
    "日",
    "a b:c d",
    "%",
    "_",
]


@pytest.fixture
def labels(alice: Person) -> list[str]:
    for label in LABELS:
        tag = parse(label)
        Tag.objects.create(workspace=alice.workspace, name=tag.name, value=tag.value)
    return LABELS


@in_database
@given(text=st.text(st.sampled_from("ab:=%_\\é日c "), max_size=5), is_prefix=st.booleans())
@example(text="a%", is_prefix=True)
@example(text="a_", is_prefix=True)
@example(text="a\\", is_prefix=True)
@example(text="", is_prefix=True)
def test_a_pattern_means_what_begins_like_it(alice: Person, labels: Any, text: str, is_prefix: bool) -> None:
    try:
        pattern = parse_pattern(f"{text}*" if is_prefix else text)
    except NotATag:
        return
    assert pattern.is_prefix == is_prefix
    found = vocabulary.narrowed(Tag.objects.filter(workspace=alice.workspace), [pattern])
    wanted = {one for one in LABELS if (one.startswith(pattern.text) if is_prefix else one == pattern.text)}
    assert set(found.values_list("label", flat=True)) == wanted
    if is_prefix:
        by_value = {one for one in LABELS if pattern.text and parse(one).value.startswith(pattern.text)}
        wanted |= set() if ":" in pattern.text else by_value
        matches = vocabulary.matching(text, workspace_id=alice.workspace.pk, limit=50)
        assert {tag.label for tag in matches} == wanted


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        ("urgent", Pattern("urgent")),
        ("Topic = *", Pattern("topic:", is_prefix=True)),
        ("topic:Py* ", Pattern("topic:py", is_prefix=True)),
        ("cust*", Pattern("cust", is_prefix=True)),
        ("*", Pattern("", is_prefix=True)),
        (" *", Pattern("", is_prefix=True)),
    ],
)
def test_what_is_a_pattern(text: str, pattern: Pattern) -> None:
    assert parse_pattern(text) == pattern
    assert parse_pattern(str(pattern)) == pattern


@pytest.mark.parametrize("text", ["", " ", ":*", " =a*", "a*b*", "**", "a*b", "a,*", "x" * 65 + "*", "a\x00*"])
def test_what_is_no_pattern(text: str) -> None:
    with pytest.raises(NotATag):
        parse_pattern(text)


def test_a_header_parts_tags_by_commas() -> None:
    assert parse_list(" customer:acme ,, urgent,") == ["customer:acme", "urgent"]
    assert names.distinct(["A", "a ", "b:1", "B=1"]) == [TagName("a"), TagName("b", "1")]
