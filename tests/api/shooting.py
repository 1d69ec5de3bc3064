"""One-shot calls as tests make and read them."""

from __future__ import annotations

from typing import Any

import httpx2

from tests.api.asking import Api, events_in, picture
from tests.people import Person

GENERATE, CHAT = "llm/generate", "llm/chat"
PARAMETERS = {"type": "object", "properties": {"a": {"type": "number"}}}
ADD = {"name": "add", "description": "Adds.", "parameters": PARAMETERS}
CALL = {"id": "call_1", "name": "add", "arguments": '{"a": 1}'}
SCHEMA = {"type": "object", "properties": {"sum": {"type": "number"}}}
TURNS: list[dict[str, Any]] = [
    {"role": "system", "content": "In Latin."},
    {"role": "user", "content": "What is it?", "attachments": [{"type": "image", "data": picture()}]},
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "call_1", "content": "2"},
]
HELLO = {"prompt": "Hello"}


def generated(api: Api, person: Person, path: str = GENERATE, **body: Any) -> dict[str, Any]:
    """The answer to “Hello”, or to what ``body`` says."""
    response = api.post(person, path, {**({} if "messages" in body else HELLO), **body})
    assert response.status_code == 201, response.text
    found: dict[str, Any] = response.json()
    return found


def told(response: httpx2.Response) -> list[Any]:
    assert response.status_code == 200, response.text
    assert response.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    return events_in(response.text)
