"""Ledgers of past months: movements of the time that a test gives them, and the calls that they charge."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from unittest import mock

from django.utils import timezone

from billing import ledger
from billing.models import BillingEvent
from billing.policy import OWN_KEYS
from conversations.models import Conversation, Message, UsageLog
from llm.models import LLM, LLMPrice
from synapscale.common.models import new_id
from tests.people import Person
from workspaces.models import User, Workspace


def at(month: int, day: int = 15, hour: int = 12, minute: int = 0) -> datetime:
    return datetime(2026, month, day, hour, minute, tzinfo=UTC)


@contextmanager
def clock_at(moment: datetime) -> Iterator[None]:
    """What is written meanwhile is of ``moment``."""
    with mock.patch.object(timezone, "now", return_value=moment):
        yield


def credit(workspace: Workspace, moment: datetime, amount: str, said: str = "", **more: Any) -> BillingEvent:
    with clock_at(moment):
        more.setdefault("reference", f"test:{new_id()}")
        return ledger.credit(workspace=workspace, amount=Decimal(amount), description=said, **more)[0]


def adjust(workspace: Workspace, moment: datetime, amount: str, said: str = "A correction") -> BillingEvent:
    with clock_at(moment):
        reference = f"test:{new_id()}"
        return ledger.adjust(
            workspace=workspace, amount=Decimal(amount), reference=reference, description=said, actor=None
        )[0]


def refund(event: BillingEvent, moment: datetime, amount: str, said: str = "A bad answer") -> BillingEvent:
    with clock_at(moment):
        reference = f"test:{new_id()}"
        return ledger.refund(original=event, amount=Decimal(amount), reference=reference, description=said, actor=None)[
            0
        ]


def charge(
    workspace: Workspace,
    moment: datetime,
    amount: str,
    *,
    kind: str = "usage",
    user: User | None = None,
    said: str = "",
) -> BillingEvent:
    event_id = new_id()
    with clock_at(moment):
        ledger.charge(
            wallet_id=ledger.wallet_of(workspace.pk).pk,
            workspace_id=workspace.pk,
            amount=Decimal(amount),
            reference=f"test:{event_id}",
            user_id=user.pk if user else None,
            event_id=event_id,
            event_type=kind,
            description=said,
        )
    return BillingEvent.objects.get(workspace=workspace, pk=event_id)


def call(
    person: Person,
    llm: LLM,
    moment: datetime,
    charged: str = "0",
    *,
    key_source: str = "global",
    cost: str = "0",
    tokens: int = 30,
    charged_at: datetime | None = None,
) -> UsageLog:
    """A call and its charge (USD), which on an own key is the platform's fee."""
    workspace = person.workspace
    event = None
    if Decimal(charged):
        kind = "fee" if key_source in OWN_KEYS else "usage"
        event = charge(workspace, charged_at or moment, charged, kind=kind, user=person.user)
    with clock_at(moment):
        chat = Conversation.objects.create(workspace=workspace, user=person.user)
        message = Message.objects.create(workspace=workspace, conversation=chat, user=person.user, role="user")
        return UsageLog.objects.create(
            workspace=workspace,
            message=message,
            conversation=chat,
            user=person.user,
            llm=llm,
            price=LLMPrice.objects.get(llm=llm),
            priced_at=moment,
            input_tokens=tokens,
            total_tokens=tokens,
            cost_usd=Decimal(cost),
            charged_usd=Decimal(charged),
            billing_event_id=event.pk if event else None,
            key_source=key_source,
            status="success",
        )
