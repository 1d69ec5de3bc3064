"""Server-sent events: the framing, and a response that proxies pass on at once."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.http import StreamingHttpResponse

HEARTBEAT = b": ping\n\n"
"""A comment line: keeps idle connections open, clients ignore it."""


def event(name: str, data: Any) -> bytes:
    """One event. JSON never contains a raw line break, so one ``data:`` line is enough."""
    body = json.dumps(data, cls=DjangoJSONEncoder, ensure_ascii=False, separators=(",", ":"))
    return f"event: {name}\ndata: {body}\n\n".encode()


def sse_response(events: AsyncIterator[bytes]) -> StreamingHttpResponse:
    response = StreamingHttpResponse(events, content_type="text/event-stream; charset=utf-8")
    response["Cache-Control"] = "no-cache"
    response["X-Accel-Buffering"] = "no"  # nginx would collect the stream
    return response
