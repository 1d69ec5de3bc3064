"""What the endpoint tests share: asking for answers over a socket, and what a refusal must look like."""

from __future__ import annotations

import base64
import io
import json
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import httpx2
from django.db import transaction
from PIL import Image

from billing.models import BillingEvent, Wallet
from conversations.models import Agent, Conversation, Message, UsageLog
from llm.models import LLM
from tests.people import Person
from workspaces.models import Workspace

HELLO_BYTES_WORST = 19
"""Prompt tokens a hold reserves for “Hello” alone: 3 for its five bytes, and 8 for each of two turns."""


@dataclass(frozen=True)
class Event:
    """A server-sent event."""

    name: str
    data: dict[str, Any]


@dataclass(frozen=True)
class Api:
    """A client of the running server."""

    url: str

    def get(self, person: Person, path: str, **query: Any) -> httpx2.Response:
        return httpx2.get(f"{self.url}/api/v1/{path}", params=query or None, headers=person.headers, timeout=30)

    def post(self, person: Person, path: str, body: Any, **headers: str) -> httpx2.Response:
        return httpx2.post(f"{self.url}/api/v1/{path}", json=body, headers={**person.headers, **headers}, timeout=30)

    def ask(
        self, person: Person, conversation: Conversation, content: str = "Hello", *, key: str = "", **body: Any
    ) -> httpx2.Response:
        """Post a message and wait for its answer. ``key`` is the Idempotency-Key."""
        headers = {"Idempotency-Key": key} if key else {}
        return self.post(person, messages_of(conversation), {"content": content, **body}, **headers)

    def listen(self, person: Person, conversation: Conversation, content: str = "Hello", **body: Any) -> list[Event]:
        """Post a message and read its events to the end."""
        response = self.ask(person, conversation, content, stream=True, **body)
        assert response.status_code == 200, response.text
        assert response.headers["Content-Type"] == "text/event-stream; charset=utf-8"
        return events_in(response.text)


def messages_of(conversation: Conversation) -> str:
    return f"conversations/{conversation.pk}/messages"


def events_in(text: str) -> list[Event]:
    blocks = [block for block in text.split("\n\n") if block and not block.startswith(":")]
    events = []
    for block in blocks:
        name, data = block.split("\n")
        events.append(Event(name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return events


# --- Rows -----------------------------------------------------------------------------------------------------------


def make_conversation(person: Person, **fields: Any) -> Conversation:
    return Conversation.objects.create(workspace=person.workspace, user=person.user, **fields)


def make_agent(person: Person, llm: LLM, name: str = "Helper", **fields: Any) -> Agent:
    return Agent.objects.create(workspace=person.workspace, created_by=person.user, llm=llm, name=name, **fields)


def make_answer(conversation: Conversation, content: str = "Four.", **fields: Any) -> Message:
    """A finished answer that no call was made for, so nothing is charged for it."""
    fields = {"role": Message.Role.ASSISTANT, "status": Message.Status.SENT, **fields}
    with transaction.atomic():  # where metering insists on being
        return Message.objects.create(
            workspace_id=conversation.workspace_id,
            conversation=conversation,
            user_id=conversation.user_id,
            content=content,
            **fields,
        )


def change(conversation: Conversation, **fields: Any) -> None:
    """Not ``save()``: that would write back the counters as they were when ``conversation`` was read."""
    Conversation.objects.filter(workspace=conversation.workspace_id, pk=conversation.pk).update(**fields)


def change_workspace(person: Person, **fields: Any) -> None:
    Workspace.objects.filter(pk=person.workspace.pk).update(**fields)


def set_wallet(workspace: Workspace, **fields: Any) -> None:
    Wallet.objects.get_or_create(workspace=workspace)
    Wallet.objects.filter(workspace=workspace).update(**fields)


def balance(workspace: Workspace) -> Decimal:
    """The balance, after making sure that nothing is reserved any more."""
    wallet = Wallet.objects.get(workspace=workspace)
    assert wallet.held == 0
    return wallet.balance


def charges(workspace: Workspace) -> list[Decimal]:
    events = BillingEvent.objects.filter(workspace=workspace, event_type=BillingEvent.Type.USAGE)
    return [event.amount_usd for event in events.order_by("seq")]


def the_log(workspace: Workspace) -> UsageLog:
    """The only usage row of a workspace."""
    return UsageLog.objects.get(workspace=workspace)


def picture(width: int = 3, height: int = 2, kind: str = "PNG") -> str:
    """A small image, in base64."""
    file = io.BytesIO()
    Image.new("RGB", (width, height), "red").save(file, kind)
    return base64.b64encode(file.getvalue()).decode()


# --- Refusals -------------------------------------------------------------------------------------------------------


def error_of(response: Any, status: int, code: str) -> dict[str, Any]:
    """The error in ``response``, after checking its shape, status and code."""
    assert response.status_code == status, response.content
    body = response.json()
    assert set(body) == {"error"}
    error: dict[str, Any] = body["error"]
    assert set(error) == {"code", "message", "details", "request_id"}
    assert error["code"] == code, error
    assert error["message"]
    assert error["request_id"]
    assert error["request_id"] == response.headers["X-Request-ID"]
    return error


def assert_invalid(response: Any, *fields: str) -> None:
    """Refused as bad input, with exactly ``fields`` named, and the first of them in the message."""
    error = error_of(response, 400, "invalid")
    assert set(error["details"]) == set(fields)
    if fields != ("non_field_errors",):
        assert any(error["message"].startswith(name) for name in fields)
