"""One line per log record, with the request's id; line breaks in a message can't fake a second line."""

from __future__ import annotations

import contextvars
import logging

from synapscale.common.masking import masked

request_id: contextvars.ContextVar[str] = contextvars.ContextVar("request_id", default="-")


class LineFormatter(logging.Formatter):
    """``2026-01-31T12:00:00Z INFO conversations.calls [request id] message``"""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s [%(request_id)s] %(message)s", "%Y-%m-%dT%H:%M:%S%z")

    def format(self, record: logging.LogRecord) -> str:
        record.request_id = request_id.get()
        message = masked(super().format(record))
        head, *traceback = message.split("\n") if record.exc_info else [message]
        escaped = head.replace("\r", "\\r").replace("\n", "\\n")
        return "\n".join([escaped, *traceback])
