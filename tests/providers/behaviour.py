"""What a stand-in is told to do, in no vendor's words."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass
class Behaviour:
    """How one request is answered. Everything is JSON, so that a script can cross a process boundary."""

    text: str = "Hello from the stand-in."
    chunks: list[str] | None = None
    """The pieces of a streamed answer; by default the text word by word."""
    delay: float = 0.0
    """Seconds before each piece."""
    wait: float = 0.0
    """Seconds before the status line."""
    usage: dict[str, int] = field(default_factory=lambda: {"input": 10, "output": 5})
    """Disjoint buckets, named as ``llm.types.Usage`` names them; rendered the way each vendor reports them."""
    raw_usage: Any = None
    """Sent verbatim as the usage object instead of ``usage``: wrong types, absurd figures, a vendor's own fields."""
    usage_times: int = 1
    """How often usage is reported. 0: never. 2: first a wrong, smaller figure, then the true one."""
    finish_reason: str = "stop"
    """``stop``, ``length``, ``tool_calls`` or ``content_filter``; anything else is sent verbatim."""
    tool_calls: list[dict[str, Any]] = field(default_factory=list)
    """``{"id", "name", "arguments", "signature"}`` each, ``arguments`` as JSON text; ``"pieces"`` is how it is streamed,
    by default in two halves."""
    stop_sequence: str = ""
    """Which of the request's stop sequences ended the answer, for vendors that say so."""
    reasoning_text: str = ""
    """Thinking shown before the answer."""
    reasoning_chunks: list[str] | None = None
    """The pieces of streamed thinking; by default the text as it is."""
    reasoning_field: str = "reasoning_content"
    """Where vendors that resemble OpenAI show it; some have it in ``reasoning``."""
    signature: str = "c2ln"
    """What signs the thinking, at the vendor that does."""
    redacted: str = ""
    """A block of thinking that the vendor shows as ciphertext only, after the others."""
    prompt_tokens: int = 42
    """The answer to a request that counts."""
    models: list[str] = field(default_factory=lambda: ["model-2", "model-1"])
    """The answer to a request that lists, in this order."""
    page_size: int = 0
    """Models per page, for vendors that have pages; 0: all."""
    is_bare_list: bool = False
    """Whether a host that resembles OpenAI sends its models without an object around them."""
    model: str = "stand-in-model"
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    error: Any = None
    """The error body, verbatim. ``{key}`` in its text becomes the caller's key, as vendors like to echo it."""
    fault: str = ""
    """One of ``FAULTS``."""
    fault_after: int = 0
    """After how many events of the stream the fault strikes (for a plain answer: 0)."""

    def pieces(self) -> list[str]:
        if self.chunks is not None:
            return self.chunks
        words = self.text.split(" ")
        return [word if i == 0 else f" {word}" for i, word in enumerate(words)] if self.text else []

    def whole_text(self) -> str:
        return "".join(self.chunks) if self.chunks is not None else self.text

    def thoughts(self) -> list[str]:
        if self.reasoning_chunks is not None:
            return self.reasoning_chunks
        return [self.reasoning_text] if self.reasoning_text else []

    def whole_thought(self) -> str:
        return "".join(self.thoughts())

    def bucket(self, name: str) -> int:
        return self.usage.get(name, 0)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


FAULTS = (
    "hang",  # accept, never answer
    "cut",  # TCP reset after ``fault_after`` events
    "eof",  # end the stream cleanly after ``fault_after`` events, with neither finish reason nor usage
    "stall",  # fall silent after ``fault_after`` events and keep the connection open
    "loris",  # one byte at a time, never a whole event
    "malformed",  # an event whose data is not JSON
    "bad_utf8",  # an event with bytes that are not UTF-8
    "error_event",  # the vendor's error event in the middle of the stream (``error`` is its body)
    "huge_line",  # a 50 MB line
    "gzip_bomb",  # Content-Encoding: gzip, small on the wire, huge when unpacked
    "endless",  # text pieces without end
)


def call_pieces(call: dict[str, Any]) -> list[str]:
    """How the arguments of a tool call are streamed."""
    if "pieces" in call:
        return list(call["pieces"])
    half = len(call["arguments"]) // 2
    return [call["arguments"][:half], call["arguments"][half:]]


def sse(data: Any, event: str = "") -> bytes:
    """One server-sent event."""
    head = f"event: {event}\n" if event else ""
    return f"{head}data: {json.dumps(data)}\n\n".encode()
