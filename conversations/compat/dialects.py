"""The two protocols, each behind the same few functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from conversations.compat import anthropic_reply, anthropic_request, openai_reply, openai_request
from conversations.compat.asking import Request
from conversations.compat.served import Served


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a protocol is read and spoken."""

    read: Callable[[dict[str, Any]], Request]
    answer: Callable[[Served, Request], dict[str, Any]]
    reply: ModuleType
    """Its ``error`` and ``Stream``."""
    overloaded: int
    """The status for a provider that can't answer now."""
    names: Mapping[str, str]
    """What fields of an ``Ask`` are called here."""

    def error(self, body: dict[str, Any], status: int, *, key_source: str = "") -> tuple[dict[str, Any], int]:
        """Our one shape of an error, and its status, as this protocol has them."""
        inner = body["error"]
        status = _status(inner["code"], status, key_source)
        if status == 503 and inner["code"] in _OVERLOADED:
            status = self.overloaded
        shaped = self.reply.error(
            status=status,
            code=inner["code"],
            message=inner["message"],
            details={self.names.get(name, name): value for name, value in inner["details"].items()},
            request_id=inner["request_id"],
        )
        return shaped, status


OPENAI = Dialect(
    read=openai_request.read,
    answer=openai_reply.completion,
    reply=openai_reply,
    overloaded=503,
    names={"llm": "model", "attachments": "messages", "response_schema": "response_format"},
)
ANTHROPIC = Dialect(
    read=anthropic_request.read,
    answer=anthropic_reply.message,
    reply=anthropic_reply,
    overloaded=529,
    names={
        "llm": "model",
        "attachments": "messages",
        "response_schema": "output_config.format",
        "tags": "metadata.tags",
    },
)
_OVERLOADED = frozenset({"provider_rate_limited", "provider_unavailable"})
_WORTH_ANOTHER_TRY = frozenset(
    {
        *("rate_limited", "request_in_progress", "database_unavailable"),
        *("provider_rate_limited", "provider_unavailable", "provider_timeout"),
    }
)


def is_worth_another_try(code: str) -> bool:
    """Whether the same request may succeed soon, and costs nothing twice.

    The SDKs try 409, 429 and everything from 500 again by themselves, unless they are told not to.
    """
    return code in _WORTH_ANOTHER_TRY


def dialect_of(request: Any) -> Dialect:
    """For addresses that both SDKs use: Anthropic's names its version with every request."""
    return ANTHROPIC if request.headers.get("anthropic-version") else OPENAI


def _status(code: str, status: int, key_source: str) -> int:
    """Where the vendors answer with another status than our own API does, so that the SDKs raise what is meant."""
    if code == "provider_authentication_failed" and key_source in {"user", "workspace"}:
        return 401  # the caller's own key is wrong
    if code == "provider_rate_limited" and key_source in {"user", "workspace"}:
        return 429  # and so is this limit the caller's own
    # What a model can't do is a bad request at both vendors.
    return 400 if status == 422 and code != "idempotency_key_reused" else status
