"""One model's turn at answering: what it has written so far, and how it ended."""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from django.utils.translation import gettext_noop

from billing.policy import OWN_KEYS
from conversations.models import Message
from conversations.outcomes import Outcome
from llm import client
from llm.circuits import CIRCUITS
from llm.errors import ProviderAuthenticationError, ProviderError
from llm.types import (
    CallRequest,
    CallResult,
    Credentials,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
    Usage,
    UsageSeen,
)
from synapscale.common import stored_words

logger = logging.getLogger(__name__)
Piece = TextDelta | ThinkingDelta | ToolCallDelta
for _model in ("Message", "UsageLog"):
    # By what ``whose_key`` says, too.
    stored_words.register(
        f"conversations.{_model}.error_message",
        gettext_noop("%(provider)s refused your own key%(ending)s."),
        gettext_noop("%(provider)s refused the workspace's key%(ending)s."),
        gettext_noop("%(provider)s refused the house's key."),
    )
_PATIENCE_SECONDS = 2.0
"""How long to wait for a provider to recover while another model could answer."""


@dataclass(frozen=True, slots=True)
class SoFar:
    """What has arrived until now; read from another thread while more arrives."""

    text: str
    written_bytes: int
    """Of text and tool calls."""
    thought_bytes: int
    seen_usage: Usage | None
    latency_ms: int
    time_to_first_token_ms: int | None

    def as_checkpoint(self) -> dict[str, Any]:
        return {
            "written_bytes": self.written_bytes,
            "thought_bytes": self.thought_bytes,
            "seen_usage": self.seen_usage.as_dict() if self.seen_usage else None,
            "latency_ms": self.latency_ms,
            "time_to_first_token_ms": self.time_to_first_token_ms,
        }


