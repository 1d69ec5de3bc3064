"""Metering: a final assistant message becomes usage, a charge and statistics, once, in the caller's transaction.

Order of writes (and so of row locks): message, hold, usage, statistics, rate limits, the token's spending, wallet. The
wallet, the most contended row, is last, in one statement with its ledger event.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import partial

from django.db import connection, transaction
from django.db.models import F
from django.utils import timezone
from django.utils.translation import gettext_noop

from billing import holds, ledger, spending
from billing.models import BillingEvent, Hold, HoldIncident, Wallet
from billing.policy import OWN_KEYS, should_charge
from conversations.models import Conversation, ConversationLLM, Message, UsageLog
from conversations.outcomes import CallTerms, Outcome
from conversations.pay import due_of
from llm import pricing
from llm.models import LLMPrice
from llm.types import Usage
from synapscale.common import metrics, stored_words
from synapscale.common.models import new_id
from synapscale.common.money import ZERO, usd
from workspaces import ratelimits

_FAILED = frozenset({UsageLog.Status.ERROR, UsageLog.Status.LOST})
"""How calls end that have nothing to show."""


def meter_message(message: Message) -> UsageLog | None:
    """Write the usage, charge and statistics of a final assistant message; None if there is nothing to meter.

    Metering the same message and attempt again returns the row that is there. Must run inside the transaction that
    saves the message, so that the answer and its charge stand or fall together. Raises ``holds.HoldGone`` when
    somebody else resolved the call's hold: the caller rolls back.
    """
    if not connection.in_atomic_block:
        raise transaction.TransactionManagementError("meter_message runs only inside the transaction of its message.")
    if message.role != Message.Role.ASSISTANT or not message.is_final or message.llm_id is None:
        return None
    known = UsageLog.objects.filter(
        workspace_id=message.workspace_id, message_id=message.pk, attempt=message.attempt
    ).first()
    if known is not None:
        return known
    payment = _meter(message, _outcome(message), is_last=True)
    payment.make()
    return payment.log


def meter_failed_attempt(message: Message, outcome: Outcome) -> Payment:
    """Write the usage of an attempt that another model's will follow. ``message`` stays pending, and what the wallet pays
    and gets back is left to the caller to make, last in its transaction. Raises ``holds.HoldGone`` like
    ``meter_message``.
    """
    if not connection.in_atomic_block:
        raise transaction.TransactionManagementError("An attempt is metered together with the one that follows it.")
    return _meter(message, outcome, is_last=False)


@dataclass(frozen=True, slots=True)
class Payment:
    """What a metered call does to the wallet: it is charged, and what was held is given back."""

    log: UsageLog
    wallet_id: uuid.UUID
    hold: Hold | None
    description: str

    def ahead(self, wallet: Wallet) -> Wallet:
        """``wallet`` as it will be then, to decide by until then. It can't be saved: its money is the ledger's."""
        wallet.balance -= self.log.charged_usd
        wallet.held -= self.hold.amount if self.hold else ZERO
        return wallet

    def make(self) -> None:
        log = self.log
        if log.charged_usd:
            ledger.charge(
                wallet_id=self.wallet_id,
                workspace_id=log.workspace_id,
                amount=log.charged_usd,
                hold=self.hold,
                event_id=log.billing_event_id,
                event_type=BillingEvent.Type.FEE if log.key_source in OWN_KEYS else BillingEvent.Type.USAGE,
                reference=f"message:{log.message_id}:{log.attempt}",
                user_id=log.user_id,
                description=self.description,
                metadata={"usage_log": str(log.pk), "message": str(log.message_id)},
            )
        elif self.hold is not None:
            holds.give_back(hold=self.hold)


def _meter(message: Message, outcome: Outcome, *, is_last: bool) -> Payment:
    assert message.llm_id is not None
    bill = bill_of(message, outcome)
    terms, usage = bill.terms, bill.usage
    wallet, hold, charged = _resolve(message, outcome, bill.due)

    now = timezone.now()
    event_id = new_id() if charged else None
    log = UsageLog.objects.create(
        workspace_id=message.workspace_id,
        message=message,
        attempt=message.attempt,
        user_id=message.user_id,
        access_token_id=uuid.UUID(terms.access_token) if terms.access_token else None,
        conversation_id=message.conversation_id,
        agent_id=uuid.UUID(terms.agent) if terms.agent else None,
        llm_id=message.llm_id,
        price=bill.price,
        priced_at=bill.priced_at,
        hold=hold,
        billing_event_id=event_id,
        input_tokens=usage.input,
        cached_input_tokens=usage.cached_input,
        cache_write_5m_tokens=usage.cache_write_5m,
        cache_write_1h_tokens=usage.cache_write_1h,
        output_tokens=usage.output,
        reasoning_tokens=usage.reasoning,
        total_tokens=usage.total,
        cost_usd=bill.cost,
        charged_usd=charged,
        markup_bps=terms.markup_bps,
        latency_ms=outcome.latency_ms,
        time_to_first_token_ms=outcome.time_to_first_token_ms,
        api_status_code=outcome.status_code,
        user_api_key_used=terms.key_source == UsageLog.KeySource.USER,
        key_source=terms.key_source,
        model_settings=terms.model_settings,
        status=bill.status,
        error_code=outcome.error_code,
        error_message=outcome.error_message,
        is_estimate=bill.is_estimate,
        provider_request_id=outcome.provider_request_id,
    )
    transaction.on_commit(partial(_measure, log, message.model_used, usage), robust=True)
    _count(message, usage, charged, now, messages=_messages(message, terms) if is_last else 0)
    if terms.rate_tokens:
        # What was taken stays taken for the attempt that follows.
        taken = terms.rate_tokens if is_last else 0
        ratelimits.give_back(
            workspace_id=message.workspace_id, access_token_id=log.access_token_id, tokens=taken - usage.total
        )
    if hold is not None:
        spending.settle(hold, charged=charged, at=now)
    return Payment(
        log=log,
        wallet_id=wallet.pk if wallet else hold.wallet_id,  # type: ignore[union-attr]
        hold=hold,
        description=_described(f"{message.model_used}, {usage.total} tokens", terms),
    )


def _measure(log: UsageLog, model: str, usage: Usage) -> None:
    """For Prometheus, once it is committed: what is counted there is what the books say."""
    metrics.metered(
        model=model,
        status=log.status,
        error_code=log.error_code,
        latency_ms=log.latency_ms,
        time_to_first_token_ms=log.time_to_first_token_ms,
        tokens=usage.as_dict(),
        cost=log.cost_usd,
        charged=log.charged_usd,
    )


FEES = {
    "user": gettext_noop("%(call)s, platform fee on the user's own key"),
    "workspace": gettext_noop("%(call)s, platform fee on the workspace's own key"),
}
stored_words.register("billing.BillingEvent.description", *FEES.values(), is_shared=True)
NO_HOLD = gettext_noop("message %(message)s had no hold")
OVERRUN = gettext_noop("message %(message)s on %(model)s")
stored_words.register("billing.HoldIncident.detail", NO_HOLD, OVERRUN)


def _described(call: str, terms: CallTerms) -> str:
    return FEES[terms.key_source] % {"call": call} if terms.key_source in OWN_KEYS else call


@dataclass(frozen=True, slots=True)
class Bill:
    """What a call comes to."""

    terms: CallTerms
    price: LLMPrice
    priced_at: datetime
    status: str
    """A ``UsageLog.Status``."""
    usage: Usage
    is_estimate: bool
    cost: Decimal
    """What the provider costs, in USD."""
    due: Decimal
    """What the customer owes for it, in USD, before it is bounded by the hold."""


def bill_of(message: Message, outcome: Outcome) -> Bill:
    """What ``outcome`` comes to by the terms and the price that admission fixed on ``message``. Changes nothing."""
    terms = _terms(message)
    price = message.price or message.llm.price_at(message.created_at)  # type: ignore[union-attr]
    priced_at = message.priced_at or message.created_at
    status = _status(outcome)
    usage, is_estimate = usage_of(outcome, terms)
    cost = cost_of_call(price.table, usage, at=priced_at, status=status)
    due = ZERO
    if terms.is_charged:
        due = due_of_call(cost, status=status, key_source=terms.key_source, basis_points=terms.markup_bps)
    return Bill(terms, price, priced_at, status, usage, is_estimate, cost, due)


def cost_of_call(table: pricing.PriceTable, usage: Usage, *, at: datetime, status: str) -> Decimal:
    """The exact cost in USD. A call that failed without using a token costs no fee per request either."""
    if usage.total == 0 and status in _FAILED:
        return ZERO
    return pricing.cost_of(table, usage, at=at)


def due_of_call(cost: Decimal, *, status: str, key_source: str, basis_points: int) -> Decimal:
    """What a charged call that costs ``cost`` comes to, in USD. One that failed with nothing to show is free, whatever
    the provider bills for it: that is the house's.
    """
    return ZERO if status in _FAILED else due_of(cost, key_source=key_source, basis_points=basis_points)


def usage_of(outcome: Outcome, terms: CallTerms) -> tuple[Usage, bool]:
    """The tokens of a call, and whether they are an estimate.

    What the provider reported counts. A call that broke off is estimated from what arrived, about four bytes a token, on
    top of what the provider had reported until then; one of which nothing arrived, not even that, used nothing.
    """
    if outcome.usage is not None:
        return outcome.usage, False
    seen = outcome.seen_usage
    has_come = outcome.size > 0 or outcome.thought_size > 0 or seen is not None
    if not has_come and outcome.status != Message.Status.SENT:
        return Usage(), False
    output, reasoning = pricing.tokens_of_bytes(outcome.size), pricing.tokens_of_bytes(outcome.thought_size)
    if seen is None:
        return Usage(input=terms.prompt_tokens, output=output, reasoning=reasoning), True
    return (
        Usage(
            input=seen.input,
            cached_input=seen.cached_input,
            cache_write_5m=seen.cache_write_5m,
            cache_write_1h=seen.cache_write_1h,
            output=max(output, seen.output),
            reasoning=max(reasoning, seen.reasoning),
        ),
        True,
    )


def _terms(message: Message) -> CallTerms:
    """What admission fixed. A message that never passed admission is charged by the rules of now."""
    if "terms" in message.call:
        return CallTerms(**message.call["terms"])
    wallet = ledger.wallet_of(message.workspace_id)
    is_charged = should_charge(message.user, message.workspace, UsageLog.KeySource.GLOBAL, wallet=wallet)
    return CallTerms(
        key_source=UsageLog.KeySource.GLOBAL, is_charged=is_charged, markup_bps=wallet.markup_bps, prompt_tokens=0
    )


def _outcome(message: Message) -> Outcome:
    if "outcome" in message.call:
        return Outcome.from_json({**message.call["outcome"], "content": message.content})
    return Outcome(
        status=message.status,
        content=message.content,
        error_message=message.error_message,
        latency_ms=message.processing_time_ms,
    )


def _resolve(message: Message, outcome: Outcome, due: Decimal) -> tuple[Wallet | None, Hold | None, Decimal]:
    """Close the call's hold; the wallet (where there was no hold), the hold, and what the customer pays.

    The customer never pays more than was held. What is over is the house's, and an operator gets to see it.
    """
    if message.hold_id is None:
        wallet = ledger.wallet_of(message.workspace_id)
        covered = due if wallet.mode == Wallet.Mode.UNTRACKED else max(ZERO, min(due, wallet.available))
        if due > covered:
            HoldIncident.objects.create(
                workspace_id=message.workspace_id,
                kind=HoldIncident.Kind.OVERRUN,
                amount=due - covered,
                detail=NO_HOLD % {"message": message.pk},
            )
        return wallet, None, covered
    hold = message.hold
    assert hold is not None
    charged = min(due, hold.amount)
    if outcome.is_swept:
        state = Hold.State.EXPIRED
    elif charged == ZERO and outcome.status == Message.Status.ERROR:
        state = Hold.State.RELEASED
    else:
        state = Hold.State.SETTLED
    holds.resolve(hold=hold, state=state, charged=charged)
    if due > charged:
        ledger.record_incident(
            hold=hold,
            kind=HoldIncident.Kind.OVERRUN,
            amount=due - charged,
            detail=OVERRUN % {"message": message.pk, "model": message.model_used},
        )
    return None, hold, charged


def _status(outcome: Outcome) -> str:
    if outcome.is_lost:
        return UsageLog.Status.LOST
    return {
        Message.Status.SENT: UsageLog.Status.SUCCESS,
        Message.Status.ERROR: UsageLog.Status.ERROR,
        Message.Status.INTERRUPTED: UsageLog.Status.INTERRUPTED,
    }[Message.Status(outcome.status)]


def _messages(message: Message, terms: CallTerms) -> int:
    """The answer, and what was asked (where something was): counted together, with the attempt that ends it."""
    return 1 + (terms.questions if message.reply_to_id else 0)


def _count(message: Message, usage: Usage, charged: Decimal, now: datetime, *, messages: int) -> None:
    """Conversation statistics."""
    key = {
        "workspace_id": message.workspace_id,
        "conversation_id": message.conversation_id,
        "llm_id": message.llm_id,
    }
    changes = {
        "last_used_at": now,
        "message_count": F("message_count") + 1,
        "input_tokens": F("input_tokens") + usage.total_input,
        "output_tokens": F("output_tokens") + usage.total_output,
        "total_cost": F("total_cost") + usd(charged),
    }
    rows = ConversationLLM.objects.filter(**key)
    if not rows.update(**changes):
        ConversationLLM.objects.bulk_create(
            [ConversationLLM(**key, first_used_at=now, last_used_at=now)], ignore_conflicts=True
        )
        rows.update(**changes)
    Conversation.objects.filter(workspace_id=message.workspace_id, pk=message.conversation_id).update(
        message_count=F("message_count") + messages,
        total_tokens=F("total_tokens") + usage.total,
        total_cost=F("total_cost") + usd(charged),
        last_message_at=now,
    )
