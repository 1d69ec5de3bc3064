"""The wire formats of the three families of provider, written down once for the stand-ins.

A family's module turns a neutral :class:`Behaviour` into what that vendor's server would send: one JSON document for a
plain answer, a count or a list of models, or the server-sent events of a streamed answer. The shapes follow the
vendors' own SDK types.
"""

from __future__ import annotations

from typing import Any

from tests.providers import wire_anthropic, wire_google, wire_openai
from tests.providers.behaviour import FAULTS, Behaviour, sse

__all__ = ["COUNT", "FAULTS", "MODELS", "RENDER", "STREAM", "Behaviour", "error_body", "error_event"]

RENDER = {"openai": wire_openai.render, "anthropic": wire_anthropic.render, "google": wire_google.render}
STREAM = {"openai": wire_openai.stream, "anthropic": wire_anthropic.stream, "google": wire_google.stream}
MODELS = {"openai": wire_openai.models, "anthropic": wire_anthropic.models, "google": wire_google.models}
COUNT = {"anthropic": wire_anthropic.count, "google": wire_google.count}


def error_body(vendor: str, status: int, *, code: str = "", message: str = "") -> dict[str, Any]:
    """An error document in the vendor's shape."""
    message = message or "Something went wrong."
    if vendor == "anthropic":
        error = {"type": code or "api_error", "message": message}
        return {"type": "error", "error": error, "request_id": "req_err"}
    if vendor == "google":
        return {"error": {"code": status, "message": message, "status": code or "UNKNOWN"}}
    return {"error": {"message": message, "type": code or "server_error", "param": None, "code": code or None}}


def error_event(vendor: str, body: Any) -> bytes:
    """The error as it comes in the middle of a stream."""
    return sse(body, "error" if vendor == "anthropic" else "")
