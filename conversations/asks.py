"""What a client asks for: a message to be answered, and the way it wants it answered."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from typing import Any

from llm.types import ChatMessage


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
    tool_results: list[dict[str, Any]] = field(default_factory=list)
    """``{"tool_call_id", "content", "is_error"}`` for every tool call of the last answer; the last of them is also
    ``content`` and ``tool_call_id``, the question that is answered."""
    metadata: dict[str, Any] = field(default_factory=dict)
    """Noted on the question, for the client's own use."""
    turns: tuple[ChatMessage, ...] | None = None
    """The whole prompt, for a call that brings its own: exactly this is sent, and neither history nor agent is added.
    ``content`` and the rest are what is kept of it as the question."""
    system: str = ""
    """The instructions that come with ``turns``."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Further fields of ``llm.types.CallRequest`` that come with ``turns``, like ``seed``."""
    tags: list[str] = field(default_factory=list)
    """Labels of tags of the workspace, to be put on the question and on its answer."""
    provider: str = ""
    """Only a model of this provider may answer."""
    key_source: str = ""
    """``user`` or ``workspace``: the call runs on that key or not at all."""

    @property
    def is_one_shot(self) -> bool:
        return self.turns is not None

    def fingerprint(self, *, conversation_id: Any) -> str:
        """SHA-256 of what is asked and where. Whether the answer is streamed does not matter to what is asked."""
        asked = {**asdict(self), "stream": None, "conversation": str(conversation_id)}
        if not self.tags:
            del asked["tags"]  # as before there were any: keys that are in use stay good
        return hashlib.sha256(json.dumps(asked, sort_keys=True, default=str).encode()).hexdigest()
