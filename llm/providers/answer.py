"""An answer being put together from the pieces of a stream: the same for every vendor.

Each method takes a piece into the answer, accounts for its bytes and says which events to pass on, so what was passed
on always adds up to the result.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from django.utils.translation import gettext_noop

from llm.errors import StreamInterrupted
from llm.types import (
    CallResult,
    StreamEvent,
    TextDelta,
    Thinking,
    ThinkingDelta,
    ToolCall,
    ToolCallDelta,
    Usage,
    UsageSeen,
)


@dataclass(slots=True)
class _PartialCall:
    index: int
    id: str = ""
    name: str = ""
    signature: str = ""
    arguments: list[str] = field(default_factory=list)
    is_announced: bool = False

    def whole(self) -> ToolCall:
        return ToolCall(self.id, self.name, "".join(self.arguments), self.signature)


@dataclass(slots=True)
class _PartialThinking:
    pieces: list[str] = field(default_factory=list)
    signature: str = ""
    redacted: str = ""

    def whole(self) -> Thinking:
        return Thinking("".join(self.pieces), self.signature, self.redacted)


class Answer:
    """An answer being put together from the pieces of a stream."""

    def __init__(self, provider: str, max_tokens: int) -> None:
        self.provider = provider
        # No token is longer than this on average; beyond it the provider ignores max_tokens, and memory is at stake.
        self.max_bytes = max(64 * 1024, 32 * max_tokens)
        self.bytes = 0
        self.finish_reason = ""
        """Empty until the provider says why it stopped; only then is the answer whole."""
        self.stop_sequence = ""
        self.usage: Usage | None = None
        self.request_id = ""
        self.model = ""
        """The model that answers, by the vendor's own name, where it says."""
        self.has_begun = False
        """Whether any part of the answer has come (thinking too): from here on the provider bills for output."""
        self._pieces: list[str] = []
        self._thinking: list[_PartialThinking] = []
        self._is_thinking = False
        self._calls: dict[int, _PartialCall] = {}

    def take(self, *texts: str) -> None:
        """Account for a piece of output. Raises ``StreamInterrupted`` when the answer outgrows what was asked for."""
        self.has_begun = True
        self.bytes += sum(len(text.encode(errors="replace")) for text in texts)
        if self.bytes > self.max_bytes:
            raise StreamInterrupted(
                gettext_noop("The provider sent far more than was asked for."),
                provider=self.provider,
                provider_request_id=self.request_id,
            )

    def text(self, text: str | None) -> Iterable[StreamEvent]:
        if text:
            self._is_thinking = False
            self.take(text)
            self._pieces.append(text)
            yield TextDelta(text)

    def think(self, text: str | None, *, signature: str = "", redacted: str = "") -> Iterable[StreamEvent]:
        """A piece of thinking. Pieces that follow one another are one block, until a signature or other output ends
        it; a redacted block comes in one piece."""
        self.has_begun = True
        text = text or ""
        if not text and not signature and not redacted:
            return
        self.take(text, signature, redacted)
        if redacted or not self._is_thinking:
            self._thinking.append(_PartialThinking())
        block = self._thinking[-1]
        block.pieces.append(text)
        block.signature, block.redacted = signature, redacted
        self._is_thinking = not signature and not redacted
        yield ThinkingDelta(text, signature, redacted)

    def end_thinking(self) -> None:
        """The vendor says that a new block begins, signed or not."""
        self._is_thinking = False

    def call(
        self, key: int | None = None, *, id: str = "", name: str = "", arguments: str = "", signature: str = ""
    ) -> Iterable[StreamEvent]:
        """A piece of the tool call that the vendor counts as ``key``; without one, a call of its own. It is passed on
        from when its name is known, and what is said twice (some hosts repeat id and name with every piece) counts
        once."""
        self._is_thinking = False
        self.take(arguments, signature)
        call = self._calls.setdefault(len(self._calls) if key is None else key, _PartialCall(len(self._calls)))
        if arguments:
            call.arguments.append(arguments)
        call.signature = call.signature or signature
        if call.is_announced:
            if arguments:
                yield ToolCallDelta(call.index, arguments)
            return
        self.take(id, name)
        call.id, call.name = call.id or id, call.name or name
        if call.name:
            call.is_announced = True
            if not call.id or any(call.id == other.id for other in self._calls.values() if other is not call):
                call.id = local_id()  # results are told apart by it
            yield ToolCallDelta(call.index, "".join(call.arguments), call.id, call.name, call.signature)

    def is_calling(self, key: int) -> bool:
        return key in self._calls

    def end_call(self, key: int) -> Iterable[StreamEvent]:
        """Nothing more belongs to the call; one that came without arguments takes none."""
        if key in self._calls and not self._calls[key].arguments:
            yield from self.call(key, arguments="{}")

    def see_usage(self, usage: Usage | None) -> Iterable[StreamEvent]:
        """Usage as of now; the last report counts. Before the end it is passed on, in case the end never comes."""
        has_changed = usage is not None and usage != self.usage
        self.usage = usage
        if has_changed and usage is not None and not self.finish_reason:
            yield UsageSeen(usage)

    def result(self) -> CallResult:
        return call_result(
            text="".join(self._pieces),
            finish_reason=self.finish_reason,
            usage=self.usage,
            tool_calls=(call.whole() for call in self._calls.values()),
            request_id=self.request_id,
            thinking=(block.whole() for block in self._thinking),
            stop_sequence=self.stop_sequence,
            model=self.model,
        )


_MODEL = re.compile(r"[A-Za-z0-9._:/@-]{1,200}")
"""What a model may be called: a provider may send anything in the place of its name."""
LOCAL_ID = "call_local_"
"""Marks the ids we give to calls that a provider left without one."""


def local_id() -> str:
    return f"{LOCAL_ID}{uuid.uuid4().hex}"


def call_result(
    *,
    text: str,
    finish_reason: str,
    usage: Usage | None,
    tool_calls: Iterable[ToolCall],
    request_id: str,
    thinking: Iterable[Thinking] = (),
    stop_sequence: str = "",
    model: object = "",
) -> CallResult:
    calls: tuple[ToolCall, ...] = ()
    for call in tool_calls:
        # Results are told apart by the id.
        is_known = any(call.id == other.id for other in calls)
        calls = (*calls, replace(call, id=local_id()) if is_known else call)
    if calls and finish_reason == "stop":
        finish_reason = "tool_calls"  # Gemini always says STOP, OpenAI does when one function was forced
    return CallResult(
        text,
        finish_reason,
        usage,
        calls,
        request_id,
        thinking=tuple(thinking),
        stop_sequence=stop_sequence,
        model=model if isinstance(model, str) and _MODEL.fullmatch(model) else "",
    )
