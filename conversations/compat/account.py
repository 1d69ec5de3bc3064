"""``/v1/models``, ``/v1/key`` and the balance endpoints that older chat clients poll."""

from __future__ import annotations

from datetime import datetime, time
from decimal import Decimal
from typing import Any

from django.db.models import Q, Sum
from django.http import HttpResponse
from django.utils import timezone
from rest_framework.request import Request
from rest_framework.response import Response

from billing import ledger, spending
from billing.policy import OWN_KEYS
from conversations.compat.asking import resolved
from conversations.compat.views import CompatView
from conversations.models import UsageLog
from llm.models import LLM
from synapscale.common.errors import NotFound
from synapscale.common.money import ZERO, usd_text
from workspaces.authentication import Caller, caller
from workspaces.models import AccessToken, Scope
from workspaces.permissions import ANY_SCOPE

_NEVER_ENDING = 100_000_000
"""What older clients are told of a limit that is none, in USD (as one-api does)."""


class ModelsView(CompatView):
    """The models that may be called, in a shape that both SDKs read."""

    scopes_to_read = scopes_to_write = frozenset({Scope.CHAT, Scope.READ})

    def get(self, request: Request) -> Response:
        rows = [_model(llm) for llm in _callable(caller(request))]
        ids = [row["id"] for row in rows]
        return Response(
            {
                "object": "list",
                "data": rows,
                "has_more": False,
                "first_id": ids[0] if ids else None,
                "last_id": ids[-1] if ids else None,
            }
        )


class ModelView(CompatView):
    scopes_to_read = scopes_to_write = frozenset({Scope.CHAT, Scope.READ})

    def get(self, request: Request, model: str) -> Response:
        name = resolved(model)
        for llm in _callable(caller(request)):
            if str(llm) == name:
                return Response(_model(llm))
        raise NotFound(f"The model “{model}” does not exist.", code="model_not_found", details={"model": ["Unknown."]})


class KeyView(CompatView):
    """What the token that asks may still spend and has used; what ran on own keys is told apart. OpenRouter's shape."""

    scopes_to_read = scopes_to_write = ANY_SCOPE

    def get(self, request: Request) -> Response:
        token, now = caller(request).token, timezone.now()
        limit = token.spend_limit_usd
        left = spending.left(token, at=now)
        used = _usage(token, now)
        return Response(
            {
                "data": {
                    "label": f"sk-syn-{token.prefix}…",
                    "name": token.name,
                    "limit": None if limit is None else usd_text(limit),
                    "limit_remaining": None if left is None else usd_text(left),
                    "limit_reset": {"day": "daily", "week": "weekly", "month": "monthly"}.get(token.spend_period),
                    "include_byok_in_limit": False,
                    **{name: usd_text(amount) for name, amount in used.items()},
                    "is_free_tier": False,
                    "rate_limit": {
                        "requests": token.requests_per_minute,
                        "tokens": token.tokens_per_minute,
                        "interval": "1m",
                    },
                    "scopes": token.scopes,
                    "allowed_models": token.allowed_models,
                    "expires_at": token.expires_at,
                }
            }
        )


class SubscriptionView(CompatView):
    """How much there is in all: ``hard_limit_usd`` less ``usage`` is what clients show as left."""

    scopes_to_read = scopes_to_write = frozenset({Scope.CHAT, Scope.BILLING})

    def get(self, request: Request) -> HttpResponse:
        who = caller(request)
        limit = _used(who) + _left(who)
        body = (
            '{{"object":"billing_subscription","has_payment_method":true,"soft_limit_usd":{0},"hard_limit_usd":{0},'
            '"system_hard_limit_usd":{0},"access_until":{1}}}'
        )
        expires_at = who.token.expires_at
        return _numbers(body.format(_number(limit), int(expires_at.timestamp()) if expires_at else 0))


class UsageView(CompatView):
    """What was used, in cents."""

    scopes_to_read = scopes_to_write = frozenset({Scope.CHAT, Scope.BILLING})

    def get(self, request: Request) -> HttpResponse:
        return _numbers(f'{{"object":"list","total_usage":{_number(_used(caller(request)) * 100)}}}')


def _callable(who: Caller) -> list[LLM]:
    return list(LLM.objects.callable_in(who.workspace, access_token=who.token))


def _model(llm: LLM) -> dict[str, Any]:
    return {
        "id": str(llm),
        "object": "model",
        "type": "model",
        "created": int(llm.created_at.timestamp()),
        "created_at": llm.created_at,
        "owned_by": llm.provider,
        "display_name": llm.display_name,
        "lifecycle": "active",
        "context_length": llm.context_window,
        "max_input_tokens": llm.context_window,
        "max_tokens": llm.max_output_tokens,
    }


def _usage(token: AccessToken, now: datetime) -> dict[str, Decimal]:
    """Charges of the token in all, today, this week and this month (UTC), and the providers' price of what ran on own
    keys. One query."""
    starts = {"": None}
    for suffix, period in (("_daily", "day"), ("_weekly", "week"), ("_monthly", "month")):
        day = spending.period_start(period, at=now)
        assert day is not None
        starts[suffix] = datetime.combine(day, time(), tzinfo=now.tzinfo)  # type: ignore[assignment]
    own = Q(key_source__in=OWN_KEYS)
    sums: dict[str, Any] = {}
    for suffix, start in starts.items():
        since = Q(created_at__gte=start) if start else Q()
        sums[f"usage{suffix}"] = Sum("charged_usd", filter=since & ~own)
        sums[f"byok_usage{suffix}"] = Sum("cost_usd", filter=since & own)
    logs = UsageLog.objects.filter(workspace_id=token.workspace_id, access_token=token)
    return {name: amount or ZERO for name, amount in logs.aggregate(**sums).items()}


def _used(who: Caller) -> Decimal:
    logs = UsageLog.objects.filter(workspace=who.workspace, access_token=who.token)
    return logs.aggregate(total=Sum("charged_usd"))["total"] or ZERO


def _left(who: Caller) -> Decimal:
    """What calls of the token may still cost: what its limit and the balance leave."""
    wallet = ledger.wallet_of(who.workspace.pk)
    money = Decimal(_NEVER_ENDING) if wallet.mode == wallet.Mode.UNTRACKED else max(wallet.available, ZERO)
    left = spending.left(who.token, at=timezone.now())
    return money if left is None else min(left, money)


def _number(amount: Decimal) -> str:
    """A JSON number with all its digits; these clients expect one."""
    return usd_text(amount)


def _numbers(body: str) -> HttpResponse:
    return HttpResponse(body, content_type="application/json")
