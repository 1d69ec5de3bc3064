"""What a model would be called with, on whose key, and what has to be reserved for it: worked out, nothing written."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.conf import settings

from billing import policy, spending
from billing.models import Wallet
from conversations import attachments, prompts
from conversations.asks import Ask
from conversations.choices import Plan
from conversations.models import Conversation, Message
from conversations.outcomes import CallTerms
from conversations.pay import cost_affordable, due_of
from llm import pricing
from llm.errors import ProviderHostForbidden, ProviderNotConfigured
from llm.keys import credentials_for
from llm.models import LLM, LLMPrice
from llm.types import CallRequest, ChatMessage, Credentials
from synapscale.common.errors import InsufficientBalance, Unprocessable
from synapscale.common.money import ZERO, usd_text
from workspaces.models import AccessToken, User, Workspace

IN_FLIGHT_RETRY_SECONDS = 2
_NO_BALANCE = "The balance does not cover this call."
_LIMIT_REACHED = "The spending limit of this access token does not cover this call."


@dataclass(frozen=True, slots=True)
class Asker:
    """On whose behalf a call is made."""

    user: User
    workspace: Workspace
    access_token: AccessToken | None = None


@dataclass(frozen=True, slots=True)
class Offer:
    """A call that could be made now."""

    plan: Plan
    request: CallRequest
    credentials: Credentials
    price: LLMPrice
    priced_at: datetime
    amount: Decimal
    """The worst case, to be reserved, in USD; 0 where nothing is charged."""
    terms: CallTerms

    @property
    def tokens(self) -> int:
        """How many tokens it may take, by an estimate: what counts against a rate limit until it is known."""
        return self.terms.prompt_tokens + self.request.max_tokens

    def on(self, answer: Message) -> None:
        """Write what is fixed about the call onto its pending answer (not saved yet)."""
        answer.llm = self.plan.llm
        answer.price = self.price
        answer.priced_at = self.priced_at
        answer.model_used = str(self.plan.llm)
        answer.temperature = self.plan.temperature_sent
        answer.max_tokens = self.request.max_tokens
        answer.call = {"terms": asdict(self.terms)}


def make_offer(
    *, plan: Plan, asker: Asker, ask: Ask, conversation: Conversation, question: Message, wallet: Wallet, now: datetime
) -> Offer:
    """What calling ``plan.llm`` at ``now`` takes. Raises the Refusal that stands in the way."""
    try:
        price = plan.llm.price_at(now)
    except pricing.NoPrice:
        raise Unprocessable(f"{plan.llm} has no price at present, so it can't be called.", code="no_price") from None
    try:
        credentials = credentials_for(user=asker.user, workspace=asker.workspace, llm=plan.llm, source=ask.key_source)
    except (ProviderNotConfigured, ProviderHostForbidden) as error:
        raise Unprocessable(error.message, code=error.code, status=error.http_status) from None
    request = _request(plan, ask, conversation, question)
    is_charged = policy.should_charge(asker.user, asker.workspace, credentials.source, wallet=wallet)
    basis_points = policy.basis_points(credentials.source, wallet=wallet) if is_charged else 0
    amount = ZERO
    if is_charged:
        max_tokens, amount = afford(
            wallet,
            spending.allowance(asker.access_token, at=now),
            price,
            request,
            plan,
            now,
            key_source=credentials.source,
            basis_points=basis_points,
        )
        request = replace(request, max_tokens=max_tokens)
    keeps_content = conversation.kind == Conversation.Kind.CHAT or asker.workspace.keeps_api_content
    terms = CallTerms(
        key_source=credentials.source,
        is_charged=is_charged,
        markup_bps=basis_points,
        prompt_tokens=prompts.estimated_tokens(request, llm=plan.llm),
        model_settings=plan.as_settings(max_tokens=request.max_tokens, names_tools=keeps_content),
        keeps_content=keeps_content,
        access_token=str(asker.access_token.pk) if asker.access_token else "",
        questions=max(len(ask.tool_results), 1),
        agent=str(plan.agent_id or ""),
    )
    return Offer(plan, request, credentials, price, now, amount, terms)


def prompt_of(plan: Plan, ask: Ask, *, turns: tuple[ChatMessage, ...] = ()) -> CallRequest:
    """The request for ``turns``, or for the prompt that ``ask`` brings."""
    llm = plan.llm
    return CallRequest(
        model=llm.upstream_name,
        messages=ask.turns or turns,
        system=plan.system,
        max_tokens=plan.max_tokens,
        temperature=None if plan.temperature_sent is None else float(plan.temperature_sent),
        tools=tuple(plan.tools),
        tool_choice=plan.tool_choice,
        response_schema=plan.response_schema,
        stop=tuple(plan.stop),
        is_reasoning=llm.supports_reasoning,
        **ask.options,
    )


def room(request: CallRequest, *, llm: LLM) -> int:
    """How many tokens the prompt leaves of the context window, by an estimate; below one, it does not fit."""
    return llm.context_window - prompts.estimated_tokens(request, llm=llm)


def _request(plan: Plan, ask: Ask, conversation: Conversation, question: Message) -> CallRequest:
    llm, asked = plan.llm, _asked(ask, question)
    request = prompt_of(plan, ask, turns=asked)
    _check_images(request)
    left = room(request, llm=llm)
    if left < 1:
        raise _too_long()
    max_tokens = min(plan.max_tokens, left)
    if ask.is_one_shot:
        return replace(request, max_tokens=max_tokens)
    earlier = prompts.history(conversation, llm, besides=question.attachments)
    is_of_tools = question.role == Message.Role.TOOL
    if is_of_tools:
        _check_results(asked, earlier)
    earlier = prompts.paired((*earlier, *asked))[: -len(asked)]
    kept = prompts.fitting(earlier, room=left - max_tokens, llm=llm)
    if is_of_tools and not kept:
        raise _too_long()  # without the calls that they answer the results mean nothing
    kept = attachments.fetched(kept, workspace_id=conversation.workspace_id)
    return replace(request, messages=(*kept, *asked), max_tokens=max_tokens)


def _check_images(request: CallRequest) -> None:
    images = [image for turn in request.messages for image in turn.images]
    if len(images) > attachments.MAX_PROMPT_IMAGES:
        what = f"A request has at most {attachments.MAX_PROMPT_IMAGES} images."
        raise Unprocessable(what, code="too_many_images", details={"attachments": [what]})
    if sum(len(image.data) for image in images) > attachments.MAX_PROMPT_BYTES:
        what = f"The images of a request have at most {attachments.MAX_PROMPT_BYTES // 1024**2} MB together."
        raise Unprocessable(what, code="images_too_large", details={"attachments": [what]})


def _asked(ask: Ask, question: Message) -> tuple[ChatMessage, ...]:
    if not ask.tool_results:
        return (prompts.as_turn(question),)
    return tuple(
        ChatMessage("tool", result["content"], tool_call_id=result["tool_call_id"], is_error=result["is_error"])
        for result in ask.tool_results
    )


def _too_long() -> Unprocessable:
    return Unprocessable("The message is longer than the model's context window.", code="context_length_exceeded")


def _check_results(asked: tuple[ChatMessage, ...], earlier: list[ChatMessage]) -> None:
    """Whether the results are those of all tool calls of the last answer: no vendor takes a part of them."""
    calls = [call.id for call in earlier[-1].tool_calls] if earlier else []
    given = [turn.tool_call_id for turn in asked]
    if unknown := [call_id for call_id in given if call_id not in calls]:
        raise Unprocessable(
            f"The last answer made no tool call “{unknown[0]}”.",
            code="unknown_tool_call",
            details={"tool_call_id": unknown},
        )
    if missing := [call_id for call_id in calls if call_id not in given]:
        raise Unprocessable(
            "The last answer made more tool calls: give the results of all of them at once, in “tool_results”.",
            code="missing_tool_results",
            details={"tool_results": missing},
        )


def afford(
    wallet: Wallet,
    allowance: spending.Allowance | None,
    price: LLMPrice,
    request: CallRequest,
    plan: Plan,
    now: datetime,
    **charge: Any,
) -> tuple[int, Decimal]:
    """How long the answer may get and what to reserve for it: the money decides the length, down to a floor.

    Money is what the wallet has, or what the token's limit leaves of it. Raises InsufficientBalance below the floor;
    ``needed`` in its details is the worst case of the whole length.
    """
    table, input_tokens = price.table, prompts.worst_case_tokens(request, llm=plan.llm)

    def worst(max_tokens: int) -> Decimal:
        cost = pricing.worst_case(table, input_tokens=input_tokens, max_output_tokens=max_tokens, at=now)
        return due_of(cost, **charge)

    def affordable(money: Decimal) -> int:
        budget = cost_affordable(max(money, ZERO), **charge)
        return pricing.affordable_output_tokens(table, budget=budget, input_tokens=input_tokens, at=now)

    limit = allowance if allowance is not None and allowance.left < wallet.available else None
    available = wallet.available if limit is None else limit.left
    needed = worst(request.max_tokens)
    if needed <= available:
        return request.max_tokens, needed
    floor = min(settings.MIN_OUTPUT_TOKENS, request.max_tokens)
    tokens = min(affordable(available), request.max_tokens)
    if tokens >= floor:
        return tokens, worst(tokens)
    # Would it do once the calls under way are settled? Then it is worth another try, soon.
    if limit is not None:
        message, code, reason = _LIMIT_REACHED, "spend_limit_exceeded", "spend_limit"
        held, at_best = limit.held, limit.limit - limit.spent
    else:
        message, code, reason = _NO_BALANCE, "insufficient_balance", "balance"
        held, at_best = wallet.held, wallet.available + wallet.held
    is_in_flight = affordable(at_best) >= floor
    raise InsufficientBalance(
        message,
        code=code,
        details={
            "needed": usd_text(needed),
            "available": usd_text(max(available, ZERO)),
            "affordable_max_tokens": max(tokens, 0),
            "held": usd_text(held),
            "reason": "in_flight_holds" if is_in_flight else reason,
        },
        retry_after=IN_FLIGHT_RETRY_SECONDS if is_in_flight else None,
    )
