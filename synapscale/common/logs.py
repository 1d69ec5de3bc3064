"""One line per log record, with the request's id, and its traceback indented below it.

Nothing that a client or a provider wrote can fake a second record: line breaks in a message are escaped, and no line of
a traceback, whatever the exception says, begins where a record does.
"""

from __future__ import annotations

import contextvars
import logging
import re
from typing import Any

from synapscale.common.masking import masked

_BREAKS = re.compile("[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]")
"""What some reader of a log takes for the end of a line."""

request_id: contextvars.ContextVar[str] = contextvars.ContextVar("request_id", default="-")


class LineFormatter(logging.Formatter):
    """``2026-01-31T12:00:00Z INFO conversations.calls [request id] message``"""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s [%(request_id)s] %(message)s", "%Y-%m-%dT%H:%M:%S%z")

    def format(self, record: logging.LogRecord) -> str:
        record.request_id = request_id.get()
        return masked(super().format(record))

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 (the base class's name)
        return _BREAKS.sub(_escaped, super().formatMessage(record))

    def formatException(self, ei: Any) -> str:  # noqa: N802
        return _below(super().formatException(ei))

    def formatStack(self, stack_info: str) -> str:  # noqa: N802
        return _below(super().formatStack(stack_info))


def _below(text: str) -> str:
    return "\n".join(f"  {_BREAKS.sub(_escaped, line)}" for line in text.split("\n"))


def _escaped(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode()
