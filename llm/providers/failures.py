"""From a vendor's refusal to our own error: one table for all vendors, and no word of theirs in it.

A provider's error body can repeat part of the key that was sent, so its text is looked at (is it the context window?
the quota?) and then dropped. What remains is the status, the time to wait and the request id.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from llm.errors import (
    ContextLengthExceeded,
    ProviderAuthenticationError,
    ProviderError,
    ProviderModelNotFound,
    ProviderPermissionError,
    ProviderQuotaExhausted,
    ProviderRateLimited,
    ProviderRequestRefused,
    ProviderTimeout,
    ProviderUnavailable,
)


class ResponseTooLargeError(Exception):
    """A response went over the transport's limits, or came compressed although we asked for plain bytes."""


class UnreadableAnswerError(Exception):
    """The provider said 200 and sent something that is no answer."""


@dataclass(frozen=True)
class Refusal:
    """What an error answer says. ``code`` and ``message`` are for detection only and never leave this module."""

    status: int | None
    code: str = field(default="", repr=False)
    message: str = field(default="", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    request_id: str = ""
    retry_after: float | None = None
    """Seconds, where the vendor says it in the body instead of a header."""


# Error types that arrive in the middle of a stream, where the HTTP status is already 200.
STATUS_OF_TYPE = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "timeout_error": 504,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "insufficient_quota": 429,
    "api_error": 500,
    "server_error": 500,
    "overloaded_error": 529,
}

QUOTA_CODES = frozenset({"insufficient_quota", "billing_error", "billing_hard_limit_reached", "billing_not_active"})
QUOTA_TEXT = re.compile(r"credit balance is too low|insufficient balance", re.I)
# Google and xAI answer 400, not 401, to a key they do not know.
KEY_TEXT = re.compile(r"api[ _]key not valid|API_KEY_INVALID|(incorrect|invalid) api[ _]key", re.I)
CONTEXT_CODES = frozenset({"context_length_exceeded", "string_above_max_length"})
CONTEXT_TEXT = re.compile(
    r"maximum context length|maximum prompt length|prompt is too long|context window|exceed(s|ed)? context limit"
    r"|context_length_exceeded|input token count.{0,40}exceeds the maximum",
    re.I | re.S,
)


def classify(refusal: Refusal, provider: str) -> ProviderError:
    """The error that a refusal stands for, with our own text."""
    status = refusal.status
    kind: type[ProviderError]
    if status == 402 or refusal.code in QUOTA_CODES or QUOTA_TEXT.search(refusal.message):
        kind = ProviderQuotaExhausted
    elif status in (400, 413, 422) and (
        refusal.code in CONTEXT_CODES or CONTEXT_TEXT.search(f"{refusal.code} {refusal.message}")
    ):
        kind = ContextLengthExceeded
    elif status == 401 or (status in (400, 403) and KEY_TEXT.search(f"{refusal.code} {refusal.message}")):
        kind = ProviderAuthenticationError
    elif status == 403:
        kind = ProviderPermissionError
    elif status == 404:
        kind = ProviderModelNotFound
    elif status == 408:
        kind = ProviderTimeout
    elif status == 429:
        kind = ProviderRateLimited
    elif status in (400, 413, 415, 422):
        kind = ProviderRequestRefused
    elif status is None or status in (409, 425) or status >= 500:
        kind = ProviderUnavailable
    else:
        kind = ProviderError
    retry_after = retry_after_seconds(refusal.headers)
    return kind(
        provider=provider,
        status_code=status,
        retry_after=refusal.retry_after if retry_after is None else retry_after,
        provider_request_id=refusal.request_id,
    )


def retry_after_seconds(headers: Mapping[str, str], *, now: datetime | None = None) -> float | None:
    """How long the provider asks us to wait: ``retry-after-ms``, or ``Retry-After`` in seconds or as an HTTP date.

    None where it says nothing, or nothing sensible.
    """
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    value = headers.get("retry-after")
    seconds = _number(value)
    if seconds is not None or not value:
        return seconds
    try:
        at = parsedate_to_datetime(value)
    except ValueError:
        return None
    if at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    return max(0.0, (at - (now or datetime.now(UTC))).total_seconds())


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None


def is_caused_by(error: BaseException | None, kind: type[BaseException] | tuple[type[BaseException], ...]) -> bool:
    """Whether ``error`` or anything it was raised from is of that kind: SDKs wrap what the transport raises."""
    return cause_of(error, kind) is not None


def cause_of(
    error: BaseException | None, kind: type[BaseException] | tuple[type[BaseException], ...]
) -> BaseException | None:
    """``error``, or the first that it was raised from, of that kind."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, kind):
            return error
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return None


def text_at(body: object, *path: str) -> str:
    """The text at a path of a decoded error body, or ``""``: bodies come in any shape."""
    for step in path:
        body = body.get(step) if isinstance(body, Mapping) else None
    return body if isinstance(body, str) else ""