class Try:
    """Calls one model once. ``on_piece`` is called whenever something has arrived."""

    def __init__(
        self, request: CallRequest, credentials: Credentials, *, streams: bool, on_piece: Callable[[], None]
    ) -> None:
        self.request = request
        self.credentials = credentials
        self.streams = streams
        self.pieces: list[Piece] = []
        self.arrived_bytes = 0
        self.may_be_followed = False
        """Whether it failed in a way that another model may not, with nothing to show for it."""
        self._on_piece = on_piece
        self._seen_usage: Usage | None = None
        self._reported_usage: Usage | None = None
        self._started = time.monotonic()
        self._first_token_ms: int | None = None

    @property
    def progress(self) -> tuple[int, Usage | None]:
        """Changes whenever there is something new to save: text, thinking, or usage alone."""
        return self.arrived_bytes, self._seen_usage

    async def run(self, *, has_another: bool) -> Outcome:
        """Call the provider; every way it can end is an Outcome."""
        self._started = time.monotonic()
        patience = _PATIENCE_SECONDS if has_another else None
        try:
            if not self.streams:
                result = await client.complete(self.request, self.credentials, patience=patience)
                self._reported_usage = result.usage
                self._take(TextDelta(result.text))
                return self._finished(result)
            events = client.stream(self.request, self.credentials, patience=patience)
            async with contextlib.aclosing(events) as stream:  # type: ignore[type-var]
                async for event in stream:
                    if isinstance(event, UsageSeen):
                        self._seen_usage = event.usage
                    elif isinstance(event, CallResult):
                        self._reported_usage = event.usage
                        return self._finished(event)
                    else:
                        self._take(event)
            raise ProviderError(gettext_noop("The provider's answer had no end."), provider=self.credentials.provider)
        except ProviderError as error:
            return self._failed(error)
        except Exception as error:
            # A bug of ours in an adapter: the customer's money must not stay held because of it.
            logger.exception("a call to %s failed unexpectedly", self.credentials.provider)
            outcome = self._failed(ProviderError(provider=self.credentials.provider), detail=type(error).__name__)
            return replace(outcome, usage=self._reported_usage)

    def so_far(self) -> SoFar:
        pieces = list(self.pieces)
        return SoFar(
            text="".join(piece.text for piece in pieces if isinstance(piece, TextDelta)),
            written_bytes=sum(_size(piece) for piece in pieces if not isinstance(piece, ThinkingDelta)),
            thought_bytes=sum(_size(piece) for piece in pieces if isinstance(piece, ThinkingDelta)),
            seen_usage=self._seen_usage,
            latency_ms=self._elapsed_ms(),
            time_to_first_token_ms=self._first_token_ms,
        )

    def stopped(self) -> Outcome:
        """The end of a call whose client went away. Its prompt is owed as soon as the provider has reported it."""
        CIRCUITS.release(self.credentials)
        outcome = self._broken_off()
        return replace(
            outcome,
            status=outcome.status if outcome.seen_usage is None else Message.Status.INTERRUPTED,
            error_code="client_disconnected",
            error_message=gettext_noop("The client went away before the answer was complete."),
            http_status=499,
            is_stopped=True,
        )

    def taken_away(self) -> Outcome:
        """The sweeper finished this call in the meantime; settling will find it final."""
        CIRCUITS.release(self.credentials)
        return replace(
            self._broken_off(),
            error_code="interrupted",
            error_message=gettext_noop("The call lost its reservation."),
            http_status=503,
        )

    def given_up(self) -> Outcome:
        """Something of ours broke while the call was under way."""
        CIRCUITS.release(self.credentials)
        return replace(
            self._broken_off(),
            usage=self._reported_usage,
            error_code="internal_error",
            error_message=gettext_noop("Something went wrong on our side."),
            http_status=500,
        )

    def _take(self, piece: Piece) -> None:
        piece = _clean(piece)
        if _is_empty(piece):
            return
        if self._first_token_ms is None:
            self._first_token_ms = self._elapsed_ms()
        self.arrived_bytes += _size(piece)
        self.pieces.append(piece)
        self._on_piece()

    def _elapsed_ms(self) -> int:
        return int((time.monotonic() - self._started) * 1000)

    def _finished(self, result: CallResult) -> Outcome:
        CIRCUITS.record(self.credentials, None)
        state = self.so_far()
        return Outcome(
            status=Message.Status.SENT,
            content=state.text,
            tool_calls=result.tool_calls,
            thinking=result.thinking,
            finish_reason=result.finish_reason,
            stop_sequence=result.stop_sequence,
            usage=result.usage,
            seen_usage=self._seen_usage,
            status_code=result.status_code,
            provider_request_id=result.provider_request_id,
            latency_ms=state.latency_ms,
            time_to_first_token_ms=state.time_to_first_token_ms,
        )

    def _failed(self, error: ProviderError, *, detail: str = "") -> Outcome:
        CIRCUITS.record(self.credentials, error)
        self.may_be_followed = error.is_retryable and not self.pieces
        logger.warning("a call to %s failed: %s %s", error.provider, error.code, detail)
        return replace(
            self._broken_off(),
            error_code=error.code,
            error_message=self._explained(error),
            status_code=error.status_code,
            provider_request_id=error.provider_request_id,
            http_status=self._http_status(error),
            retry_after=_whole_seconds(error.retry_after),
        )

    def _broken_off(self) -> Outcome:
        state = self.so_far()
        has_come = state.written_bytes > 0 or state.thought_bytes > 0
        return Outcome(
            status=Message.Status.INTERRUPTED if has_come else Message.Status.ERROR,
            content=state.text,
            seen_usage=state.seen_usage,
            latency_ms=state.latency_ms,
            time_to_first_token_ms=state.time_to_first_token_ms,
            written_bytes=state.written_bytes,
            thought_bytes=state.thought_bytes,
        )

    def _explained(self, error: ProviderError) -> str:
        """What to tell the client: whose key was refused, where it was a key."""
        if isinstance(error, ProviderAuthenticationError):
            return f"{error.provider} refused {whose_key(self.credentials)}."
        return error.message

    def _http_status(self, error: ProviderError) -> int:
        is_own = self.credentials.source in OWN_KEYS
        return 422 if is_own and isinstance(error, ProviderAuthenticationError) else error.http_status


def whose_key(credentials: Credentials) -> str:
    """The key as its owner knows it."""
    ending = f" (…{credentials.hint})" if credentials.hint else ""
    match credentials.source:
        case "user":
            return f"your own key{ending}"
        case "workspace":
            return f"the workspace's key{ending}"
    return "the house's key"


def _whole_seconds(seconds: float | None) -> int | None:
    """None for what no clock can wait for."""
    return math.ceil(seconds) if seconds is not None and math.isfinite(seconds) else None


def _is_empty(piece: Piece) -> bool:
    """Whether it carries nothing at all: a tool call's first piece names it, and a signature ends a block of thinking."""
    match piece:
        case ToolCallDelta():
            return False
        case ThinkingDelta():
            return not (piece.text or piece.signature or piece.redacted)
    return not piece.text


def _size(piece: Piece) -> int:
    return len((piece.arguments if isinstance(piece, ToolCallDelta) else piece.text).encode())


def _clean(piece: Piece) -> Piece:
    """Without what PostgreSQL does not store: NUL and lone surrogates."""
    if isinstance(piece, ToolCallDelta):
        return replace(piece, arguments=_storable(piece.arguments))
    return replace(piece, text=_storable(piece.text))


def _storable(text: str) -> str:
    return text.replace("\x00", "").encode("utf-8", "replace").decode()
