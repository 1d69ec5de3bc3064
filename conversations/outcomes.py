"""How a provider call ended: the one record that settles it, in memory, on the message and in the spool."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, TypeVar

from django.utils.translation import gettext_noop

from conversations.models import Message
from llm.types import Thinking, ToolCall, Usage

PartT = TypeVar("PartT", ToolCall, Thinking)


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of a call. ``usage`` None means the provider reported none.

    ``seen_usage`` is what it had reported before the call broke off, if anything.
    """

    status: str
    """A final ``Message.Status``."""
    content: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    finish_reason: str = ""
    usage: Usage | None = None
    seen_usage: Usage | None = None
    error_code: str = ""
    error_message: str = ""
    status_code: int | None = None
    provider_request_id: str = ""
    latency_ms: int | None = None
    time_to_first_token_ms: int | None = None
    http_status: int = 200
    """What our API answers for it."""
    retry_after: int | None = None
    is_lost: bool = False
    """The process died before anything had arrived."""
    is_swept: bool = False
    """Finished by the sweeper, after the lease had run out."""
    is_stopped: bool = False
    """The client went away, and the call was stopped."""
    thinking: tuple[Thinking, ...] = ()
    stop_sequence: str = ""
    written_bytes: int | None = None
    """UTF-8 bytes of what the model wrote, unfinished tool calls included; None: those of ``content`` and
    ``tool_calls``."""
    thought_bytes: int | None = None
    """UTF-8 bytes of its thinking, as far as it was shown; None: those of ``thinking``."""

    @property
    def size(self) -> int:
        """How much the model wrote, in UTF-8 bytes."""
        if self.written_bytes is not None:
            return self.written_bytes
        return _bytes(self.content + "".join(call.arguments for call in self.tool_calls))

    @property
    def thought_size(self) -> int:
        """How much thinking it showed, in UTF-8 bytes."""
        if self.thought_bytes is not None:
            return self.thought_bytes
        return _bytes("".join(block.text for block in self.thinking))

    def without_content(self) -> Outcome:
        """The same, without what was said: only how much it was."""
        return replace(
            self,
            content="",
            tool_calls=(),
            thinking=(),
            stop_sequence="",
            written_bytes=self.size,
            thought_bytes=self.thought_size,
        )

    def storable(self) -> Outcome:
        """The same, without what no column takes: NUL and lone surrogates (a provider may send them escaped in JSON),
        and text beyond its column's length. Never raises: an SDK may hand over an object, or nothing, for a text.
        """
        return replace(
            self,
            content=_clean(self.content),
            tool_calls=tuple(_cleaned(call) for call in self.tool_calls or () if isinstance(call, ToolCall)),
            thinking=tuple(_cleaned(block) for block in self.thinking or () if isinstance(block, Thinking)),
            stop_sequence=_clean(self.stop_sequence),
            finish_reason=_clean(self.finish_reason)[:20],
            error_code=_clean(self.error_code)[:60],
            error_message=_clean(self.error_message)[:500],
            provider_request_id=_clean(self.provider_request_id)[:200],
        )

    def unstored(self, *, was_shown: bool) -> Outcome:
        """What is left of an outcome that could not be stored as it is: what it used, and that it could not.

        ``was_shown``: its client has seen what was written.
        """
        is_partial = was_shown and (self.size > 0 or self.thought_size > 0)
        return Outcome(
            status=Message.Status.INTERRUPTED if is_partial else Message.Status.ERROR,
            usage=self.usage,
            seen_usage=self.seen_usage,
            error_code="not_stored",
            error_message=gettext_noop("The answer could not be stored."),
            latency_ms=self.latency_ms,
            time_to_first_token_ms=self.time_to_first_token_ms,
            http_status=500,
            written_bytes=self.size,
            thought_bytes=self.thought_size,
        )

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Outcome:
        def usage(value: dict[str, int] | None) -> Usage | None:
            return None if value is None else Usage(**value)

        return cls(
            **{
                **data,
                "tool_calls": tuple(ToolCall(**call) for call in data["tool_calls"]),
                "thinking": tuple(Thinking(**block) for block in data.get("thinking", ())),
                "usage": usage(data["usage"]),
                "seen_usage": usage(data["seen_usage"]),
            }
        )


def _bytes(text: str) -> int:
    return len(text.encode(errors="replace"))


def _cleaned(part: PartT) -> PartT:
    texts = {part_field.name: _clean(getattr(part, part_field.name)) for part_field in fields(part)}
    return replace(part, **texts)


def _clean(text: Any) -> str:
    if text is None:
        return ""
    if not isinstance(text, str):
        try:
            text = json.dumps(text, default=str, skipkeys=True)
        except (ValueError, RecursionError):  # one that contains itself
            text = repr(text)
    return text.replace("\x00", "").encode("utf-8", "replace").decode()


@dataclass(frozen=True, slots=True)
class CallTerms:
    """What admission fixed about a call; kept in ``Message.call`` so that any process can settle it later."""

    key_source: str
    is_charged: bool
    markup_bps: int
    """Of the charge, in basis points: the markup, or on an own key the platform's fee (``conversations.pay``)."""
    prompt_tokens: int
    """An estimate (a token per four bytes), used only where the provider reports no usage."""
    model_settings: dict[str, Any] = field(default_factory=dict)
    keeps_content: bool = True
    """Whether what was asked and answered is stored."""
    access_token: str = ""
    """The id of the token that the call was made with."""
    rate_tokens: int = 0
    """What was taken from the rate limits of tokens for it, before it was known."""
    questions: int = 1
    """How many messages were asked with it: more than one where several tools returned their results."""
    agent: str = ""
    """The id of the agent that answered, as it was then: its conversation may get another."""
