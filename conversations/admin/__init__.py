"""Back office: agents, conversations, and what was said, used and thought of it. No list shows what people wrote, and a page
does only for whoever may read it, which is noted (``content.py``).
"""

from conversations.admin.chats import AgentAdmin, ConversationAdmin, MessageAdmin, MessageImageAdmin
from conversations.admin.feedback import MessageFeedbackAdmin
from conversations.admin.usage import ConversationLLMAdmin, IdempotencyKeyAdmin, UsageLogAdmin

__all__ = [
    "AgentAdmin",
    "ConversationAdmin",
    "ConversationLLMAdmin",
    "IdempotencyKeyAdmin",
    "MessageAdmin",
    "MessageFeedbackAdmin",
    "MessageImageAdmin",
    "UsageLogAdmin",
]
