"""A wallet's rules, in the form and in the database: nobody's limit ends up below what is used already."""

from __future__ import annotations

from decimal import Decimal

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from billing import ledger
from billing.models import Wallet
from tests.conversations.calling import wallet
from tests.people import Person

pytestmark = pytest.mark.django_db


def owe(person: Person, amount: str, *, credit_limit: str) -> None:
    """A postpaid wallet that is so far below zero."""
    Wallet.objects.filter(workspace=person.workspace).update(mode="postpaid", credit_limit=Decimal(credit_limit))
    ledger.adjust(workspace=person.workspace, amount=-Decimal(amount), reference="used", description="Used", actor=None)


def test_a_credit_limit_is_not_lowered_below_what_is_used(alice: Person) -> None:
    owe(alice, "3", credit_limit="5")
    purse = wallet(alice)
    purse.credit_limit = Decimal("2.99")
    with pytest.raises(ValidationError) as refused:
        purse.full_clean()
    assert "credit_limit" in refused.value.message_dict
    with pytest.raises(IntegrityError), transaction.atomic():
        purse.save()
    purse.credit_limit = Decimal("3")
    purse.full_clean()
    purse.save()
    assert wallet(alice).available == Decimal(0)


def test_a_wallet_in_debt_can_not_become_prepaid(alice: Person) -> None:
    owe(alice, "3", credit_limit="5")
    purse = wallet(alice)
    purse.mode, purse.credit_limit = "prepaid", Decimal(0)
    with pytest.raises(ValidationError) as refused:
        purse.full_clean()
    assert refused.value.message_dict["mode"] == ["The wallet already uses more than this would allow."]
    with pytest.raises(IntegrityError), transaction.atomic():
        purse.save()


def test_only_a_postpaid_wallet_has_a_credit_limit(alice: Person) -> None:
    purse = wallet(alice)
    purse.credit_limit = Decimal("1")
    with pytest.raises(ValidationError) as refused:
        purse.full_clean()
    assert refused.value.message_dict["credit_limit"] == ["Only a postpaid wallet has a credit limit."]


def test_available_is_balance_and_limit_without_what_is_held() -> None:
    purse = Wallet(balance=Decimal("3"), credit_limit=Decimal("2"), held=Decimal("4.5"))
    assert purse.available == Decimal("0.5")
