"""Money through the database and back: stored, added up, compared and exported without losing a digit."""

from __future__ import annotations

import json
from datetime import datetime
from decimal import Decimal
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection, transaction
from django.db.models import ExpressionWrapper, F, Max, Min, Q, Sum, Value
from django.db.models.functions import Coalesce
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing.models import BillingEvent, Hold, HoldIncident, Wallet
from conversations.models import Message, UsageLog
from llm.models import LLM, LLMPrice
from synapscale.common.money import MAX_USD, UsdField, usd
from synapscale.common.tenancy import fleet_wide
from tests.catalogue import SINCE
from tests.conversations.calling import answered, make_conversation
from tests.people import Person, fund

pytestmark = pytest.mark.django_db
in_one_transaction = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=100
)


def incident(person: Person, amount: Decimal) -> HoldIncident:
    return HoldIncident.objects.create(workspace=person.workspace, kind="overrun", amount=amount)


def of(person: Person) -> Any:
    return HoldIncident.objects.filter(workspace=person.workspace)


@in_one_transaction
@given(amount=st.decimals(min_value=0, max_value=MAX_USD, places=12))
def test_dollars_come_back_as_they_went(alice: Person, amount: Decimal) -> None:
    row = incident(alice, amount)
    row.refresh_from_db()
    assert row.amount == amount
    assert of(alice).filter(pk=row.pk, amount=amount).exists()
    assert not of(alice).filter(pk=row.pk, amount__lt=amount).exists()


@in_one_transaction
@given(rate=st.decimals(min_value=0, max_value=1_000_000, places=6))
def test_rates_come_back_as_they_went(db: None, rate: Decimal) -> None:
    with transaction.atomic():
        llm = LLM.objects.create(provider="openai", name="m", display_name="m", context_window=9, max_output_tokens=9)
        price = LLMPrice(llm=llm, effective_from=SINCE, input_usd_per_mtok=rate, output_usd_per_mtok=rate)
        price.save()
        price.refresh_from_db()
        assert price.input_usd_per_mtok == rate
        assert price.table.rates.input == int(rate * 1_000_000)
        transaction.set_rollback(True)


def test_it_is_stored_as_a_whole_number(alice: Person) -> None:
    row = incident(alice, Decimal("1.000000000001"))
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT amount FROM hold_incidents WHERE workspace_id = %s",
            [alice.workspace.pk if connection.vendor == "postgresql" else alice.workspace.pk.hex],
        )
        assert cursor.fetchall() == [(1_000_000_000_001,)]
    assert row.amount == Decimal("1.000000000001")


def test_ten_thousand_small_amounts_add_up_exactly(alice: Person) -> None:
    """In binary floating point, which SQLite's DECIMAL is, the sum drifts."""
    HoldIncident.objects.bulk_create(
        HoldIncident(workspace=alice.workspace, kind="overrun", amount=Decimal("0.000000100001")) for _ in range(10_000)
    )
    assert of(alice).aggregate(s=Sum("amount"))["s"] == Decimal("0.00100001")


def test_aggregates_are_decimals(alice: Person) -> None:
    for amount in ("0.000000000001", "3", "2.5"):
        incident(alice, Decimal(amount))
    figures = of(alice).aggregate(
        total=Sum("amount"), least=Min("amount"), most=Max("amount"), none=Sum("amount", filter=Q(amount__lt=0))
    )
    assert figures == {
        "total": Decimal("5.500000000001"),
        "least": Decimal("0.000000000001"),
        "most": Decimal("3"),
        "none": None,
    }
    zero = Coalesce(Sum("amount"), Value(Decimal(0), output_field=UsdField()))
    assert of(alice).filter(kind="late_result").aggregate(s=zero)["s"] == Decimal(0)


