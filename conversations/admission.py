"""Admission: everything that is decided before a provider is called, in one short transaction.

Every refusal happens here, before the first byte of an answer. When it returns, the money for the worst case is reserved
and the question and the pending answer are saved, so a crash from now on leaves nothing unaccounted.
"""

from __future__ import annotations

import uuid
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from decimal import Decimal

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from billing import holds, ledger
from billing.models import Hold, Wallet
from billing.policy import should_charge
from conversations import prompts
from conversations.asks import Ask
from conversations.choices import Plan, choose
from conversations.models import Conversation, IdempotencyKey, Message
from conversations.outcomes import CallTerms
from llm import pricing
from llm.errors import ProviderNotConfigured
from llm.keys import credentials_for
from llm.models import LLMPrice
from llm.types import CallRequest, ChatMessage, Credentials
from synapscale.common.errors import Conflict, Forbidden, InsufficientBalance, NotFound, Unprocessable
from synapscale.common.models import new_id
from synapscale.common.money import ZERO, usd_text
from workspaces.models import Membership, User, Workspace

_ATTEMPTS = 5
IN_FLIGHT_RETRY_SECONDS = 2


@dataclass(frozen=True, slots=True)
class Admitted:
    """A call that may be made: its money is reserved."""

    question: Message
    answer: Message
    request: CallRequest
    credentials: Credentials


@dataclass(frozen=True, slots=True)
class Known:
    """The idempotency key was used before, for the same request."""

    answer: Message


def admit(
    *,
    user: User,
    workspace: Workspace,
    membership: Membership,
    conversation_id: uuid.UUID,
    ask: Ask,
    idempotency_key: str = "",
) -> Admitted | Known:
    """Decide about a call and reserve its money. Raises a ``Refusal`` that changed nothing."""
    for _ in range(_ATTEMPTS):
        try:
            with transaction.atomic(durable=True):
                return _admit(user, workspace, membership, conversation_id, ask, idempotency_key)
        except holds.WalletMoved:
            continue  # another call reserved in between: look at the balance again
    raise InsufficientBalance("The balance is taken by other calls at the moment.", retry_after=IN_FLIGHT_RETRY_SECONDS)


def _admit(
    user: User,
    workspace: Workspace,
    membership: Membership,
    conversation_id: uuid.UUID,
    ask: Ask,
    idempotency_key: str,
) -> Admitted | Known:
    conversation = _conversation(user, workspace, conversation_id)
    if not membership.may_write:
        raise Forbidden("A viewer can't send messages.")
    if not workspace.is_open:
        raise Forbidden("The workspace is suspended.", code="workspace_suspended")
    question_id, answer_id = new_id(), new_id()  # in the order in which they are read
    if idempotency_key:
        known = _remember(user, workspace, idempotency_key, ask, conversation, answer_id)
        if known is not None:
            return Known(known)
    if conversation.status == Conversation.Status.ARCHIVED:
        raise Conflict("The conversation is archived; set its status to active first.", code="conversation_archived")

    plan = choose(ask=ask, conversation=conversation, workspace=workspace)
    now = timezone.now()
    try:
        price = plan.llm.price_at(now)
    except pricing.NoPrice:
        raise Unprocessable(f"{plan.llm} has no price at present, so it can't be called.", code="no_price") from None
    try:
        credentials = credentials_for(user=user, workspace=workspace, provider=plan.llm.provider)
    except ProviderNotConfigured as error:
        raise Unprocessable(error.message, code=error.code, status=error.http_status) from None
    question = Message(
        id=question_id,
        workspace=workspace,
        conversation=conversation,
        user=user,
        role=ask.role,
        content=ask.content,
        attachments=ask.attachments,
        tool_call_id=ask.tool_call_id,
    )
    request = _request(plan, conversation, question)
    wallet = ledger.wallet_of(workspace.pk)
    is_charged = should_charge(user, workspace, credentials.source, wallet=wallet)
    max_tokens, amount = _afford(wallet, price, request, plan, now) if is_charged else (request.max_tokens, ZERO)
    request = replace(request, max_tokens=max_tokens)

    hold = holds.open_hold(wallet=wallet, user_id=user.pk, amount=amount)
    question.save()
    answer = _pending_answer(answer_id, question, plan, price, now, hold, request, credentials, is_charged, wallet)
    answer.save()
    holds.reserve(wallet=wallet, amount=amount)  # last: the wallet's row is the one everybody wants
    return Admitted(question=question, answer=answer, request=request, credentials=credentials)


def _conversation(user: User, workspace: Workspace, conversation_id: uuid.UUID) -> Conversation:
    conversation = (
        Conversation.objects.visible_to(user=user, workspace=workspace)
        .select_related("agent__llm")
        .filter(pk=conversation_id)
        .first()
    )
    if conversation is None:
        raise NotFound("There is no such conversation.")
    return conversation


