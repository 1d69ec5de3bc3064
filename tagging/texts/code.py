"""Whether a text has source code in it, by the look of its lines."""

from __future__ import annotations

import re

MOST_CHARACTERS = 20_000
_FENCE = re.compile(r"^ {0,3}(?:```|~~~)", re.MULTILINE)
# A line that no prose has, whatever the language around it. Every run is bounded.
_LINES = (
    r"(?:async )?def \w{1,80}\(.{0,300}\)(?: ?-> ?.{1,100})?:",  # Python
    r"class \w{1,80}(?:\([\w., =]{0,200}\))?:$",
    r"(?:from [\w.]{1,100} import [\w*]|import [\w.]{1,100}(?: as \w{1,40})?;?$)",
    r"(?:if|elif|for|while|with|except) .{1,300}[\])=\w]:$(?=\n[ \t]{2,}\S)",
    r"(?:export |default |async ){0,3}function\*? ?\w{0,80}\(.{0,300}\) ?\{?",  # JavaScript
    r"(?:export )?(?:const|let|var) [\w{},\[\] ]{1,120}(?:: ?[\w<>\[\]|]{1,80})? ?= ?(?:.{0,200}[(\[{'\"`;]|[\w.]{1,80}$)",
    r"(?:import|export) .{1,200} from ['\"]",
    r"(?:public|private|protected) (?:static |final |abstract |async )*[\w<>\[\], ]{1,100}(?:\(.{0,300}\) ?|[;{=])",  # Java, C#
    r"#include ?[<\"][\w./]{1,100}[>\"]",  # C
    r"(?:int|void|char|float|double|bool|auto|size_t) \**\w{1,80} ?(?:=|;|\(.{0,200}\) ?[{;])",
    r"func (?:\(\w{1,40} \*?\w{1,80}\) )?\w{1,80}\(.{0,300}\{",  # Go
    r"\w{1,40}(?:, \w{1,40})? := \S",
    r"(?:pub )?(?:fn \w{1,80}[<(]|struct \w{1,80} ?\{|impl[ <].{1,100}\{|use [\w:]{1,100};)",  # Rust
    r"(?:SELECT|select) .{1,300} (?:FROM|from) [\w.\"]{1,100}(?:;|$| (?:WHERE|where|JOIN|join|ORDER|order|LIMIT|limit) )",  # SQL
    r"(?:INSERT INTO [\w.\"]{1,100} ?\(|UPDATE [\w.\"]{1,100} SET |(?:CREATE|ALTER|DROP) TABLE )",
    r"<(?:!DOCTYPE html|\?php|\?xml|/?(?:html|head|body|div|span|script|table|form|ul|li|input)(?: [^>\n]{0,300})?/?>)",
    r"#!/\S{1,80}",  # shell
    r"\$ (?:git|npm|pip|cd|ls|sudo|docker|curl|python3?|make) ",
    r"Traceback \(most recent call last\):",
    r"[\w.\[\]]{1,80}\(.{0,300}\);$",  # a call as a statement
    r"(?:return|throw|raise) .{0,300};$",
    r"[\w.]{1,80} ?(?:=|\+=|-=) ?(?:\w[\w.]{0,80}\(.{0,300}\)|\[.{0,300}\]|\{.{0,300}\}|['\"].{0,300}['\"]);?$",
    r"\}? ?(?:else|catch ?\(.{0,100}\)|finally) ?\{$",
    r"(?:if|for|while|switch) ?\(.{1,300}\) ?\{",
)
_SOURCE = re.compile("|".join(rf"(?:{line})" for line in _LINES), re.MULTILINE)


def has_code(text: str) -> bool:
    """Whether the beginning of ``text`` has a fenced block, or a line that can only be source.

    Inline code between single backticks does not count: a name in a sentence is prose.
    """
    text = text[:MOST_CHARACTERS]
    if _FENCE.search(text):
        return True
    # Matched at the beginning of a line only, so that the time is lines times patterns.
    return any(_SOURCE.match(text, start) for start in _starts(text))


def _starts(text: str) -> list[int]:
    return [match.end() for match in re.finditer(r"^[ \t]{0,40}(?:>>> )?(?=\S)", text, re.MULTILINE)]
