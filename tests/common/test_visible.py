"""What can't be seen is shown as a sign, and nothing else is touched."""

from __future__ import annotations

import unicodedata

import pytest

from synapscale.common.visible import visible, visible_json, visible_page

SIGNS = {
    "\x00": "[U+0000]",
    "\x07": "[U+0007]",
    "\x1b[31m": "[U+001B][31m",
    "\x7f": "[U+007F]",
    "\x85": "[U+0085]",
    "\u061c": "[U+061C]",
    "\u200b": "[U+200B]",
    "\u200f": "[U+200F]",
    "\u202egpj.exe": "[U+202E]gpj.exe",
    "\u2066\u2069": "[U+2066][U+2069]",
    "\ufeff": "[U+FEFF]",
    "over\rwritten": "over[U+000D]written",
}
TEXTS = ["", "two\nlines\r\nand\ta tab", "“quoted” – 漢字 שלום مرحبا नमस्ते", "👩‍👩‍👧 and ❤️", "می‌خواهم", "a\u00a0b"]
"""Nothing is hidden in these; emoji and Persian need their joiners."""


@pytest.mark.parametrize(("text", "shown"), SIGNS.items(), ids=map(ascii, SIGNS))
def test_what_can_not_be_seen_is_shown(text: str, shown: str) -> None:
    assert visible(f"a{text}b") == f"a{shown}b"


@pytest.mark.parametrize("text", TEXTS, ids=map(ascii, TEXTS))
def test_what_can_be_seen_stays(text: str) -> None:
    assert visible(text) == text


def test_no_control_and_no_bidi_character_is_forgotten() -> None:
    left = [chr(code) for code in range(0x11_0000) if visible(chr(code)) == chr(code)]
    bidi = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}

    assert [sign for sign in left if unicodedata.category(sign) == "Cc"] == ["\t", "\n"]
    assert [sign for sign in left if unicodedata.bidirectional(sign) in bidi] == []


def test_in_a_page_what_a_form_sends_back_stays_what_it_is() -> None:
    page = (
        '<p title="\u202e">\x1b</p><input name="a" value="\u202e"><textarea name="b">\nx\u202e</textarea >'
        '<option value="1">\u202e</option><INPUT value="\x07">\u200b'
    )
    assert visible_page(page) == (
        '<p title="[U+202E]">[U+001B]</p><input name="a" value="\u202e"><textarea name="b">\nx\u202e</textarea >'
        '<option value="1">[U+202E]</option><INPUT value="\x07">[U+200B]'
    )


def test_in_json_the_texts_are_shown_and_all_else_stays() -> None:
    text = r'{"results": [{"id": 1, "text": "a\u202eb", "\\u202e": null}], "more": false}'
    assert visible_json(text) == r'{"results": [{"id": 1, "text": "a[U+202E]b", "\\u202e": null}], "more": false}'
