"""One-shot calls, also with a word planted wherever a client, or a model, can put one."""

from __future__ import annotations

from typing import Any

from conversations.admission import Admitted
from conversations.models import Conversation
from llm.types import ChatMessage, TextPart, ToolCall
from tests.conversations.calling import ask
from tests.people import Person
from workspaces.models import Workspace

WORD = "zanzibar"
"""Planted everywhere; it must be found nowhere."""
TURNS = (
    ChatMessage("user", f"Where is {WORD}?"),
    ChatMessage("assistant", "", tool_calls=(ToolCall("c1", "find", f'{{"place": "{WORD}"}}'),)),
    ChatMessage("tool", f"{WORD} is an island.", tool_call_id="c1"),
)
TOOLS = [{"name": f"find_{WORD}", "description": f"Finds {WORD}", "parameters": {"type": "object"}}]
CALLED = {"id": "c2", "name": "find", "arguments": f'{{"place": "{WORD}"}}'}
PIECES = [f"{WORD} {number:02d} " for number in range(40)]


def keep_nothing(person: Person) -> None:
    Workspace.objects.filter(pk=person.workspace.pk).update(keeps_api_content=False)
    person.workspace.refresh_from_db()


def shoot(person: Person, content: str = "Hello", turns: tuple[ChatMessage, ...] = (), **fields: Any) -> Admitted:
    return ask(person, None, content, turns=turns or (ChatMessage("user", content),), **fields)


def secret_shot(person: Person, **fields: Any) -> Admitted:
    """With the word wherever a client can put one."""
    return shoot(
        person,
        f"{WORD} is an island.",
        TURNS,
        **{
            "role": "tool",
            "tool_call_id": f"c-{WORD}",
            "system": f"You know {WORD}.",
            "tools": TOOLS,
            "tool_choice": f"find_{WORD}",
            "stop": [WORD.upper()],
            "response_schema": {"type": "object", "description": WORD},
            "options": {"system_parts": (TextPart(f"You know {WORD}."),), "seed": 7, "schema_name": WORD},
            **fields,
        },
    )


def api_conversations(person: Person) -> list[Conversation]:
    return list(Conversation.objects.filter(workspace=person.workspace, user=person.user, kind="api").order_by("id"))
