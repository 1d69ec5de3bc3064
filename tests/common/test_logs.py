"""Log lines: one per record, whatever a client or a provider wrote."""

from __future__ import annotations

import logging
import sys
from typing import Any

import pytest

from synapscale.common.logs import LineFormatter

FAKE = "2026-01-31T12:00:00+0000 INFO billing.ledger [-] credited"
BREAKS = ["\n", "\r", "\r\n", "\v", "\f", "\x1c", "\x1e", "\x85", "\u2028", "\u2029"]


def line(message: str, *args: Any, error: Exception | None = None, stack: str | None = None) -> str:
    info: Any = None
    if error is not None:
        try:
            raise error
        except Exception:
            info = sys.exc_info()
    record = logging.LogRecord("a.b", logging.ERROR, "", 1, message, args, info, sinfo=stack)
    return LineFormatter().format(record)


def records(text: str) -> list[str]:
    """What a reader takes for the beginnings of records."""
    return [part for part in text.splitlines() if part and not part.startswith("  ")]


@pytest.mark.parametrize("end", BREAKS, ids=repr)
def test_a_line_break_in_a_message_is_escaped(end: str) -> None:
    text = line("said %s", f"this{end}{FAKE}")
    (record,) = records(text)
    assert record.endswith(f"said this{end.encode('unicode_escape').decode()}{FAKE}")


@pytest.mark.parametrize("end", BREAKS, ids=repr)
def test_an_exception_can_not_fake_a_record(end: str) -> None:
    text = line("it failed", error=ValueError(f"bad value{end}{FAKE}"))
    (record,) = records(text)
    assert record.endswith("ERROR a.b [-] it failed")
    assert FAKE in text


def test_neither_can_a_message_that_comes_with_an_exception() -> None:
    assert len(records(line(f"it failed\n{FAKE}", error=ValueError("x")))) == 1


def test_a_traceback_stays_readable() -> None:
    head, *rest = line("it failed", error=ValueError("two\nlines")).split("\n")
    assert head.endswith("it failed")
    assert rest[0] == "  Traceback (most recent call last):"
    assert rest[1].startswith('    File "')
    assert rest[-2:] == ["  ValueError: two", "  lines"]


def test_a_stack_is_indented_too() -> None:
    text = line("here", stack=f"Stack (most recent call last):\n{FAKE}")
    assert len(records(text)) == 1
    assert text.split("\n")[1:] == ["  Stack (most recent call last):", f"  {FAKE}"]
