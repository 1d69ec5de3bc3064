"""The provider contract's vocabulary: what goes to a provider and what comes back, the same for every vendor."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one call in disjoint buckets: every token the provider bills is in exactly one of them.

    Vendors disagree (OpenAI's ``prompt_tokens`` includes cached tokens, Anthropic's ``input_tokens`` excludes them,
    Gemini's candidates exclude thoughts), so each adapter normalises once, at the edge.
    """

    input: int = 0
    """Prompt tokens that were neither read from nor written to a cache."""
    cached_input: int = 0
    """Prompt tokens read from the provider's cache."""
    cache_write_5m: int = 0
    """Prompt tokens written to a cache that lives five minutes (the vendor's default lifetime)."""
    cache_write_1h: int = 0
    """Prompt tokens written to a cache that lives one hour."""
    output: int = 0
    """Answer tokens, without reasoning."""
    reasoning: int = 0
    """Thinking tokens, billed as output."""

    def __post_init__(self) -> None:
        for bucket in fields(self):
            value = getattr(self, bucket.name)
            if type(value) is not int or value < 0:
                raise ValueError(f"usage.{bucket.name} must be a whole number of tokens, not {value!r}")

    @property
    def total_input(self) -> int:
        """All prompt tokens, the figure that long-context tiers look at."""
        return self.input + self.cached_input + self.cache_write_5m + self.cache_write_1h

    @property
    def total_output(self) -> int:
        return self.output + self.reasoning

    @property
    def total(self) -> int:
        return self.total_input + self.total_output

    def as_dict(self) -> dict[str, int]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Image:
    """An image for a vision model: raw bytes, never a URL, so that no provider or server fetches on a user's behalf."""

    media_type: str
    """``image/png``, ``image/jpeg``, ``image/gif`` or ``image/webp``."""
    data: bytes = field(repr=False)
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A function the model wants called. ``arguments`` is the JSON text as the model wrote it."""

    id: str
    name: str
    arguments: str
    signature: str = ""
    """Opaque text a vendor wants back with the call (Gemini's thought signature, base64)."""


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """One turn. ``role`` is ``user``, ``assistant`` or ``tool``; the system prompt travels on the request."""

    role: str
    content: str = ""
    images: tuple[Image, ...] = ()
    tool_calls: tuple[ToolCall, ...] = ()
    """On an assistant turn: the calls it asked for."""
    tool_call_id: str = ""
    """On a tool turn: which call this answers."""


@dataclass(frozen=True, slots=True)
class CallRequest:
    """One model call. ``max_tokens`` is always sent to the provider: it bounds the bill."""

    model: str
    """The provider's own model id."""
    messages: tuple[ChatMessage, ...]
    max_tokens: int
    system: str = ""
    temperature: float | None = None
    tools: tuple[dict[str, Any], ...] = ()
    """JSON-schema functions in the field's common form: ``{"name", "description", "parameters"}``."""
    tool_choice: str = ""
    """``""`` (the vendor's default), ``auto``, ``none``, ``required``, or the name of one tool."""
    response_schema: dict[str, Any] | None = None
    """A JSON schema the answer must satisfy (structured output)."""
    stop: tuple[str, ...] = ()
    is_reasoning: bool = False
    """Whether the model thinks before it answers: such models refuse a temperature at some vendors."""


@dataclass(frozen=True, slots=True)
class TextDelta:
    """A piece of the answer's text, in order."""

    text: str


@dataclass(frozen=True, slots=True)
class UsageSeen:
    """Usage reported before the end of a stream (Anthropic's ``message_start``). Cumulative: the last one counts."""

    usage: Usage


@dataclass(frozen=True, slots=True)
class CallResult:
    """A finished call. ``usage`` is None when the provider reported none: then it is estimated, and marked so."""

    text: str
    finish_reason: str
    """``stop``, ``length``, ``tool_calls``, ``content_filter`` or ``other``."""
    usage: Usage | None
    tool_calls: tuple[ToolCall, ...] = ()
    provider_request_id: str = ""
    status_code: int = 200


StreamEvent = TextDelta | UsageSeen | CallResult


@dataclass(frozen=True, slots=True)
class Credentials:
    """Where and as whom to call. The key never shows in a repr."""

    provider: str
    api_key: str = field(repr=False)
    base_url: str = ""
    """Empty means the vendor's own endpoint."""
    source: str = "global"
    """``user``, ``workspace`` or ``global``: whose key it is."""


class Provider(Protocol):
    """What an adapter does. Both calls raise only ``llm.errors.ProviderError`` (and ``asyncio.CancelledError``)."""

    async def complete(self, request: CallRequest, credentials: Credentials) -> CallResult:
        """Answer in one piece."""
        ...

    def stream(self, request: CallRequest, credentials: Credentials) -> AsyncIterator[StreamEvent]:
        """Yield ``TextDelta``s as they come, any ``UsageSeen``, and one ``CallResult`` as the very last event."""
        ...

    async def aclose(self) -> None:
        """Close pooled connections."""
        ...
