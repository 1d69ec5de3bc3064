"""Calls of any time, as metering would have written them, and what they come to when they are counted one by one."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db.models import DateTimeField

from analytics.measures import Figures
from analytics.models import UsageTail
from billing import ledger
from conversations.models import Agent, Conversation, Message, UsageLog
from llm.models import LLM, LLMPrice
from synapscale.common.models import new_id
from tests.people import Person

MICRO_USD = Decimal("0.000001")


@dataclass(frozen=True)
class Call:
    """One call; ``cost`` and what is ``charged`` in millionths of a dollar. Who is charged needs money in the wallet."""

    at: datetime
    person: Person
    llm: LLM
    agent: Agent | None = None
    attempt: int = 1
    status: str = "success"
    key_source: str = "global"
    tokens: tuple[int, int, int, int, int, int] = (10, 0, 0, 0, 20, 0)
    """Input, cached, written to the cache for 5 minutes and for an hour, output, reasoning."""
    cost: int = 0
    charged: int = 0
    latency_ms: int | None = 100
    first_token_ms: int | None = None
    priced_at: datetime | None = None
    """When it was admitted; otherwise when it was settled."""

    @property
    def figures(self) -> Figures:
        """What this call alone comes to."""
        fresh, cached, minutes, hour, output, reasoning = self.tokens
        is_timed = self.status == "success" and self.latency_ms is not None
        return Figures.named(
            calls=1,
            messages=int(self.attempt == 1),
            input_tokens=fresh + cached + minutes + hour,
            cached_input_tokens=cached,
            cache_write_tokens=minutes + hour,
            output_tokens=output + reasoning,
            reasoning_tokens=reasoning,
            total_tokens=sum(self.tokens),
            charged_usd=self.charged * MICRO_USD,
            cost_usd=self.cost * MICRO_USD,
            timed_calls=int(is_timed),
            latency_ms=(self.latency_ms or 0) if is_timed else 0,
            timed_output_tokens=output + reasoning if is_timed else 0,
            first_token_calls=int(is_timed and self.first_token_ms is not None),
            first_token_ms=(self.first_token_ms or 0) if is_timed else 0,
            failed=int(self.status in ("error", "lost")),
            interrupted=int(self.status == "interrupted"),
            own_key_calls=int(self.key_source == "user"),
        )


def write(calls: Iterable[Call]) -> list[UsageLog]:
    """The rows of ``calls``, in the tail like any others."""
    found = []
    chats: dict[Any, Conversation] = {}
    for call in calls:
        workspace = call.person.workspace
        chat = chats.get((workspace.pk, call.person.user.pk)) or Conversation.objects.create(
            workspace=workspace, user=call.person.user
        )
        chats[workspace.pk, call.person.user.pk] = chat
        message = Message.objects.create(workspace=workspace, conversation=chat, user=call.person.user, role="user")
        fresh, cached, minutes, hour, output, reasoning = call.tokens
        log = UsageLog(
            workspace=workspace,
            message=message,
            attempt=call.attempt,
            conversation=chat,
            user=call.person.user,
            agent=call.agent,
            llm=call.llm,
            price=LLMPrice.objects.get(llm=call.llm),
            priced_at=call.priced_at or call.at,
            input_tokens=fresh,
            cached_input_tokens=cached,
            cache_write_5m_tokens=minutes,
            cache_write_1h_tokens=hour,
            output_tokens=output,
            reasoning_tokens=reasoning,
            total_tokens=sum(call.tokens),
            cost_usd=call.cost * MICRO_USD,
            charged_usd=call.charged * MICRO_USD,
            billing_event_id=_charge(call, message) if call.charged else None,
            latency_ms=call.latency_ms,
            time_to_first_token_ms=call.first_token_ms,
            key_source=call.key_source,
            status=call.status,
        )
        log.created_at = call.at
        found.append(log)
    created = UsageLog._meta.get_field("created_at")
    assert isinstance(created, DateTimeField)
    created.auto_now_add = False  # it would be now
    try:
        UsageLog.objects.bulk_create(found)
    finally:
        created.auto_now_add = True
    UsageTail.objects.bulk_create(UsageTail(workspace_id=log.workspace_id, usage_log=log) for log in found)
    return found


def _charge(call: Call, message: Message) -> uuid.UUID:
    """The wallet's event of a call."""
    event_id = new_id()
    ledger.charge(
        wallet_id=ledger.wallet_of(call.person.workspace.pk).pk,
        workspace_id=call.person.workspace.pk,
        amount=call.charged * MICRO_USD,
        reference=f"test:{message.pk}",
        user_id=call.person.user.pk,
        event_id=event_id,
    )
    return event_id


def added(calls: Iterable[Call]) -> Figures:
    """What ``calls`` come to together."""
    total = Figures()
    for call in calls:
        total += call.figures
    return total
