"""The README says what is so."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def test_every_setting_is_in_the_table() -> None:
    source = (ROOT / "synapscale" / "settings.py").read_text()
    read = set(re.findall(r"""(?:env|env_bool|env_int|env_decimal|env_list|environ\.get)\(\s*"([A-Z_]+)\"""", source))
    table = (ROOT / "README.md").read_text().partition("## Settings")[2].partition("\n## ")[0]
    named = set(re.findall(r"`([A-Z_]+)`", table))
    assert len(read) > 25
    assert sorted(read - named) == []
