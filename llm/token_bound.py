"""How many tokens a text can have at most, whatever the vendor's vocabulary. Holds are made of this.

A token of the vendors' tokenizers (byte-level BPE) is one or more bytes, so a text has at most as many tokens as bytes.
Digits, base64, rare scripts and made-up words come close to that, so only what can be proved is taken off: a tokenizer
joins two neighbours whenever their pair is in its vocabulary, so of a known pair not both are tokens by themselves. The
pairs used here are in every vocabulary that was looked at. ``docs/adr/0008-what-a-hold-covers.md`` has the measurements.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from functools import cache

# Any two of these lower-case letters in a row, a space before any of them, and any of these capitals before a vowel.
_VOWELS, _CONSONANTS, _CAPITALS = b"aeiou", b"bcdlmnprsty", b"BCDGHLMNPSTV"


def _kinds() -> bytes:
    table = bytearray(b"." * 256)
    for letters, kind in ((_VOWELS, b"v"), (_CONSONANTS, b"l"), (_CAPITALS, b"c"), (b" ", b" ")):
        for letter in letters:
            table[letter] = kind[0]
    return bytes(table)


_KINDS = _kinds()
_AS_LETTERS = bytes.maketrans(b"Cv", b"ll")


def most_tokens(text: str) -> int:
    """The most tokens ``text`` can have. Linear, some 15 ms per megabyte."""
    data = text.encode(errors="surrogatepass")
    return len(data) + _growth(text) - _joined(data)


def _joined(data: bytes) -> int:
    """How many bytes are certainly not the beginning of a token.

    In a chain of known pairs a token of two bytes takes care of three pairs at the most (its own, and the one on each
    side of it), so of n bytes in a chain at least (n + 1) // 3 are joined to the one before.
    """
    kinds = data.translate(_KINDS)
    # A capital begins a chain where no letter of a chain stands before it: one token could take care of both.
    kinds = kinds.replace(b"cv", b"Cv").replace(b"lC", b"l.").replace(b"vC", b"v.").translate(_AS_LETTERS)
    # A space begins one too; no token ends in a space behind a letter.
    chains = kinds.replace(b" l", b".ll").replace(b"lll", b"3")
    return chains.count(b"3") + chains.count(b"ll")


def _growth(text: str) -> int:
    """By how many bytes ``text`` can grow before it is cut into tokens: some vendors normalise it first."""
    if text.isascii() or unicodedata.is_normalized("NFKC", text):
        return 0
    growing, by = _growing()
    return sum(by[character] * count for character, count in Counter(growing.findall(text)).items())


@cache
def _growing() -> tuple[re.Pattern[str], dict[str, int]]:
    """The characters that normalising makes longer, like the ligature U+FDFA (18 letters), and by how many bytes."""
    by = {}
    # Further up, beyond the musical and the enclosed symbols, none grows.
    for code in (*range(0x80, 0xD800), *range(0xE000, 0x1F300)):
        character = chr(code)
        forms = (unicodedata.normalize("NFC", character), unicodedata.normalize("NFKC", character))
        growth = max(len(form.encode()) for form in forms) - len(character.encode())
        if growth > 0:
            by[character] = growth
    return re.compile(f"[{''.join(by)}]"), by
