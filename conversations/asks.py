"""What a client asks for: a message to be answered, and the way it wants it answered."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from typing import Any


@dataclass(frozen=True, slots=True)
class Ask:
    """A validated request for an answer. Everything left out is decided by the conversation, agent and workspace."""

    content: str = ""
    role: str = "user"
    stream: bool = False
    llm: str = ""
    """An LLM's id, or “provider/name”."""
    temperature: Decimal | None = None
    max_tokens: int | None = None
    attachments: list[dict[str, Any]] = field(default_factory=list)
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | None = None
    response_schema: dict[str, Any] | None = None
    stop: list[str] | None = None
    tool_call_id: str = ""

    def fingerprint(self, *, conversation_id: Any) -> str:
        """SHA-256 of what is asked and where. Whether the answer is streamed does not matter to what is asked."""
        asked = {**asdict(self), "stream": None, "conversation": str(conversation_id)}
        return hashlib.sha256(json.dumps(asked, sort_keys=True, default=str).encode()).hexdigest()
