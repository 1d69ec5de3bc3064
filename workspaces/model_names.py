"""Model names in workspace rules are checked by whoever knows models: ``llm`` registers here, from above."""

from __future__ import annotations

from collections.abc import Callable, Iterable

_unknown: Callable[[Iterable[str]], list[str]] | None = None


def register(unknown: Callable[[Iterable[str]], list[str]]) -> None:
    """``unknown(names)`` returns those of ``names`` (each ``provider/name``) that no model has."""
    global _unknown
    _unknown = unknown


def unknown(names: Iterable[str]) -> list[str]:
    return _unknown(names) if _unknown else []


def complaints(names: Iterable[str]) -> list[str]:
    """A line for each of ``names`` that no model has."""
    return [f"There is no model “{name}”." for name in unknown(names)]
