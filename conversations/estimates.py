"""What a prompt would cost on each model, by the prices, keys and money of now: nothing is called, stored or reserved.

It is worked out by the code that admits a call, so a call that follows at once reserves exactly ``worst_case``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.utils import timezone

from billing import policy, spending
from billing.models import Wallet
from conversations.asks import Ask
from conversations.choices import Plan, capped, check_allowed, check_capabilities
from conversations.offers import Asker, afford, prompt_of, room
from conversations.pay import due_of
from llm import pricing
from llm.errors import ProviderNotConfigured
from llm.keys import own_sources, source_for
from llm.models import LLM, LLMPrice
from llm.types import CallRequest, Usage
from synapscale.common.errors import Forbidden, InsufficientBalance, Refusal
from synapscale.common.money import ZERO


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a call of ``model`` would come to; None where that can't be told, because it would be refused before."""

    model: str
    input_tokens: int | None = None
    output_tokens: int | None = None
    """As asked, or as many as the answer may get."""
    expected_cost: Decimal | None = None
    """What the wallet would pay for these tokens, in USD."""
    worst_case: Decimal | None = None
    """What would be reserved, in USD; where the money does not suffice, what would be needed."""
    fits: bool = False
    is_affordable: bool = False
    is_available: bool = False
    """Whether the model may and can be called: a price, a key."""
    key_source: str | None = None
    reason: str | None = None
    """The code of the first error that a call would meet."""


@dataclass(frozen=True, slots=True)
class _Present:
    """All that estimates need to know of this moment, read once for however many models."""

    now: datetime
    prices: Mapping[UUID, LLMPrice]
    own_keys: Mapping[str, str]
    wallet: Wallet
    allowance: spending.Allowance | None


def estimate(
    *, asker: Asker, ask: Ask, output_tokens: int | None = None, llms: Iterable[LLM] | None = None
) -> list[Estimate]:
    """An estimate for each of ``llms``, or else for all that may be called here: the cheapest first, then by name.

    ``output_tokens`` is how long the answer is expected to be. The number of queries is the same for any number of models.
    """
    user, workspace, token, now = asker.user, asker.workspace, asker.access_token, timezone.now()
    if llms is None:
        llms = LLM.objects.callable_in(workspace, access_token=token).select_related("connection")
    rows = list(llms)
    present = _Present(
        now=now,
        prices=LLMPrice.objects.filter(llm__in=[llm.pk for llm in rows]).by_llm(now),
        own_keys=own_sources(user=user, workspace=workspace),
        # Not ledger.wallet_of: that would open one.
        wallet=Wallet.objects.filter(workspace=workspace).first() or Wallet(workspace=workspace),
        allowance=spending.allowance(token, at=now),
    )
    found = [_estimate(llm, asker, ask, output_tokens, present) for llm in rows]
    return sorted(found, key=lambda row: (row.expected_cost is None, row.expected_cost or ZERO, row.model))


def _estimate(llm: LLM, asker: Asker, ask: Ask, output_tokens: int | None, present: _Present) -> Estimate:
    workspace = asker.workspace
    wanted = capped(ask.max_tokens, workspace=workspace)
    plan = Plan(llm=llm, system=ask.system, wanted_tokens=wanted, tools=ask.tools or [])
    row = Estimate(model=str(llm))
    try:
        if not workspace.is_open:
            raise Forbidden("The workspace is suspended.", code="workspace_suspended")
        check_allowed(llm, ask=ask, workspace=workspace, access_token=asker.access_token)
        check_capabilities(plan, ask)
    except Refusal as refusal:
        return replace(row, reason=refusal.code)
    request = prompt_of(plan, ask)
    left = room(request, llm=llm)
    row = replace(row, input_tokens=llm.context_window - left, fits=left >= 1)
    if row.fits:
        request = replace(request, max_tokens=min(plan.max_tokens, left))
        row = replace(row, output_tokens=_expected(output_tokens, request))
    price = present.prices.get(llm.pk)
    if price is None:
        return replace(row, reason="no_price")
    try:
        key_source = source_for(user=asker.user, llm=llm, own=present.own_keys)
    except ProviderNotConfigured as error:
        return replace(row, reason=error.code)
    row = replace(row, is_available=True, key_source=key_source)
    if not row.fits:
        return replace(row, reason="context_length_exceeded")
    return _paid(row, asker, plan, request, output_tokens, price, present)


def _paid(
    row: Estimate,
    asker: Asker,
    plan: Plan,
    request: CallRequest,
    output_tokens: int | None,
    price: LLMPrice,
    present: _Present,
) -> Estimate:
    """``row`` with what the wallet would pay."""
    wallet, now, key_source = present.wallet, present.now, str(row.key_source)
    reason = None if wallet.status == Wallet.Status.OPEN else "wallet_suspended"
    if not policy.should_charge(asker.user, asker.workspace, key_source, wallet=wallet):
        return replace(row, expected_cost=ZERO, worst_case=ZERO, is_affordable=reason is None, reason=reason)
    terms: dict[str, Any] = {
        "key_source": key_source,
        "basis_points": policy.basis_points(key_source, wallet=wallet),
    }
    try:
        max_tokens, worst_case = afford(wallet, present.allowance, price, request, plan, now, **terms)
        request = replace(request, max_tokens=max_tokens)
    except InsufficientBalance as refusal:
        worst_case, reason = Decimal(refusal.details["needed"]), refusal.code
    expected = _expected(output_tokens, request)
    cost = pricing.cost_of(price.table, Usage(input=row.input_tokens or 0, output=expected), at=now)
    return replace(
        row,
        output_tokens=expected,
        expected_cost=due_of(cost, **terms),
        worst_case=worst_case,
        is_affordable=reason is None,
        reason=reason,
    )


def _expected(output_tokens: int | None, request: CallRequest) -> int:
    return request.max_tokens if output_tokens is None else min(output_tokens, request.max_tokens)
