"""Our copies of unfold's templates are copies of the ones that are installed."""

from __future__ import annotations

import hashlib
from pathlib import Path

import unfold

ROOT = Path(__file__).resolve().parent.parent.parent
OURS = ROOT / "templates"
THEIRS = Path(unfold.__file__).parent / "templates"
DIGESTS = Path(__file__).parent / "overridden.txt"
"""One line for each original: its SHA-256 when it was copied, and its name."""


def test_the_originals_are_those_that_were_copied() -> None:
    """If this fails after an upgrade: carry the change over into our copy, then write the new digest down."""
    copied = sorted(
        path.relative_to(OURS) for path in OURS.rglob("*.html") if (THEIRS / path.relative_to(OURS)).exists()
    )
    now = [f"{hashlib.sha256((THEIRS / name).read_bytes()).hexdigest()}  {name}" for name in copied]
    assert now == DIGESTS.read_text().splitlines()
