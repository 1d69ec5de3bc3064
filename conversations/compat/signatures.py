"""What a vendor wants back unchanged with an answer of its own, and where it travels in protocols that have no place for it.

Claude's thinking is signed; in OpenAI's protocol it travels as OpenRouter's ``reasoning_details``. Gemini signs its tool
calls; in both protocols that travels as Google's own ``extra_content``:
https://ai.google.dev/gemini-api/docs/thought-signatures. Clients that give an answer back as they got it keep both.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SIGNED_FORMAT = "anthropic-claude-v1"
"""Whose signatures they are: https://openrouter.ai/docs/use-cases/reasoning-tokens"""


def signs_thinking(model: str) -> bool:
    """Whether the thinking of “provider/name” comes with signatures, and so must reach the client as it came."""
    return model.startswith("anthropic/")


def extra_content(signature: str) -> dict[str, Any]:
    """The field of a tool call that carries ``signature``; none without one."""
    return {"extra_content": {"google": {"thought_signature": signature}}} if signature else {}


def signature_in(content: Any) -> str:
    """The signature in the ``extra_content`` of a tool call that is given back."""
    google = content.get("google") if isinstance(content, Mapping) else None
    signature = google.get("thought_signature") if isinstance(google, Mapping) else None
    return signature if isinstance(signature, str) else ""
