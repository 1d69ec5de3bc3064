"""The end of every money test: the books are in order."""

from __future__ import annotations

from conversations.audit import audit


def broken() -> dict[str, int]:
    """The invariants that do not hold, and how many rows break each."""
    return {finding.name: finding.count for finding in audit() if not finding.holds}


def assert_clean() -> None:
    assert broken() == {}
