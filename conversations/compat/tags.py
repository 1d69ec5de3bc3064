"""Tags that come with a call: in ``metadata.tags``, where clients of gateways put them, and in a header."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from conversations.compat.asking import Request
from conversations.compat.fields import BadRequest
from tagging.names import parse_list

HEADER = "x-synapscale-tags"
_PATH = "metadata.tags"


def taken_out(body: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """``body`` without its tags, and these: a list of texts, or one text with commas between them. Raises BadRequest."""
    metadata = body.get("metadata")
    if not isinstance(metadata, dict) or "tags" not in metadata:
        return body, []
    rest = {name: value for name, value in metadata.items() if name != "tags"}
    given = metadata["tags"]
    if isinstance(given, str):
        given = parse_list(given)
    if given is not None and (not isinstance(given, list) or not all(isinstance(tag, str) for tag in given)):
        raise BadRequest(_PATH, "Give a list of texts, or one text with commas between the tags.")
    return {**body, "metadata": rest}, given or []


def tagged(asked: Request, tags: list[str], *, header: str | None) -> Request:
    """``asked``, with the tags of its body and of its header."""
    tags = [*tags, *parse_list(_text(header or ""))]
    return replace(asked, ask=replace(asked.ask, tags=tags)) if tags else asked


def _text(header: str) -> str:
    """A header as it was meant: HTTP calls its bytes Latin-1, and most clients send UTF-8."""
    try:
        return header.encode("latin-1").decode()
    except UnicodeError:
        return header