def _remember(
    user: User, workspace: Workspace, key: str, ask: Ask, conversation: Conversation, answer_id: uuid.UUID
) -> Message | None:
    """Claim ``key`` for this request. The answer it already stands for, if any; 409 while that is not final."""
    claimed, is_new = IdempotencyKey.objects.get_or_create(
        workspace=workspace,
        user=user,
        key=key,
        # The answer is inserted later in this transaction; its foreign key is checked at the commit.
        defaults={"request_hash": ask.fingerprint(conversation_id=conversation.pk), "message_id": answer_id},
    )
    if is_new:
        return None
    if claimed.request_hash != ask.fingerprint(conversation_id=conversation.pk):
        raise Unprocessable("This Idempotency-Key was used for another request.", code="idempotency_key_reused")
    answer = claimed.message
    assert answer is not None
    if not answer.is_final:
        raise Conflict(
            "The first request with this Idempotency-Key is still running.",
            code="request_in_progress",
            details={"message_id": str(answer.pk)},
            retry_after=IN_FLIGHT_RETRY_SECONDS,
        )
    return answer


def _request(plan: Plan, conversation: Conversation, question: Message) -> CallRequest:
    llm, turn = plan.llm, prompts.as_turn(question)
    request = CallRequest(
        model=llm.name,
        messages=(turn,),
        system=plan.system,
        max_tokens=plan.max_tokens,
        temperature=None if plan.temperature is None else float(plan.temperature),
        tools=tuple(plan.tools),
        tool_choice=plan.tool_choice,
        response_schema=plan.response_schema,
        stop=tuple(plan.stop),
        is_reasoning=llm.supports_reasoning,
    )
    room = llm.context_window - prompts.estimated_tokens(request, llm=llm)
    if room < 1:
        raise Unprocessable("The message is longer than the model's context window.", code="context_length_exceeded")
    max_tokens = min(plan.max_tokens, room)
    earlier = prompts.history(conversation, llm)
    if question.role == Message.Role.TOOL and not _answers_a_call(question, earlier):
        raise Unprocessable(
            "No tool call of this conversation has this id.",
            code="unknown_tool_call",
            details={"tool_call_id": [question.tool_call_id]},
        )
    kept = prompts.fitting(earlier, room=room - max_tokens, llm=llm)
    return replace(request, messages=(*kept, turn), max_tokens=max_tokens)


def _answers_a_call(question: Message, earlier: list[ChatMessage]) -> bool:
    return any(call.id == question.tool_call_id for turn in earlier for call in turn.tool_calls)


def _afford(wallet: Wallet, price: LLMPrice, request: CallRequest, plan: Plan, now: datetime) -> tuple[int, Decimal]:
    """How long the answer may get and what to reserve for it: the balance decides the length, down to a floor."""
    table, input_tokens = price.table, prompts.worst_case_tokens(request, llm=plan.llm)

    def worst(max_tokens: int) -> Decimal:
        cost = pricing.worst_case(table, input_tokens=input_tokens, max_output_tokens=max_tokens, at=now)
        return pricing.with_markup(cost, basis_points=wallet.markup_bps)

    def affordable(money: Decimal) -> int:
        budget = pricing.without_markup(max(money, ZERO), basis_points=wallet.markup_bps)
        return pricing.affordable_output_tokens(table, budget=budget, input_tokens=input_tokens, at=now)

    needed = worst(request.max_tokens)
    if needed <= wallet.available:
        return request.max_tokens, needed
    floor = min(settings.MIN_OUTPUT_TOKENS, request.max_tokens)
    tokens = min(affordable(wallet.available), request.max_tokens)
    if tokens >= floor:
        return tokens, worst(tokens)
    # Would it do once the calls under way are settled? Then it is worth another try, soon.
    is_in_flight = affordable(wallet.available + wallet.held) >= floor
    raise InsufficientBalance(
        "The balance does not cover this call.",
        details={
            "needed": usd_text(needed),
            "available": usd_text(max(wallet.available, ZERO)),
            "held": usd_text(wallet.held),
            "affordable_max_tokens": max(tokens, 0),
            "reason": "in_flight_holds" if is_in_flight else "balance",
        },
        retry_after=IN_FLIGHT_RETRY_SECONDS if is_in_flight else None,
    )


def _pending_answer(
    answer_id: uuid.UUID,
    question: Message,
    plan: Plan,
    price: LLMPrice,
    now: datetime,
    hold: Hold,
    request: CallRequest,
    credentials: Credentials,
    is_charged: bool,
    wallet: Wallet,
) -> Message:
    terms = CallTerms(
        key_source=credentials.source,
        is_charged=is_charged,
        markup_bps=wallet.markup_bps if is_charged else 0,
        prompt_tokens=prompts.estimated_tokens(request, llm=plan.llm),
        model_settings=plan.as_settings(max_tokens=request.max_tokens),
    )
    return Message(
        id=answer_id,
        workspace_id=question.workspace_id,
        conversation_id=question.conversation_id,
        user_id=question.user_id,
        role=Message.Role.ASSISTANT,
        status=Message.Status.PENDING,
        reply_to=question,
        llm=plan.llm,
        price=price,
        priced_at=now,
        hold=hold,
        model_used=str(plan.llm),
        temperature=plan.temperature,
        max_tokens=request.max_tokens,
        call={"terms": asdict(terms)},
    )
