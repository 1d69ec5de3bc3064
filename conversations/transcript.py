"""A conversation as it is read: its messages in order, page by page, and with each what it cost and what was thought of it.

A page makes the same few queries however long the conversation is, and of long texts it reads the beginning alone.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, TypeVar

from django.db.models import F, Q, QuerySet
from django.db.models.functions import Left, Length

from conversations.models import Conversation, ConversationLLM, Message, MessageFeedback, UsageLog
from synapscale.common.money import ZERO
from tagging.models import TagLink

PAGE = 50
"""Messages."""
MAX_TEXT = 20_000
"""Characters of a message that a page reads: fifty texts of a book's length would not be a page any more."""
MAX_BESIDE = 500
"""Rows of a kind (attempts, opinions, tags) beside the messages of a page."""

RowT = TypeVar("RowT")


@dataclass
class Turn:
    """A message, with what belongs to it."""

    message: Any
    """Without ``content`` and ``call``: its beginning is its ``text``."""
    attempts: list[UsageLog] = field(default_factory=list)
    opinions: list[MessageFeedback] = field(default_factory=list)
    tags: list[TagLink] = field(default_factory=list)

    @property
    def text(self) -> str:
        return str(self.message.beginning)

    @property
    def is_cut(self) -> bool:
        return bool(self.message.length > MAX_TEXT)

    @property
    def is_kept(self) -> bool:
        """Whether what was said is stored: a workspace may keep no content of API calls."""
        message = self.message
        if message.role == Message.Role.ASSISTANT:
            return message.keeps_content is not False
        is_empty = not (message.length or message.attachments)
        return message.conversation.kind == Conversation.Kind.CHAT or not is_empty

    @property
    def cost(self) -> Decimal:
        """What the provider costs, all attempts together (USD)."""
        return sum((log.cost_usd for log in self.attempts), ZERO)

    @property
    def charged(self) -> Decimal:
        """What the wallet paid, all attempts together (USD)."""
        return sum((log.charged_usd for log in self.attempts), ZERO)

    @property
    def last(self) -> UsageLog | None:
        """The attempt that ended it: its tokens and times are the message's."""
        return self.attempts[-1] if self.attempts else None


@dataclass
class Page:
    turns: list[Turn]
    has_earlier: bool
    has_later: bool
    tags: list[TagLink]
    """Of the conversation."""


def page(
    conversation: Conversation,
    *,
    start: uuid.UUID | None = None,
    after: uuid.UUID | None = None,
    before: uuid.UUID | None = None,
    is_last: bool = False,
) -> Page:
    """The first messages; or those from ``start`` on, those after ``after`` or before ``before``, or the last. Beside a
    message that is none of the conversation's nothing is found. Six queries at most.
    """
    rows = messages_of(conversation)
    if before is not None or is_last:
        if before is not None:
            rows = rows.filter(_earlier_than(_place(conversation, before)))
        found = list(rows.order_by("-created_at", "-id")[: PAGE + 1])
        messages, has_earlier, has_later = found[:PAGE][::-1], len(found) > PAGE, before is not None
    else:
        has_earlier = after is not None
        if after is not None:
            rows = rows.filter(_later_than(_place(conversation, after)))
        elif start is not None:
            place = _place(conversation, start)
            has_earlier = rows.filter(_earlier_than(place)).exists()
            rows = rows.filter(_later_than(place, or_there=True))
        found = list(rows.order_by("created_at", "id")[: PAGE + 1])
        messages, has_later = found[:PAGE], len(found) > PAGE
    for message in messages:
        message.conversation = conversation
    turns, tags = _with_what_belongs_to_them(conversation, messages)
    return Page(turns, has_earlier, has_later, tags)


def messages_of(conversation: Conversation) -> QuerySet[Any]:
    rows = Message.objects.filter(workspace_id=conversation.workspace_id, conversation=conversation)
    return (
        rows.select_related("user")
        .defer("content", "call", "metadata")
        .annotate(
            beginning=Left("content", MAX_TEXT),
            length=Length("content"),
            keeps_content=F("call__terms__keeps_content"),
            is_failure_of_tool=F("call__is_error"),
        )
    )


def models_of(conversation: Conversation) -> list[ConversationLLM]:
    """What each model did in it, most used first. One query."""
    rows = ConversationLLM.objects.filter(workspace_id=conversation.workspace_id, conversation=conversation)
    return list(rows.select_related("llm").order_by("-message_count", "-last_used_at")[:MAX_BESIDE])


def _place(conversation: Conversation, key: uuid.UUID) -> tuple[Any, uuid.UUID] | None:
    rows = Message.objects.filter(workspace_id=conversation.workspace_id, conversation=conversation, pk=key)
    return rows.values_list("created_at", "id").first()


# The time is named twice: alone it is where an index begins to be read, and with the key it is exact.


def _later_than(place: tuple[Any, uuid.UUID] | None, *, or_there: bool = False) -> Q:
    if place is None:
        return Q(pk__in=[])
    at, key = place
    return Q(created_at__gte=at) & (Q(created_at__gt=at) | Q(**{"pk__gte" if or_there else "pk__gt": key}))


def _earlier_than(place: tuple[Any, uuid.UUID] | None) -> Q:
    if place is None:
        return Q(pk__in=[])
    at, key = place
    return Q(created_at__lte=at) & (Q(created_at__lt=at) | Q(pk__lt=key))


def _with_what_belongs_to_them(conversation: Conversation, messages: list[Any]) -> tuple[list[Turn], list[TagLink]]:
    """Three queries: attempts, opinions and tags of the page's messages, and the tags of the conversation."""
    workspace_id, keys = conversation.workspace_id, [message.pk for message in messages]
    logs = UsageLog.objects.filter(workspace_id=workspace_id, message__in=keys)
    attempts = _by(logs.select_related("llm").defer("model_settings").order_by("attempt"), "message_id")
    given = MessageFeedback.objects.filter(workspace_id=workspace_id, message__in=keys)
    opinions = _by(given.select_related("user").order_by("created_at", "id"), "message_id")
    links = TagLink.objects.filter(
        workspace_id=workspace_id,
        target_type__in=["message", "conversation"],
        target_id__in=[*keys, conversation.pk],
    ).exclude(state=TagLink.State.REJECTED)
    tags = _by(links.select_related("tag").order_by("created_at", "id"), "target_id")
    turns = [Turn(message, attempts[message.pk], opinions[message.pk], tags[message.pk]) for message in messages]
    return turns, tags[conversation.pk]


def _by(rows: QuerySet[Any], name: str) -> dict[uuid.UUID, list[Any]]:
    found: dict[uuid.UUID, list[Any]] = defaultdict(list)
    for row in rows[:MAX_BESIDE]:
        found[getattr(row, name)].append(row)
    return found
