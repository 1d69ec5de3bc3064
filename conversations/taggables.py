"""What of chats, and of those who have them, can be tagged. Called once, when the app is ready."""

from __future__ import annotations

from django.db.models import QuerySet

from conversations.models import Conversation, Message
from tagging.registry import Taggable, register
from workspaces.models import Membership, User, Workspace


def _conversations(user: User, workspace: Workspace) -> QuerySet[Conversation]:
    return Conversation.objects.visible_to(user=user, workspace=workspace)


def _messages(user: User, workspace: Workspace) -> QuerySet[Message]:
    visible = _conversations(user, workspace)
    return Message.objects.filter(workspace=workspace, conversation__in=visible.values("pk"))


def _may_write(membership: Membership) -> bool:
    return membership.may_write


def connect() -> None:
    register(Taggable("conversation", Conversation, reachable=_conversations, may_tag=_may_write))
    register(Taggable("message", Message, reachable=_messages, may_tag=_may_write))
