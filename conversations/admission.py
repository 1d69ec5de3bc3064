"""Admission: everything that is decided before a provider is called, in one short transaction.

Every refusal happens here, before the first byte of an answer. When it returns, the money for the worst case is reserved
and the question and the pending answer are saved, so a crash from now on leaves nothing unaccounted.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime

from django.db import transaction
from django.utils import timezone

from billing import holds, ledger, spending
from billing.models import Hold, Wallet
from conversations import attachments
from conversations.asks import Ask
from conversations.choices import Plan, choose, is_retired, retired, switched
from conversations.models import Conversation, IdempotencyKey, Message, MessageImage
from conversations.offers import IN_FLIGHT_RETRY_SECONDS, Asker, Offer, make_offer
from llm.circuits import CIRCUITS
from llm.types import CallRequest, Credentials
from synapscale.common.errors import Conflict, Forbidden, InsufficientBalance, NotFound, Refusal, Unprocessable
from synapscale.common.models import new_id
from synapscale.common.money import ZERO
from tagging import links, vocabulary
from tagging.models import Tag
from workspaces import ratelimits
from workspaces.models import AccessToken, Membership, User, Workspace

_ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class Admitted:
    """A call that may be made: its money is reserved."""

    question: Message
    answer: Message
    request: CallRequest
    credentials: Credentials
    plan: Plan
    ask: Ask
    asker: Asker
    conversation: Conversation
    rates: list[ratelimits.RateState] = field(default_factory=list)
    """How the rate limits that apply stand after it."""


@dataclass(frozen=True, slots=True)
class Known:
    """The idempotency key was used before, for the same request."""

    answer: Message


def admit(
    *,
    user: User,
    workspace: Workspace,
    membership: Membership,
    conversation_id: uuid.UUID | None,
    ask: Ask,
    idempotency_key: str = "",
    access_token: AccessToken | None = None,
) -> Admitted | Known:
    """Decide about a call and reserve its money. Raises a ``Refusal`` that changed nothing.

    Without a conversation the call goes to the one of the user's API calls.
    """
    asker = Asker(user, workspace, access_token)
    for _ in range(_ATTEMPTS):
        try:
            with transaction.atomic(durable=True):
                return _admit(asker, membership, conversation_id, ask, idempotency_key)
        except holds.WalletMoved:
            continue  # another call reserved in between: look at the balance again
    raise InsufficientBalance("The balance is taken by other calls at the moment.", retry_after=IN_FLIGHT_RETRY_SECONDS)


def _admit(
    asker: Asker,
    membership: Membership,
    conversation_id: uuid.UUID | None,
    ask: Ask,
    idempotency_key: str,
) -> Admitted | Known:
    user, workspace = asker.user, asker.workspace
    conversation = _conversation(user, workspace, conversation_id)
    if not membership.may_write:
        raise Forbidden("A viewer can't send messages.")
    if not workspace.is_open:
        raise Forbidden("The workspace is suspended.", code="workspace_suspended")
    first_ids = [new_id() for _ in ask.tool_results[:-1]]
    question_id, answer_id = new_id(), new_id()  # in the order in which they are read
    if idempotency_key:
        known = _remember(user, workspace, idempotency_key, ask, conversation, answer_id)
        if known is not None:
            return Known(known)
    if conversation.status == Conversation.Status.ARCHIVED:
        raise Conflict("The conversation is archived; set its status to active first.", code="conversation_archived")

    tags = vocabulary.resolve(ask.tags, workspace_id=workspace.pk)
    now = timezone.now()
    question = question_of(ask, asker=asker, conversation=conversation, question_id=question_id)
    wallet = ledger.wallet_of(workspace.pk)
    offer = _best_offer(asker, ask, conversation, question, wallet, now)
    with taking(offer):
        Message.objects.bulk_create(_first_results(ask, offer=offer, question=question, ids=first_ids))
        return _take(offer, asker, ask, conversation, question, answer_id, wallet, tags)


def _first_results(ask: Ask, *, offer: Offer, question: Message, ids: list[uuid.UUID]) -> list[Message]:
    """The results that come with the question, which is the last of them: they stand or fall with its answer."""
    keeps_content = offer.terms.keeps_content
    return [
        Message(
            id=message_id,
            workspace_id=question.workspace_id,
            conversation_id=question.conversation_id,
            user_id=question.user_id,
            role=Message.Role.TOOL,
            content=result["content"] if keeps_content else "",
            tool_call_id=result["tool_call_id"] if keeps_content else "",
            call={"is_error": True} if result["is_error"] else {},
            reply_to_id=question.pk,
        )
        for message_id, result in zip(ids, ask.tool_results[:-1], strict=True)
    ]


def _take(
    offer: Offer,
    asker: Asker,
    ask: Ask,
    conversation: Conversation,
    question: Message,
    answer_id: uuid.UUID,
    wallet: Wallet,
    tags: list[Tag],
) -> Admitted:
    rates = ratelimits.take(workspace=asker.workspace, access_token=asker.access_token, tokens=offer.tokens)
    offer = replace(offer, terms=replace(offer.terms, rate_tokens=offer.tokens if rates else 0))

    if not offer.terms.keeps_content:
        question.content, question.attachments, question.tool_call_id = "", [], ""
    images = attachments.set_apart(question)
    question.save()
    if images:
        MessageImage.objects.bulk_create(images)
    answer = Message(
        id=answer_id,
        workspace_id=question.workspace_id,
        conversation_id=question.conversation_id,
        user_id=question.user_id,
        role=Message.Role.ASSISTANT,
        status=Message.Status.PENDING,
        reply_to=question,
    )
    answer.hold = hold = place_hold(offer, asker=asker, wallet=wallet)
    offer.on(answer)
    answer.save()
    if tags:
        turn = [links.Target("message", message.pk) for message in (question, answer)]
        links.put_new(tags, turn, workspace_id=asker.workspace.pk, user_id=asker.user.pk)
    reserve(offer, hold=hold, wallet=wallet)
    return Admitted(
        question=question,
        answer=answer,
        request=offer.request,
        credentials=offer.credentials,
        plan=offer.plan,
        ask=ask,
        asker=asker,
        conversation=conversation,
        rates=rates,
    )


def question_of(ask: Ask, *, asker: Asker, conversation: Conversation, question_id: uuid.UUID) -> Message:
    """What is asked, as a message (not saved). The one that is stored may have lost its content."""
    return Message(
        id=question_id,
        workspace=asker.workspace,
        conversation=conversation,
        user=asker.user,
        role=ask.role,
        content=ask.content,
        attachments=ask.attachments,
        tool_call_id=ask.tool_call_id,
        call={"is_error": True} if ask.tool_results and ask.tool_results[-1]["is_error"] else {},
        metadata=ask.metadata,
    )


@contextmanager
def taking(offer: Offer) -> Iterator[None]:
    """Around what makes a call of ``offer``: if it comes to nothing, its provider may be probed by somebody else."""
    try:
        yield
    except BaseException:
        CIRCUITS.release(offer.credentials)
        raise


def next_offer(
    plan: Plan,
    *,
    asker: Asker,
    ask: Ask,
    conversation: Conversation,
    question: Message,
    wallet: Wallet,
    now: datetime,
    is_last_resort: bool,
    refusals: list[Refusal] | None = None,
) -> Offer | None:
    """The first of the plan's fallbacks that can be called now. Providers that keep failing are passed over; as a last
    resort the first of them is taken all the same. ``refusals`` gets what stood in the way of the others.
    """
    failing: Offer | None = None
    for name in plan.fallbacks:
        try:
            other = switched(plan, name=name, ask=ask, workspace=asker.workspace, access_token=asker.access_token)
            offer = make_offer(
                plan=other, asker=asker, ask=ask, conversation=conversation, question=question, wallet=wallet, now=now
            )
        except Refusal as refusal:  # not this one: no price, no key, not able to, too dear
            if refusals is not None:
                refusals.append(refusal)
            continue
        if CIRCUITS.lets_through(offer.credentials):
            return offer
        failing = failing or offer
    return failing if is_last_resort else None


def place_hold(offer: Offer, *, asker: Asker, wallet: Wallet, is_dispatched: bool = False) -> Hold:
    """Insert the hold's row; ``reserve`` takes the money, last in the transaction."""
    token = asker.access_token
    is_limited = token is not None and token.spend_limit_usd is not None and offer.amount != ZERO
    return holds.open_hold(
        wallet=wallet,
        user_id=asker.user.pk,
        amount=offer.amount,
        access_token=token if is_limited else None,
        is_dispatched=is_dispatched,
    )