def test_arithmetic_in_the_database_is_in_the_same_unit(alice: Person) -> None:
    row = incident(alice, Decimal("1"))
    more = ExpressionWrapper(F("amount") + usd(Decimal("0.000000000001")), output_field=UsdField())
    assert of(alice).annotate(more=more).get().more == Decimal("1.000000000001")
    less = ExpressionWrapper(F("amount") - usd(Decimal("0.25")), output_field=UsdField())
    assert of(alice).annotate(less=less).get().less == Decimal("0.75")
    assert of(alice).filter(amount=usd(Decimal("0.5")) + usd(Decimal("0.5"))).get() == row
    assert of(alice).filter(amount__gte=F("amount") - usd(Decimal("0.000000000001"))).count() == 1
    assert of(alice).filter(amount__gte=F("amount") + usd(Decimal("0.000000000001"))).count() == 0


def test_a_conditional_update_is_exact_to_the_last_digit(alice: Person) -> None:
    fund(alice.workspace, "1")
    wallets = Wallet.objects.filter(workspace=alice.workspace)
    more = usd(Decimal("1.000000000001"))
    assert wallets.filter(balance__gte=F("held") + more).update(held=F("held") + more) == 0
    exactly = usd(Decimal("1"))
    assert wallets.filter(balance__gte=F("held") + exactly).update(held=F("held") + exactly) == 1
    assert wallets.get().held == Decimal("1")


def test_dumped_and_loaded_again_every_row_is_the_same_and_nothing_is_charged_twice(
    alice: Person, llm: LLM, tmp_path: Path
) -> None:
    """``loaddata`` saves raw: signals that meter or open wallets stay out of it."""
    fund(alice.workspace, "1.000000000001")
    answered(alice, make_conversation(alice), usage={"input": 10, "output": 7})
    names = ["billing.wallet", "billing.hold", "billing.billingevent", "conversations", "llm", "workspaces"]
    dump = StringIO()
    with fleet_wide():
        call_command("dumpdata", *names, stdout=dump)
    rows = json.loads(dump.getvalue())
    wallet = next(row for row in rows if row["model"] == "billing.wallet" and row["fields"]["seq"] == 2)
    assert wallet["fields"]["balance"] == "0.999976000001"
    assert all(not isinstance(value, float) for row in rows for value in row["fields"].values())

    before = {model: _rows(model) for model in (Wallet, Hold, BillingEvent, UsageLog, Message)}
    path = tmp_path / "dump.json"
    # Rows that may never change again can't be loaded over themselves; the others can.
    again = ("conversations.message", "billing.wallet")
    path.write_text(json.dumps([row for row in rows if row["model"] in again]))
    with fleet_wide():
        call_command("loaddata", str(path), verbosity=0)
    assert {model: _rows(model) for model in before} == before


def test_a_loaded_final_message_is_not_metered(alice: Person, llm: LLM, tmp_path: Path) -> None:
    conversation = make_conversation(alice)
    fields = {
        "workspace": str(alice.workspace.pk),
        "conversation": str(conversation.pk),
        "user": str(alice.user.pk),
        "role": "assistant",
        "status": "sent",
        "content": "Hello",
        "llm": str(llm.pk),
        "created_at": "2026-03-01T00:00:00Z",
        "updated_at": "2026-03-01T00:00:00Z",
    }
    path = tmp_path / "one.json"
    path.write_text(json.dumps([{"model": "conversations.message", "pk": str(conversation.pk), "fields": fields}]))
    call_command("loaddata", str(path), verbosity=0)
    assert Message.objects.filter(workspace=alice.workspace).count() == 1
    assert UsageLog.objects.filter(workspace=alice.workspace).count() == 0


def test_a_loaded_workspace_opens_no_second_wallet(alice: Person, tmp_path: Path) -> None:
    out = StringIO()
    call_command("dumpdata", "workspaces.workspace", stdout=out)
    path = tmp_path / "workspaces.json"
    path.write_text(out.getvalue())
    call_command("loaddata", str(path), verbosity=0)
    assert Wallet.objects.filter(workspace=alice.workspace).count() == 1


def _rows(model: Any) -> list[dict[str, Any]]:
    """All rows but for their times, which JSON carries to the millisecond."""
    with fleet_wide():
        rows = list(model.objects.order_by("pk").values())
    return [{name: value for name, value in row.items() if not isinstance(value, datetime)} for row in rows]
