"""An answer as either protocol shows it: what was written, by which model, and what it used and cost."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from billing.policy import OWN_KEYS
from conversations.api.replies import ensure_kept
from conversations.models import Message, UsageLog
from conversations.outcomes import Outcome
from llm.types import Thinking, ToolCall, Usage
from synapscale.common.money import ZERO, usd_text


@dataclass(frozen=True, slots=True)
class Bill:
    """What a call used, by the attempt that answered, and cost, over all attempts."""

    usage: Usage
    charged: Decimal
    """What the wallet paid, in USD."""
    cost: Decimal
    """What the providers cost, in USD."""
    key_source: str
    is_estimate: bool
    attempts: int

    @property
    def extension(self) -> dict[str, Any]:
        """OpenRouter's fields beside the token counts; money as exact decimal text."""
        return {
            "cost": usd_text(self.charged),
            "is_byok": self.key_source in OWN_KEYS,
            "cost_details": {"upstream_inference_cost": usd_text(self.cost)},
            "is_estimate": self.is_estimate,
        }


@dataclass(frozen=True, slots=True)
class Served:
    """A finished answer."""

    id: str
    conversation: str
    created_at: datetime
    model: str
    """“provider/name” of the model that answered."""
    text: str
    tool_calls: tuple[ToolCall, ...]
    thinking: tuple[Thinking, ...]
    finish_reason: str
    stop_sequence: str
    bill: Bill

    @property
    def headers(self) -> dict[str, str]:
        return {
            "x-synapscale-message-id": self.id,
            "x-synapscale-conversation-id": self.conversation,
            "x-synapscale-model": self.model,
            "x-synapscale-attempts": str(self.bill.attempts),
            "x-synapscale-response-cost": usd_text(self.bill.charged),
        }


def bill_of(message: Message) -> Bill:
    """One query."""
    logs = list(UsageLog.objects.of(message))
    last = logs[-1]
    return Bill(
        usage=Usage(
            input=last.input_tokens,
            cached_input=last.cached_input_tokens,
            cache_write_5m=last.cache_write_5m_tokens,
            cache_write_1h=last.cache_write_1h_tokens,
            output=last.output_tokens,
            reasoning=last.reasoning_tokens,
        ),
        charged=sum((log.charged_usd for log in logs), start=ZERO),
        cost=sum((log.cost_usd for log in logs), start=ZERO),
        key_source=last.key_source,
        is_estimate=last.is_estimate,
        attempts=len(logs),
    )


def served(message: Message, outcome: Outcome | None = None) -> Served:
    """``message``, settled, with what ``outcome`` says of it where the workspace keeps no content.

    Without one, from what was stored. Raises Conflict when that is not enough: the answer was given once, and not kept.
    """
    if outcome is None:
        ensure_kept(message)
        outcome = Outcome.from_json({**message.call["outcome"], "content": message.content})
    return Served(
        id=str(message.pk),
        conversation=str(message.conversation_id),
        created_at=message.created_at,
        model=message.model_used,
        text=outcome.content,
        tool_calls=outcome.tool_calls,
        thinking=outcome.thinking,
        finish_reason=outcome.finish_reason,
        stop_sequence=outcome.stop_sequence,
        bill=bill_of(message),
    )
