"""/billing-events: the workspace's ledger; members see their own charges."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import transaction

from billing import ledger
from billing.models import BillingEvent
from tests.api.asking import assert_invalid, error_of
from tests.people import Cast, Person, fund


def charge(person: Person, amount: str, reference: str) -> BillingEvent:
    with transaction.atomic():
        ledger.charge(
            wallet_id=ledger.wallet_of(person.workspace.pk).pk,
            workspace_id=person.workspace.pk,
            amount=Decimal(amount),
            reference=reference,
            user_id=person.user.pk,
            description="openai/openai-test, 15 tokens",
            metadata={"message": "m-1", "usage_log": "u-1"},
        )
    return BillingEvent.objects.get(workspace=person.workspace, reference=reference)


def references(response: Any) -> list[str]:
    assert response.status_code == 200, response.content
    return [row["reference"] for row in response.json()["results"]]


def test_an_event(alice: Person) -> None:
    fund(alice.workspace, "1")
    event = charge(alice, "0.000020000001", "message:1")
    shown = {
        "id": str(event.pk),
        "seq": 2,
        "event_type": "usage",
        "amount_usd": "-0.000020000001",
        "balance_after": "0.999979999999",
        "description": "openai/openai-test, 15 tokens",
        "reference": "message:1",
        "user": str(alice.user.pk),
        "original": None,
        "invoice_id": "",
        "payment_provider": "",
        "payment_transaction_id": "",
        "status": "posted",
        "related_usage_log": "u-1",
        "related_message": "m-1",
        "processed_at": event.processed_at.isoformat().replace("+00:00", "Z"),
        "created_at": event.created_at.isoformat().replace("+00:00", "Z"),
    }
    assert alice.get(f"billing-events/{event.pk}").json() == shown
    assert alice.get("billing-events").json()["results"][0] == shown


def test_a_refund_names_its_charge_and_belongs_to_who_was_charged(cast: Cast) -> None:
    fund(cast.alice.workspace, "1")
    original = charge(cast.bob, "0.5", "message:1")
    ledger.refund(original=original, amount=Decimal("0.25"), reference="refund", description="Sorry.", actor=None)
    shown = cast.bob.get("billing-events").json()["results"][0]
    assert (shown["event_type"], shown["amount_usd"], shown["original"]) == ("refund", "0.25", str(original.pk))
    assert shown["balance_after"] == "0.75"


def test_a_correction_shows_what_its_original_was_charged_for(cast: Cast, django_assert_num_queries: Any) -> None:
    fund(cast.alice.workspace, "1")
    original = charge(cast.bob, "0.5", "message:1")
    refund, _ = ledger.refund(
        original=original, amount=Decimal("0.25"), reference="refund", description="Sorry.", actor=None
    )
    cast.alice.get("billing-events")
    with django_assert_num_queries(3):  # token, membership, events with their originals
        shown = cast.alice.get("billing-events").json()["results"]
    assert [(row["event_type"], row["related_message"], row["related_usage_log"]) for row in shown] == [
        ("refund", "m-1", "u-1"),
        ("usage", "m-1", "u-1"),
        ("credit", None, None),
    ]
    assert cast.bob.get(f"billing-events/{refund.pk}").json()["related_message"] == "m-1"


def test_who_sees_what(cast: Cast, dora: Person, victor: Person) -> None:
    ledger.credit(workspace=cast.alice.workspace, amount=Decimal(1), reference="top-up")
    mine = charge(cast.alice, "0.1", "message:alice")
    his = charge(cast.bob, "0.1", "message:bob")
    for person in (cast.alice, dora):
        assert references(person.get("billing-events")) == ["message:bob", "message:alice", "top-up"]
        assert person.get(f"billing-events/{his.pk}").status_code == 200
    assert references(cast.bob.get("billing-events")) == ["message:bob"]
    assert cast.bob.get(f"billing-events/{his.pk}").status_code == 200
    error_of(cast.bob.get(f"billing-events/{mine.pk}"), 404, "not_found")
    assert references(victor.get("billing-events")) == []
    assert references(cast.charlie.get("billing-events")) == []


def test_nobody_writes_them(alice: Person) -> None:
    fund(alice.workspace, "1")
    event = BillingEvent.objects.get(workspace=alice.workspace)
    error_of(alice.post("billing-events", {"amount_usd": "5"}), 405, "method_not_allowed")
    for method in ("put", "patch"):
        error_of(getattr(alice, method)(f"billing-events/{event.pk}", {"amount_usd": "5"}), 405, "method_not_allowed")
    error_of(alice.delete(f"billing-events/{event.pk}"), 405, "method_not_allowed")


def test_filters(alice: Person) -> None:
    ledger.credit(workspace=alice.workspace, amount=Decimal(1), reference="top-up")
    event = charge(alice, "0.1", "message:1")
    assert references(alice.get("billing-events", event_type="credit")) == ["top-up"]
    assert references(alice.get("billing-events", reference="message:1")) == ["message:1"]
    at = event.created_at
    later = at + timedelta(microseconds=1)
    assert references(alice.get("billing-events", created_after=at.isoformat())) == ["message:1"]
    assert references(alice.get("billing-events", created_after=later.isoformat())) == []
    assert references(alice.get("billing-events", created_before=at.isoformat())) == ["top-up"]
    assert references(alice.get("billing-events", created_before=later.isoformat())) == ["message:1", "top-up"]


@pytest.mark.parametrize(("name", "value"), [("event_type", "gift"), ("created_after", "yesterday")])
def test_a_filter_with_a_wrong_value_is_refused(alice: Person, name: str, value: str) -> None:
    assert_invalid(alice.get("billing-events", **{name: value}), name)


def test_pages(alice: Person) -> None:
    for n in range(5):
        ledger.credit(workspace=alice.workspace, amount=Decimal(1), reference=str(n))
    page = alice.get("billing-events", limit=2).json()
    seen = [row["seq"] for row in page["results"]]
    ledger.credit(workspace=alice.workspace, amount=Decimal(1), reference="new")
    while page["next"]:
        page = alice.get("billing-events?" + page["next"].partition("?")[2]).json()
        seen += [row["seq"] for row in page["results"]]
    assert seen == [5, 4, 3, 2, 1]


def test_the_list_takes_three_queries_however_long(alice: Person, django_assert_num_queries: Any) -> None:
    alice.get("billing-events")
    for count in (1, 20):
        for n in range(count):
            ledger.credit(workspace=alice.workspace, amount=Decimal(1), reference=f"{count}-{n}")
        with django_assert_num_queries(3):  # token, membership, events
            alice.get("billing-events")
