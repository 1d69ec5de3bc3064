"""Making, changing, replacing and revoking access tokens, so that no token ever begets a more powerful one.

Only what is asked for is compared with the token that asks: a weak one may rename or tighten a strong one of its user, but
not replace it, which would put the strong one's text into its hands.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext_lazy

from synapscale.common import audit
from synapscale.common.errors import Conflict, Forbidden
from synapscale.common.money import usd_text
from workspaces.models import AccessToken, SpendPeriod
from workspaces.signals import token_rotated

RULES = (
    "scopes",
    "allowed_models",
    "requests_per_minute",
    "tokens_per_minute",
    "spend_limit_usd",
    "spend_period",
    "expires_at",
)
MAX_GRACE = timedelta(days=1)
_NO_LOOSER = {
    SpendPeriod.DAY: {SpendPeriod.DAY, SpendPeriod.WEEK, SpendPeriod.MONTH, SpendPeriod.FOREVER},
    SpendPeriod.WEEK: {SpendPeriod.WEEK, SpendPeriod.FOREVER},
    SpendPeriod.MONTH: {SpendPeriod.MONTH, SpendPeriod.FOREVER},
    SpendPeriod.FOREVER: {SpendPeriod.FOREVER},
}
"""With the same amount. A week may lie in two months, so a limit by the month is no tighter than one by the week."""


def rules_of(token: AccessToken) -> dict[str, Any]:
    return {name: getattr(token, name) for name in RULES}


def issue(*, by: AccessToken, name: str, rules: dict[str, Any]) -> tuple[AccessToken, str]:
    """A new token for the user and workspace of ``by``, and its raw text. A rule that is not given is that of ``by``."""
    rules = {**rules_of(by), **rules}
    _refuse_more_than(by, rules)
    if by.spend_limit_usd is not None:
        # Each would have a limit of its own, and together they would have none.
        raise Forbidden(
            "A token with a spending limit makes no other tokens; it can be rotated.",
            code="more_than_own_token",
            details={"spend_limit_usd": ["The token that asks has a spending limit."]},
        )
    return AccessToken.issue(user=by.user, workspace=by.workspace, name=name, **rules)


@transaction.atomic
def change(*, token: AccessToken, by: AccessToken, changes: dict[str, Any]) -> AccessToken:
    """Give ``token`` another name or other rules."""
    token = _as_it_is_now(token)
    _refuse_revoked(token)
    for name, value in changes.items():
        setattr(token, name, value)
    asked = set(changes)
    if asked & {"spend_limit_usd", "spend_period"}:
        asked |= {"spend_limit_usd", "spend_period"}  # one says nothing without the other
    _refuse_more_than(by, {name: value for name, value in rules_of(token).items() if name in asked})
    token.save(update_fields=list(changes))
    return token


@transaction.atomic
def rotate(*, token: AccessToken, by: AccessToken, grace: timedelta = timedelta(0)) -> tuple[AccessToken, str]:
    """A new token with the same name and rules, and its raw text. The old one is revoked, or expires after ``grace``."""
    token = _as_it_is_now(token)
    if not token.is_valid:
        raise Conflict("This access token was revoked or has expired; make a new one.", code="token_not_valid")
    if token.pk != by.pk:
        _refuse_more_than(by, rules_of(token))
    new = AccessToken.issue(user=token.user, workspace=token.workspace, name=token.name, **rules_of(token))
    if grace:
        ends = timezone.now() + grace
        token.expires_at = ends if token.expires_at is None else min(token.expires_at, ends)
    else:
        token.revoked_at = timezone.now()
    token.save(update_fields=["expires_at", "revoked_at"])
    token_rotated.send(sender=AccessToken, old=token, new=new[0])
    return new


def revoke(token: AccessToken, *, now: datetime | None = None) -> bool:
    """The row stays: calls and money name it. Whether it was this that revoked it; a second time changes nothing."""
    rows = AccessToken.objects.filter(pk=token.pk, revoked_at__isnull=True)
    return bool(rows.update(revoked_at=now or timezone.now()))


@transaction.atomic
@transaction.atomic
def revoke_noted(token: AccessToken) -> None:
    """The same, together with its entry in the audit log."""
    now = timezone.now()
    if revoke(token, now=now):
        audit.record(token, what=gettext_lazy("Revoked."), changes={"revoked_at": (None, now)})


@transaction.atomic
def set_expiry(token: AccessToken, expires_at: datetime | None) -> tuple[datetime | None, datetime | None]:
    """What operators may do with any token that was not revoked: until when it was valid, and is now. Raises Conflict."""
    token = _as_it_is_now(token)
    _refuse_revoked(token)
    before, token.expires_at = token.expires_at, expires_at
    if before != expires_at:
        AccessToken.objects.filter(pk=token.pk).update(expires_at=expires_at)
    return before, expires_at


def _refuse_revoked(token: AccessToken) -> None:
    if token.revoked_at is not None:
        raise Conflict(gettext_lazy("This access token was revoked."), code="token_revoked")


def _as_it_is_now(token: AccessToken) -> AccessToken:
    return AccessToken.objects.select_for_update(of=("self",)).select_related("user", "workspace").get(pk=token.pk)


def _refuse_more_than(own: AccessToken, rules: dict[str, Any]) -> None:
    """Raises Forbidden with the rules that would let a token do more than ``own``."""
    more: dict[str, list[str]] = {}

    def refuse(name: str, text: str) -> None:
        more[name] = [text]

    if "scopes" in rules and (lacking := [scope for scope in rules["scopes"] if scope not in own.scopes]):
        refuse("scopes", f"The token that asks has no scope {', '.join(lacking)}.")
    if "allowed_models" in rules and own.allowed_models:
        models = rules["allowed_models"]
        if not models or not {*models} <= {*own.allowed_models}:
            refuse("allowed_models", f"The token that asks may call only {', '.join(own.allowed_models)}.")
    for name in ("requests_per_minute", "tokens_per_minute"):
        ceiling = getattr(own, name)
        if name in rules and ceiling is not None and (rules[name] is None or rules[name] > ceiling):
            refuse(name, f"The token that asks has {ceiling} per minute.")
    if "spend_limit_usd" in rules and own.spend_limit_usd is not None:
        limit = rules["spend_limit_usd"]
        if limit is None or limit > own.spend_limit_usd:
            refuse("spend_limit_usd", f"The token that asks may spend {usd_text(own.spend_limit_usd)}.")
        if rules["spend_period"] not in _NO_LOOSER[SpendPeriod(own.spend_period)]:
            refuse("spend_period", "The limit of the token that asks begins anew less often.")
    if "expires_at" in rules and own.expires_at is not None:
        ends = rules["expires_at"]
        if ends is None or ends > own.expires_at:
            refuse("expires_at", f"The token that asks expires at {own.expires_at.isoformat()}.")
    if more:
        raise Forbidden(
            "A token can't be given more than the one that asks has: " + ", ".join(more) + ".",
            code="more_than_own_token",
            details=more,
        )
