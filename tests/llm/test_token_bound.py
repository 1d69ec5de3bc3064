"""``most_tokens``: no vocabulary makes more tokens of a text, and ordinary prose is not held for several times its price."""

from __future__ import annotations

import time
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from llm.token_bound import most_tokens

PROSE = (
    "Congress shall make no law respecting an establishment of religion, or prohibiting the free exercise thereof; or "
    "abridging the freedom of speech, or of the press; or the right of the people peaceably to assemble, and to "
    "petition the Government for a redress of grievances."
)

# The most tokens that cl100k, o200k, Llama 3 and 4, DeepSeek V4, Qwen 2 and 3.6, Mistral's Tekken and Claude 2 make of
# a text, as measured. Those of letters alone were searched for: there are none that are worse.
MEASURED = [
    ("prose", PROSE, 59),
    ("digits, one by one (Qwen)", "31415926535897932384626433832795028841971693993751", 50),
    ("floats (Qwen)", "[0.1344, 0.8474, 0.7638, 0.2551, 0.4954, 0.4495, 0.6516, 0.7887]", 64),
    ("base64 (Tekken)", "jC4HGIIs5Hyox0EH5myw5LKz9NWNgspjhtLJbnYOgZuFySTDWXFkxKYFigCy", 45),
    ("any ASCII (Tekken)", 'Vy}t.dE323@(1M^rS}3&sU")tIt]sWB2R*?cn=}BfG}|#S#\\oCA."#O.4ZvP', 51),
    ("letters (cl100k)", "uylmub" * 8, 32),
    ("letters (o200k)", "dbrpocnmsdys" * 4, 32),
    ("letters (DeepSeek)", "trmeyuoynmmr" * 4, 32),
    ("words (Claude 2)", " uee" * 12, 36),
    ("rare letters (cl100k)", "zqjv" * 12, 48),
    ("capitals (cl100k)", "MhjCduVcUyfKLaTvepOduUSeZjWk", 23),
    ("letters off the common ones (Tekken)", "hgwfkvjz", 7),
    ("Gothic (cl100k)", "𐌰𐌱𐌲𐌳𐌴", 20),
    ("rare characters (Llama 4)", "𠀀𠀁", 8),
    ("a ligature of 18 letters (Claude 2)", "ﷺ", 15),
    ("control characters", "\x01\x02\x03\x04\x05\x06\x07\x08", 8),
]


@pytest.mark.parametrize(("text", "tokens"), [pytest.param(text, most, id=name) for name, text, most in MEASURED])
def test_no_vocabulary_makes_more_of_it(text: str, tokens: int) -> None:
    assert tokens <= most_tokens(text)


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", 0),
        ("a", 1),
        ("an", 1),
        ("ant", 2),
        ("ante", 3),
        ("antes", 3),
        ("Hello", 3),
        (" Hello", 4),
        ("hello", 4),  # no vocabulary need know “he”
        (" an", 2),
        ("an an", 3),
        ("  an", 3),
        ("AN", 2),
        ("aBa", 3),
        ("0000", 4),
        ("\n\n", 2),
        ("é", 2),
        ("日", 3),
        ("😀", 4),
        ("\ud800", 3),
        ("ﷺ", 33),
        ("uylmub" * 8, 32),  # as many as there are
        (" uee" * 12, 36),
    ],
)
def test_by_hand(text: str, tokens: int) -> None:
    assert most_tokens(text) == tokens


def test_prose_is_held_at_three_quarters_of_a_token_per_byte() -> None:
    assert most_tokens(PROSE) == 195
    assert 195 / len(PROSE) < 0.75


KNOWN = {a + b for a in "aeioubcdlmnprsty " for b in "aeioubcdlmnprsty" if a + b != "  "}
KNOWN |= {a + b for a in "BCDGHLMNPSTV" for b in "aeiou"} | {" " + capital for capital in "BCDGHLMNPSTV"}


def most_by_trying(text: str) -> int:
    """The most tokens that any vocabulary with the known pairs could make of an ASCII text.

    It cuts the text into tokens so that of no known pair both are tokens by themselves, and no token ends in a space
    behind a letter. The best cut, by the length of the last token.
    """
    ends: list[dict[int, int]] = [{0: 0}]
    for end in range(1, len(text) + 1):
        best: dict[int, int] = {}
        for size in (1, 2, 3):
            if size > end or (size > 1 and " " in text[end - size + 1 : end]):
                continue
            is_known = size == 1 and text[end - 2 : end] in KNOWN
            before = [count for last, count in ends[end - size].items() if not (is_known and last == 1)]
            if before:
                best[size] = max(before) + 1
        ends.append(best)
    return max(ends[-1].values())


@given(st.text("aetnsry BHTzqhX\n.0", max_size=30))
@example("")
@example("antBan")
@example("a Ban an")
@example("TaTaTa")
def test_it_bounds_every_vocabulary_that_knows_the_pairs(text: str) -> None:
    assert most_by_trying(text) <= most_tokens(text) <= len(text)


@given(st.text("aetnsry .", max_size=40))
def test_of_letters_and_spaces_it_is_the_least_such_bound(text: str) -> None:
    assert most_tokens(text) == most_by_trying(text)


@given(st.text(max_size=60), st.text(max_size=60))
def test_more_text_never_has_fewer_tokens(text: str, more: str) -> None:
    apart = most_tokens(text) + most_tokens(more)
    # One more at the most: the halves of a word that is cut in two are counted as joined by themselves.
    assert most_tokens(text) <= most_tokens(text + more) <= apart + 1


@given(st.text(st.characters(blacklist_categories=["Cs"]), max_size=60))
def test_never_more_than_the_bytes_of_the_text_or_of_its_normal_form(text: str) -> None:
    longest = sum(
        max(len(form.encode()) for form in (one, *(unicodedata.normalize(form, one) for form in ("NFC", "NFKC"))))
        for one in text
    )
    assert most_tokens(text) <= longest


@pytest.mark.parametrize(
    "text", [PROSE * 7500, "0" * 2_000_000, "所有幸福的家庭，都是相似的" * 50_000], ids=["prose", "digits", "CJK"]
)
def test_two_megabytes_take_no_time(text: str) -> None:
    most_tokens("，")  # the table is made once
    started = time.process_time()
    most_tokens(text)
    assert time.process_time() - started < 0.1
