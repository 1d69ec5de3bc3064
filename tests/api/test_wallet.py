"""/wallet: the balance, exact."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from billing import ledger
from billing.models import Wallet
from tests.api.asking import error_of, set_wallet
from tests.people import Person, fund


@pytest.mark.parametrize("role", ["alice", "bob", "dora", "victor"])
def test_everybody_in_the_workspace_sees_it(request: pytest.FixtureRequest, role: str) -> None:
    person: Person = request.getfixturevalue(role)
    fund(person.workspace, "12.345678901234")
    wallet = Wallet.objects.get(workspace=person.workspace)
    assert person.get("wallet").json() == {
        "id": str(wallet.pk),
        "mode": "prepaid",
        "status": "open",
        "balance": "12.345678901234",
        "held": "0.00",
        "available": "12.345678901234",
        "credit_limit": "0.00",
        "currency": "USD",
        "markup_bps": 0,
    }


def test_a_workspace_without_a_wallet_gets_an_empty_one(charlie: Person) -> None:
    assert charlie.get("wallet").json()["balance"] == "0.00"
    assert Wallet.objects.get(workspace=charlie.workspace).balance == 0


def test_what_is_available_counts_credit(alice: Person) -> None:
    fund(alice.workspace, "1")
    set_wallet(alice.workspace, mode="postpaid", credit_limit=Decimal("0.5"), markup_bps=250)
    shown = alice.get("wallet").json()
    assert (shown["balance"], shown["credit_limit"], shown["available"]) == ("1.00", "0.50", "1.50")
    assert (shown["mode"], shown["markup_bps"]) == ("postpaid", 250)


def test_a_negative_balance(alice: Person) -> None:
    set_wallet(alice.workspace, mode="postpaid", credit_limit=Decimal(1))
    ledger.adjust(
        workspace=alice.workspace, amount=Decimal("-0.000000000001"), reference="r", description="d", actor=None
    )
    assert alice.get("wallet").json()["balance"] == "-0.000000000001"


@pytest.mark.parametrize("method", ["post", "put", "patch"])
def test_nobody_writes_it(alice: Person, method: str) -> None:
    fund(alice.workspace, "1")
    error_of(getattr(alice, method)("wallet", {"balance": "100"}), 405, "method_not_allowed")
    error_of(alice.delete("wallet"), 405, "method_not_allowed")
    assert alice.get("wallet").json()["balance"] == "1.00"


def test_it_takes_three_queries(alice: Person, django_assert_num_queries: Any) -> None:
    alice.get("wallet")
    with django_assert_num_queries(3):  # token, membership, wallet
        alice.get("wallet")
