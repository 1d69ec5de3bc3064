"""One line per log record, with the request's id: as text, its traceback indented below it, or as a JSON object.

Nothing that a client or a provider wrote can fake a second record: line breaks in a message are escaped, and no line of
a traceback, whatever the exception says, begins where a record does. JSON escapes both.
"""

from __future__ import annotations

import contextvars
import json
import logging
import re
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from synapscale.common import tracing
from synapscale.common.masking import masked, masked_all

_BREAKS = re.compile("[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]")
"""What some reader of a log takes for the end of a line."""

request_id: contextvars.ContextVar[str] = contextvars.ContextVar("request_id", default="-")
_caller: contextvars.ContextVar[dict[str, str] | None] = contextvars.ContextVar("caller", default=None)
"""What becomes known of a request on its way. One dict for all of its threads and tasks, whose contexts are copies."""


def begin_request() -> contextvars.Token[dict[str, str] | None]:
    """Nothing is known yet of who is calling. What it gives back ends the request, where its thread goes on to others."""
    return _caller.set({})


def end_request(begun: contextvars.Token[dict[str, str] | None]) -> None:
    """Whatever is logged from here on is not of this request."""
    _caller.reset(begun)


def note_workspace(workspace_id: Any) -> None:
    """The workspace that this request is for, from its authentication on."""
    if (known := _caller.get()) is not None:
        known["workspace_id"] = str(workspace_id)


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


class JSONFormatter(logging.Formatter):
    """One object per line, in ASCII: ``timestamp`` (UTC), ``level``, ``logger``, ``message``, ``request_id``, and where there
    is one ``workspace_id``, ``trace_id`` and ``exception``.
    """

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, Any] = {
            "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            "request_id": request_id.get(),
            **(_caller.get() or {}),
        }
        if trace_id := tracing.trace_id():
            entry["trace_id"] = trace_id
        if record.exc_info and (error := record.exc_info[1]) is not None:
            entry["exception"] = list(_chain(error))
        # Before it is written as JSON: an escaped “\\n” before a key would look like a part of it.
        return json.dumps(masked_all(entry))


def _chain(error: BaseException) -> Iterator[dict[str, Any]]:
    """The error and what led to it: kinds and places. What they said is left out, it may repeat what somebody wrote."""
    seen: set[int] = set()
    following: BaseException | None = error
    while following is not None and id(following) not in seen:
        seen.add(id(following))
        frames = traceback.extract_tb(following.__traceback__)
        yield {
            "type": f"{type(following).__module__}.{type(following).__qualname__}",
            "frames": [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames],
        }
        following = following.__cause__ or (None if following.__suppress_context__ else following.__context__)
