"""Every text of the back office is translated. `make translations` adds what is new to ``locale/`` and compiles it."""

from __future__ import annotations

import ast
from typing import Any

import pytest
from django.conf import settings
from django.utils import translation

from tests import translations as texts
from tests.translations import MO, PO


def test_every_text_of_the_code_has_its_place() -> None:
    wanted, there = texts.collected().keys(), texts.stored().keys()

    assert wanted - there == set(), "new texts: run `make translations` and translate them"
    assert there - wanted == set(), "texts that are gone: run `make translations`"


def test_every_text_is_translated() -> None:
    assert texts.faults(texts.stored()) == []


def test_the_file_is_as_the_tool_writes_it() -> None:
    assert PO.read_bytes() == texts.as_po(texts.stored())


def test_what_django_reads_is_what_was_translated() -> None:
    assert MO.read_bytes() == texts.as_mo(texts.stored()), "run `make translations`"


def test_django_finds_the_translations() -> None:
    with translation.override("pt-br"):
        assert translation.gettext("Wallets") == "Carteiras"
        plural = translation.ngettext("%(total)s model", "%(total)s models", 2)
        assert [translation.ngettext("%(total)s model", "%(total)s models", number) for number in (0, 1)] == [
            "%(total)s modelo",
            "%(total)s modelo",
        ]
        assert plural == "%(total)s modelos"


def test_no_text_hides_in_an_f_string() -> None:
    """Where the tool that collects them does not look."""
    names = {*texts.KEYWORDS, "_"}
    hidden = [
        f"{path.relative_to(texts.ROOT)}:{call.lineno}"
        for folder in sorted({app.partition(".")[0] for app in settings.OUR_APPS})
        for path in sorted((texts.ROOT / folder).rglob("*.py"))
        for joined in ast.walk(ast.parse(path.read_text()))
        if isinstance(joined, ast.JoinedStr)
        for call in ast.walk(joined)
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in names
        if any(isinstance(given, ast.Constant) and isinstance(given.value, str) for given in call.args)
    ]
    assert hidden == []


def _catalogue(text: Any, string: Any, *, flags: tuple[str, ...] = ()) -> texts.Texts:
    made = texts.empty()
    made.add(text, string, flags=flags)
    return made


@pytest.mark.parametrize(
    ("text", "string", "flags"),
    [
        ("Save", "", ()),
        ("Save", "Salvar", ("fuzzy",)),
        (("%(n)s row", "%(n)s rows"), ("%(n)s linha", ""), ()),
        ("%(name)s is gone.", "%(nome)s se foi.", ()),
        ("%(name)s is gone.", "Se foi.", ()),
        ("{count} rows", "{} linhas", ()),
        ("Give one.", "Informe um", ()),
        ("Really?", "Realmente.", ()),
        (" and ", "e", ()),
    ],
)
def test_what_is_wrong_with_a_translation_is_found(text: Any, string: Any, flags: tuple[str, ...]) -> None:
    assert len(texts.faults(_catalogue(text, string, flags=flags))) == 1


@pytest.mark.parametrize(
    ("text", "string"),
    [("Save", "Salvar"), (("One row", "%(n)s rows"), ("%(n)s linha", "%(n)s linhas")), ("{a} of {b}.", "{b}: {a}.")],
)
def test_a_good_translation_is_let_pass(text: Any, string: Any) -> None:
    assert texts.faults(_catalogue(text, string)) == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("_('a')", [(None, "a")]),
        ("gettext_lazy('a ' 'b')", [(None, "a b")]),
        ("ngettext('%(n)s row', '%(n)s rows', n)", [(None, ("%(n)s row", "%(n)s rows"))]),
        ("pgettext_lazy('verb', 'open')", [("verb", "open")]),
        ("for _ in names: print('a')", []),
    ],
)
def test_texts_are_found_in_code(source: str, found: list[Any]) -> None:
    assert list(texts.in_source(source, is_template=False)) == found


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("<p>\n  {% translate 'a' %}</p>", [(None, "a")]),
        ("{% blocktranslate %}{{ n }} of it{% endblocktranslate %}", [(None, "%(n)s of it")]),
        (
            "  <b>{% blocktranslate count n=n %}a row{% plural %}{{ n }} rows{% endblocktranslate %}</b>\n <i></i>",
            [(None, ("a row", "%(n)s rows"))],
        ),
        ("{{ _('a') }}{% include 'b.html' with c=_('d') %}", [(None, "a"), (None, "d")]),
        ("<p>plain</p>", []),
    ],
)
def test_texts_are_found_in_templates(source: str, found: list[Any]) -> None:
    assert list(texts.in_source(source, is_template=True)) == found