def reserve(offer: Offer, *, hold: Hold, wallet: Wallet) -> None:
    """Reserve the offer's worst case. Raises ``holds.WalletMoved`` when another call was faster."""
    if hold.access_token is not None:
        spending.reserve(hold.access_token, amount=offer.amount, at=offer.priced_at)
    holds.reserve(wallet=wallet, amount=offer.amount)  # last: the wallet's row is the one everybody wants


def _best_offer(
    asker: Asker, ask: Ask, conversation: Conversation, question: Message, wallet: Wallet, now: datetime
) -> Offer:
    plan = choose(ask=ask, conversation=conversation, workspace=asker.workspace, access_token=asker.access_token)
    if is_retired(plan.llm):
        return _offer_in_place_of(plan, asker, ask, conversation, question, wallet, now)
    first = make_offer(
        plan=plan, asker=asker, ask=ask, conversation=conversation, question=question, wallet=wallet, now=now
    )
    if not plan.fallbacks or CIRCUITS.lets_through(first.credentials):
        return first
    other = next_offer(
        plan,
        asker=asker,
        ask=ask,
        conversation=conversation,
        question=question,
        wallet=wallet,
        now=now,
        is_last_resort=False,
    )
    return other or first


def _offer_in_place_of(
    plan: Plan, asker: Asker, ask: Ask, conversation: Conversation, question: Message, wallet: Wallet, now: datetime
) -> Offer:
    """The fallback that answers for a retired model. Raises what keeps it from that: money, or else that there is none."""
    refusals: list[Refusal] = []
    offer = next_offer(
        plan,
        asker=asker,
        ask=ask,
        conversation=conversation,
        question=question,
        wallet=wallet,
        now=now,
        is_last_resort=True,
        refusals=refusals,
    )
    if offer is None:
        raise next((refusal for refusal in refusals if isinstance(refusal, InsufficientBalance)), retired(plan.llm))
    return offer


def _conversation(user: User, workspace: Workspace, conversation_id: uuid.UUID | None) -> Conversation:
    if conversation_id is None:
        calls, _ = Conversation.objects.select_related("agent__llm__connection").get_or_create(
            workspace=workspace,
            user=user,
            kind=Conversation.Kind.API,
            status=Conversation.Status.ACTIVE,
            defaults={"title": "API calls"},
        )
        return calls
    conversation = (
        Conversation.objects.visible_to(user=user, workspace=workspace)
        .select_related("agent__llm__connection")
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
    fingerprint = ask.fingerprint(conversation_id=conversation.pk)
    claimed, is_new = IdempotencyKey.objects.get_or_create(
        workspace=workspace,
        user=user,
        key=key,
        # The answer is inserted later in this transaction; its foreign key is checked at the commit.
        defaults={"request_hash": fingerprint, "message_id": answer_id},
    )
    if is_new:
        return None
    if claimed.request_hash != fingerprint:
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
