"""Back office: of which rows the audit log notes every change. A test knows the ones that can be changed here."""

from __future__ import annotations

from django.contrib.auth.models import Group

from analytics.models import AlertRule, Report, WebhookEndpoint
from billing.models import Wallet
from conversations.models import Agent, Conversation, MessageFeedback
from llm.models import LLM, LLMPrice, PriceProposal, ProviderConnection
from synapscale.common.audit import track
from tagging.models import Tag, TagRule
from workspaces.models import AccessToken, Membership, User, UserVariable, Workspace

_SECRET = ("ciphertext", "key_id")


def track_all() -> None:
    # For all tenants alike.
    track(LLM)
    track(LLMPrice)
    track(PriceProposal)
    track(ProviderConnection, without=_SECRET)
    track(Workspace)
    track(User, without=("last_login",), masked=("password",), lists=("groups", "user_permissions"))
    track(Group, lists=("permissions",))
    track(Membership)
    track(AccessToken, without=("digest", "last_used_at"))
    track(UserVariable, without=_SECRET)
    track(AlertRule)
    track(WebhookEndpoint, without=(*_SECRET, "last_status", "last_error", "last_attempt_at"))
    # A tenant's own, where operators change it. What customers wrote stays out of the log.
    track(Wallet, without=("balance", "held", "seq"))
    track(Agent, masked=("system_prompt",))
    track(
        Conversation,
        without=("message_count", "total_tokens", "total_cost", "last_message_at"),
        masked=("title", "context", "settings"),
        is_nameless=True,
    )
    track(MessageFeedback, masked=("text", "suggestion"))
    track(Report, without=("next_run_at",))
    track(Tag)
    track(TagRule)
