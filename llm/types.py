"""The provider contract's vocabulary: what goes to a provider and what comes back, the same for every vendor."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
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
class TextPart:
    """A piece of text with a place of its own among others."""

    text: str
    cache: str = ""
    """``5m`` or ``1h``: the prompt up to here is to be cached that long, where the vendor lets one say so."""


@dataclass(frozen=True, slots=True)
class Image:
    """An image for a vision model: raw bytes, never a URL, so that no provider or server fetches on a user's behalf."""

    media_type: str
    """``image/png``, ``image/jpeg``, ``image/gif`` or ``image/webp``."""
    data: bytes = field(repr=False)
    width: int
    height: int
    cache: str = ""
    """As of ``TextPart``."""
    source: str = ""
    """Where the bytes are kept, while they are not here yet. No provider gets to see such an image."""


@dataclass(frozen=True, slots=True)
class Thinking:
    """A block of a model's thinking. Who gives a tool's result back must give the blocks before the call back with it,
    unchanged: ``signature`` proves it to the vendor."""

    text: str
    signature: str = ""
    redacted: str = ""
    """The vendor's ciphertext, where it shows no text."""


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
    """All of its text."""
    images: tuple[Image, ...] = ()
    tool_calls: tuple[ToolCall, ...] = ()
    """On an assistant turn: the calls it asked for."""
    tool_call_id: str = ""
    """On a tool turn: which call this answers."""
    is_error: bool = False
    """On a tool turn: the tool failed, and the content says how."""
    parts: tuple[TextPart | Image, ...] = ()
    """Text and images in the order in which they were written, where that was given; see ``of_parts``."""
    thinking: tuple[Thinking, ...] = ()
    """On an assistant turn: what it thought before."""
    cache: str = ""
    """As of ``TextPart``, after the last block of the turn, whatever that is."""

    @classmethod
    def of_parts(cls, role: str, parts: Iterable[TextPart | Image], **fields: Any) -> ChatMessage:
        """A turn whose text and images stand in this order."""
        ordered = tuple(parts)
        return cls(
            role=role,
            content="\n\n".join(part.text for part in ordered if isinstance(part, TextPart)),
            images=tuple(part for part in ordered if isinstance(part, Image)),
            parts=ordered,
            **fields,
        )

    @property
    def ordered(self) -> tuple[TextPart | Image, ...]:
        """Text and images in order; images first where no order was given. Without empty texts."""
        parts = self.parts or (*self.images, TextPart(self.content))
        return tuple(part for part in parts if isinstance(part, Image) or part.text)


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
    system_parts: tuple[TextPart, ...] = ()
    """``system`` in pieces, where it came in pieces: then ``system`` is all of them, joined."""
    tools_cache: str = ""
    """As of ``TextPart``, after the last tool."""
    json_object: bool = False
    """The answer is to be some JSON object, of no schema in particular."""
    schema_name: str = ""
    """What the client calls its ``response_schema``."""
    parallel_tool_calls: bool | None = None
    """False: at most one tool call at a time."""
    top_p: float | None = None
    top_k: int | None = None
    seed: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    reasoning_effort: str = ""
    """``none``, ``minimal``, ``low``, ``medium``, ``high``, ``xhigh`` or ``max``; ``""``: the vendor's default."""
    thinking: str = ""
    """``enabled``, ``adaptive`` or ``disabled``, as Anthropic has it; ``""``: the vendor's default."""
    thinking_budget: int | None = None
    """How many tokens it may think, with ``thinking`` enabled; less than ``max_tokens``, which includes them."""
    shows_thinking: bool = False
    """Whether the client wants to see the thinking, where the vendor shows it on request only."""
    verbosity: str = ""
    """``low``, ``medium`` or ``high``; ``""``: the vendor's default."""


@dataclass(frozen=True, slots=True)
class TextDelta:
    """A piece of the answer's text, in order."""

    text: str


@dataclass(frozen=True, slots=True)
class ThinkingDelta:
    """A piece of the model's thinking, in order. A piece with a ``signature`` or ``redacted`` ends its block."""

    text: str
    signature: str = ""
    redacted: str = ""


@dataclass(frozen=True, slots=True)
class ToolCallDelta:
    """A piece of a tool call. ``id``, ``name`` and any ``signature`` come with the first piece of their ``index`` (0, 1,
    …)."""

    index: int
    arguments: str = ""
    id: str = ""
    name: str = ""
    signature: str = ""


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
    thinking: tuple[Thinking, ...] = ()
    stop_sequence: str = ""
    """Which of the request's ``stop`` ended the answer, where the vendor says."""
    model: str = field(default="", compare=False)
    """The model that answered, as the vendor names it, where it does."""


StreamEvent = TextDelta | ThinkingDelta | ToolCallDelta | UsageSeen | CallResult


@dataclass(frozen=True, slots=True)
class Credentials:
    """Where and as whom to call. The key never shows in a repr."""

    provider: str
    api_key: str = field(repr=False)
    base_url: str = ""
    """Empty means the vendor's own endpoint."""
    source: str = "global"
    """``user``, ``workspace`` or ``global``: whose key it is."""
    hint: str = ""
    """The last four characters of an own key, to tell its owner which it is."""
    guard: str = ""
    """For a host that is not a vendor's: ``public`` or ``private``, where its addresses may be (``llm.hosts``)."""


class Provider(Protocol):
    """What an adapter does. Both calls raise only ``llm.errors.ProviderError`` (and ``asyncio.CancelledError``)."""

    async def complete(self, request: CallRequest, credentials: Credentials) -> CallResult:
        """Answer in one piece."""
        ...

    def stream(self, request: CallRequest, credentials: Credentials) -> AsyncIterator[StreamEvent]:
        """Yield the pieces as they come, any ``UsageSeen``, and one ``CallResult`` as the very last event."""
        ...

    async def count_tokens(self, request: CallRequest, credentials: Credentials) -> int | None:
        """How many tokens the prompt has by the vendor's own count; None where the vendor has no free way to tell."""
        ...

    async def list_models(self, credentials: Credentials) -> list[str]:
        """The ids of the models that this key may call, sorted."""
        ...

    async def aclose(self) -> None:
        """Close pooled connections."""
        ...
