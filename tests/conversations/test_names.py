"""The platform's names of tables and relations: clients, dashboards and scripts rely on them."""

from __future__ import annotations

import pytest

from billing.models import BillingEvent
from conversations.models import Conversation, ConversationLLM, Message, MessageFeedback, UsageLog
from llm.models import LLM, LLMPrice
from tests.full import fill
from tests.people import Person
from workspaces.models import UserVariable, Workspace


@pytest.mark.parametrize(
    ("model", "table"),
    [
        (LLM, "llms"),
        (LLMPrice, "llm_prices"),
        (Conversation, "conversations"),
        (Message, "messages"),
        (ConversationLLM, "conversation_llms"),
        (UsageLog, "usage_logs"),
        (BillingEvent, "billing_events"),
        (MessageFeedback, "message_feedbacks"),
        (UserVariable, "user_variables"),
        (Workspace, "workspaces"),
    ],
)
def test_tables(model: type, table: str) -> None:
    assert model._meta.db_table == table  # type: ignore[attr-defined]


@pytest.mark.django_db
@pytest.mark.fleet
def test_relations(alice: Person, llm: LLM) -> None:
    conversation = fill(alice, llm)
    message = Message.objects.get(role="assistant")
    owners = {
        alice.user: ("conversations", "usage_logs", "billing_events", "message_feedbacks"),
        conversation: ("messages", "conversation_llms", "usage_logs"),
        message: ("usage_logs", "billing_events", "message_feedbacks"),
        alice.workspace: ("usage_logs", "billing_events"),
        llm: ("usage_logs", "conversation_llms"),
    }
    models = {
        "conversations": Conversation,
        "messages": Message,
        "usage_logs": UsageLog,
        "billing_events": BillingEvent,
        "message_feedbacks": MessageFeedback,
        "conversation_llms": ConversationLLM,
    }
    for owner, names in owners.items():
        for name in names:
            rows = getattr(owner, name)
            rows = rows if name == "billing_events" and owner == message else rows.all()
            assert {type(row) for row in rows} == {models[name]}, f"{owner!r}.{name}"
    assert {event.event_type for event in message.billing_events} == {"usage", "refund"}
    assert {event.event_type for event in alice.user.billing_events.all()} == {"usage", "refund"}
