"""Refusals that clients see, in one shape: ``{"error": {"code", "message", "details", "request_id"}}``."""

from __future__ import annotations

from typing import Any

from django.utils.functional import Promise


class Refusal(Exception):
    """The request can't be done, and nothing was changed. ``code`` is stable; ``details`` is machine-readable."""

    status = 400
    code = "bad_request"

    def __init__(
        self,
        message: str | Promise,
        *,
        code: str = "",
        status: int | None = None,
        details: dict[str, Any] | None = None,
        retry_after: int | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = str(message)  # in the language of whoever is refused
        self.code = code or self.code
        self.status = status or self.status
        self.details = details or {}
        self.retry_after = retry_after
        self.headers = headers or {}


class Forbidden(Refusal):
    status = 403
    code = "permission_denied"


class NotFound(Refusal):
    status = 404
    code = "not_found"


class Conflict(Refusal):
    status = 409
    code = "conflict"


class Unprocessable(Refusal):
    """Well-formed, but not possible with this model, workspace or state."""

    status = 422
    code = "unprocessable"


class InsufficientBalance(Refusal):
    """The wallet does not cover the call. With ``retry_after``, only calls still under way are in the way."""

    status = 402
    code = "insufficient_balance"


class RateLimited(Refusal):
    """Too much within a minute. ``retry_after`` says when it will do, ``headers`` how much is left of what."""

    status = 429
    code = "rate_limited"
