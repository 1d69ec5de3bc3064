"""A conversation with everything in it that can be in one, made the way the product makes it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from auditlog.models import LogEntry
from django.contrib.auth.models import Permission
from django.test import Client

from conversations import feedback
from conversations.models import Agent, Conversation, Message
from llm.types import ToolCall
from tagging import links
from tagging.models import Tag, TagLink, TagRule
from tests.admin.rows import Office
from tests.catalogue import make_llm
from tests.conversations.calling import ask, failed, fall_back_to, followed, sent, settle, times
from tests.people import Person, fund
from workspaces.models import User

READS = ("read_content", "view_conversation", "view_message", "view_usagelog", "view_messagefeedback", "view_agent")
LOOKS = READS[1:]
"""Everything but what was written."""
PICTURE = {"type": "image", "media_type": "image/png", "width": 800, "height": 600, "bytes": 2, "data": "aGk="}
ANSWER_USAGE = {"input": 10, "cached_input": 5, "output": 60, "reasoning": 30}
"""At the second model's price $0.00039: $2 for a million tokens in, cached or not, $4 out."""


@dataclass(frozen=True)
class Talk:
    conversation: Conversation
    question: Message
    answer: Message
    """By the second model, after the first had failed."""
    call: Message
    """An answer that wants a tool run."""
    result: Message
    failure: Message


WRITTEN = {
    # what nobody may see who may not read
    "title": "wedding-plans",
    "context": "guest-list-of-100",
    "question": "where-do-we-celebrate",
    "answer": "in-the-old-mill",
    "arguments": "garden-and-barn",
    "result": "barn-is-free",
    "error": "echo-of-the-question",
    "text": "too-far-away",
    "suggestion": "try-the-lake",
    "prompt": "you-plan-parties",
}


def staff(*codenames: str, email: str = "clerk@example.org") -> User:
    user = User.objects.filter(email=email).first() or User.objects.create_user(email, is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    return User.objects.get(pk=user.pk)


def office_of(user: User) -> Office:
    client = Client()
    client.force_login(user)
    return Office(client)


def make_talk(person: Person, words: dict[str, str] | None = None) -> Talk:
    """``words`` are what was written, as in ``WRITTEN``."""
    said = {**WRITTEN, **(words or {})}
    fund(person.workspace, "5")
    llm = make_llm()
    make_llm(name="openai-second", price=times(2))
    fall_back_to(person, "openai/openai-second")
    agent = Agent.objects.create(
        workspace=person.workspace, name="Planner", llm=llm, system_prompt=said["prompt"], created_by=person.user
    )
    conversation = Conversation.objects.create(
        workspace=person.workspace,
        user=person.user,
        agent=agent,
        title=said["title"],
        context=said["context"],
    )

    def asked(content: str, **fields: Any) -> Any:
        return ask(person, conversation, content, llm="", **fields)

    first = asked(said["question"], attachments=[dict(PICTURE)])
    second = followed(first, failed(error_code="provider_overloaded", error_message=said["error"]))
    answer = settle(second, sent(said["answer"], usage=ANSWER_USAGE, latency_ms=4200, time_to_first_token_ms=350))
    wants = asked("Which places are free?")
    arguments = json.dumps({"places": said["arguments"]})
    call = settle(wants, sent("", tool_calls=(ToolCall("call_1", "is_free", arguments),), usage={"input": 10}))
    results = [{"tool_call_id": "call_1", "content": said["result"], "is_error": True}]
    given = asked(said["result"], role="tool", tool_call_id="call_1", tool_results=results)
    failure = settle(given, failed(error_message=said["error"]))
    feedback.give(
        message=answer,
        user=person.user,
        thumb="down",
        stars=2,
        category="wrong",
        text=said["text"],
        suggestion=said["suggestion"],
    )
    _tag(person, conversation, answer)
    return Talk(conversation, first.question, answer, call, given.question, failure)


def _tag(person: Person, conversation: Conversation, answer: Message) -> None:
    workspace = person.workspace
    party, place = (Tag.objects.create(workspace=workspace, name=name) for name in ("party", "place"))
    links.put([party], [links.Target("conversation", conversation.pk)], workspace_id=workspace.pk, user=person.user)
    rule = TagRule.objects.create(workspace=workspace, name="places", condition="error", tag=place)
    TagLink.objects.create(
        workspace=workspace,
        tag=place,
        target_type="message",
        target_id=answer.pk,
        state=TagLink.State.SUGGESTED,
        origin=TagLink.Origin.RULE,
        rule=rule,
        confidence_score="0.5",
    )


def url_of(conversation: Conversation) -> str:
    return f"/admin/conversations/conversation/{conversation.pk}/transcript/"


def readings() -> list[Any]:
    """Who read what, oldest first."""
    return list(LogEntry.objects.filter(action=LogEntry.Action.ACCESS).order_by("pk"))
