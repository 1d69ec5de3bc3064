"""Tokens with a spending limit, and how they stand."""

from __future__ import annotations

from decimal import Decimal

from billing.models import TokenSpend
from tests.people import Person
from workspaces.models import AccessToken


def limited(person: Person, limit: str | None = "1", period: str = "") -> AccessToken:
    token = AccessToken.objects.get(workspace=person.workspace, user=person.user)
    token.spend_limit_usd, token.spend_period = None if limit is None else Decimal(limit), period
    token.save()
    return token


def row_of(token: AccessToken) -> TokenSpend:
    return TokenSpend.objects.get(workspace=token.workspace, access_token=token)


def standing(token: AccessToken) -> tuple[Decimal, Decimal]:
    row = row_of(token)
    return row.spent, row.held
