"""Text for PDFs: whatever people wrote, in fonts that have its letters, with nothing in it that acts on the page."""

from __future__ import annotations

import unicodedata
from functools import cache
from itertools import groupby
from pathlib import Path
from xml.sax.saxutils import escape

from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.cidfonts import UnicodeCIDFont
from reportlab.pdfbase.ttfonts import TTFont

from office.rtl_text import as_painted

REGULAR, BOLD = "DejaVuSans", "DejaVuSans-Bold"
_FONTS = Path(__file__).parent / "fonts"
_CHINESE, _JAPANESE, _KOREAN = "STSong-Light", "HeiseiKakuGo-W5", "HYGothic-Medium"
"""Fonts that viewers of PDFs bring along: files with all these letters would be larger than the product."""
_MISSING = "\N{REPLACEMENT CHARACTER}"
_JOINERS = frozenset("\u200c\u200d\ufe0e\ufe0f")


@cache
def register_fonts() -> None:
    """Once per process, when the first PDF is made: reading them takes a moment."""
    for name in (REGULAR, BOLD):
        pdfmetrics.registerFont(TTFont(name, _FONTS / f"{name}.ttf"))
    pdfmetrics.registerFontFamily(REGULAR, normal=REGULAR, bold=BOLD, italic=REGULAR, boldItalic=BOLD)
    for name in (_CHINESE, _JAPANESE, _KOREAN):
        pdfmetrics.registerFont(UnicodeCIDFont(name))


def markup(text: str) -> str:
    """``text`` for a Paragraph, shown as it was written. Control and bidi characters, and letters that no font has, show as
    “�”: what is hidden in a name must not go unseen on a statement.
    """
    register_fonts()
    east_asian = _east_asian(text)
    parts = []
    letters = as_painted("".join(map(_visible, text)))
    for font, run_of_letters in groupby(letters, key=lambda letter: _font(letter, east_asian)):
        run = "".join(run_of_letters)
        if font is None:
            parts.append(_MISSING * len(run))
        else:
            parts.append(escape(run) if font == REGULAR else f'<font name="{font}">{escape(run)}</font>')
    return "".join(parts)


def _visible(letter: str) -> str:
    if letter in "\t\n\r":
        return " "
    if letter in _JOINERS:
        return ""
    return _MISSING if unicodedata.category(letter) in {"Cc", "Cf", "Cs", "Zl", "Zp"} else letter


def _font(letter: str, east_asian: str) -> str | None:
    if ord(letter) in _covered():
        return REGULAR
    # These fonts are addressed in 16 bits.
    return east_asian if _is_east_asian(letter) and ord(letter) < 0x10000 else None


@cache
def _covered() -> frozenset[int]:
    """What both of our fonts have."""
    return frozenset.intersection(*(frozenset(pdfmetrics.getFont(name).face.charToGlyph) for name in (REGULAR, BOLD)))


def _is_east_asian(letter: str) -> bool:
    return unicodedata.east_asian_width(letter) in {"W", "F", "H"} and unicodedata.category(letter)[0] in "LNPS"


def _east_asian(text: str) -> str:
    """Which of the fonts: letters that the three share are written a little differently."""
    names = " ".join(unicodedata.name(letter, "") for letter in text if letter > "\u1100")
    if "HANGUL" in names:
        return _KOREAN
    return _JAPANESE if "HIRAGANA" in names or "KATAKANA" in names else _CHINESE
