"""Chats and what they cost: agents, conversations, messages, statistics per model, usage, feedback."""

from conversations.models.chats import Agent, Conversation, ConversationQuerySet, Message
from conversations.models.feedback import MessageFeedback
from conversations.models.idempotency import IdempotencyKey
from conversations.models.images import MessageImage
from conversations.models.usage import ConversationLLM, UsageLog

__all__ = [
    "Agent",
    "Conversation",
    "ConversationLLM",
    "ConversationQuerySet",
    "IdempotencyKey",
    "Message",
    "MessageFeedback",
    "MessageImage",
    "UsageLog",
]
