"""Money is moved in two steps, once, with a reason, by those who may, and what was done is written down."""

from __future__ import annotations

import re
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from auditlog.models import LogEntry
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client
from django.utils import timezone

from billing import ledger
from billing.models import BillingEvent, Wallet
from synapscale.common.models import new_id
from tests.admin.rows import Office, again, make_workplace
from tests.audited import entries, notes
from tests.books import assert_clean
from tests.people import Cast, fund
from tests.together import at_once
from tests.unguarded import unguarded
from workspaces.models import User, Workspace

pytestmark = pytest.mark.django_db
PAGES = ("top-up", "adjust", "suspend", "reopen")


def wallet_of(workspace: Workspace) -> Wallet:
    return Wallet.objects.get(workspace=workspace)


def url(row: Any, page: str) -> str:
    return f"/admin/billing/{type(row)._meta.model_name}/{row.pk}/{page}/"


def reference_in(page: Any) -> str:
    (found,) = re.findall(r'name="reference" value="(office:[^"]+)"', page.text)
    return found


def asked(office: Office, row: Any, page: str, **given: Any) -> Any:
    """The page that shows the effect."""
    first = office.client.get(url(row, page))
    assert first.status_code == 200
    return office.client.post(url(row, page), {"reference": reference_in(first), **given})


def confirmed(office: Office, row: Any, page: str, **given: Any) -> Any:
    shown = asked(office, row, page, **given)
    assert "This is what will happen" in shown.text, shown.context["form"].errors
    return office.client.post(url(row, page), {"reference": reference_in(shown), "confirmed": "1", **given})


def said(office: Office, response: Any) -> str:
    """What the wallet's page says first, after an action."""
    page = office.client.get(response["Location"])
    return " ".join(str(message) for message in page.context["messages"])


def test_nothing_moves_before_it_is_confirmed(office: Office, cast: Cast) -> None:
    fund(cast.alice.workspace, "5")
    wallet = wallet_of(cast.alice.workspace)

    shown = asked(office, wallet, "top-up", amount="12.5", reason="Bank transfer", payment="B-1")

    text = re.sub(r"\s+", " ", re.sub("<[^>]+>", " ", shown.text))
    assert "Moves +$12.50 Balance $5.00 → $17.50 Available $5.00 → $17.50 Reason Bank transfer" in text
    assert again(wallet).balance == 5


def test_a_top_up_with_its_payment_its_reason_and_who_did_it(office: Office, cast: Cast, root: User) -> None:
    wallet = wallet_of(cast.alice.workspace)

    response = confirmed(office, wallet, "top-up", amount="12.5", reason="Bank transfer", payment="B-1")

    assert response["Location"] == f"/admin/billing/wallet/{wallet.pk}/change/"
    assert said(office, response) == "Topped up by $12.50."
    event = BillingEvent.objects.get(workspace=cast.alice.workspace)
    assert (event.event_type, event.amount_usd, event.description, event.payment_transaction_id, event.actor) == (
        "credit", Decimal("12.5"), "Bank transfer", "B-1", root,
    )  # fmt: skip
    (entry,) = entries(wallet)
    assert (entry.actor, entry.actor_email, entry.remote_addr) == (root, root.email, "127.0.0.1")
    assert entry.changes == {"balance": ["0.00", "12.50"]}
    assert entry.additional_data == {
        "what": "Topped up.", "reason": "Bank transfer", "reference": event.reference,
    }  # fmt: skip
    assert_clean()


def test_a_form_that_is_sent_twice_moves_nothing_twice(office: Office, cast: Cast) -> None:
    wallet = wallet_of(cast.alice.workspace)
    form = {"reference": f"office:{new_id()}", "confirmed": "1", "amount": "3", "reason": "Gift"}

    first, second = (office.client.post(url(wallet, "top-up"), form) for _ in range(2))

    assert (first.status_code, second.status_code) == (302, 302)
    assert "This was done already; nothing was done twice." in said(office, second)
    assert again(wallet).balance == 3
    assert len(entries(wallet)) == 1
    other = office.client.post(url(wallet, "top-up"), {**form, "amount": "4"})
    assert "was already used for another movement" in other.text
    assert again(wallet).balance == 3


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has one writer at a time")
@pytest.mark.django_db(transaction=True)
def test_two_clicks_at_the_same_moment(office: Office, cast: Cast, root: User) -> None:
    wallet = wallet_of(cast.alice.workspace)
    form = {"reference": f"office:{new_id()}", "confirmed": "1", "amount": "3", "reason": "Gift"}
    clients = [Client() for _ in range(4)]
    for client in clients:
        client.force_login(root)

    statuses = at_once(4, lambda number: clients[number].post(url(wallet, "top-up"), form).status_code)

    assert set(statuses) == {302}
    assert again(wallet).balance == 3
    assert len(entries(wallet)) == 1
    assert_clean()


def test_an_adjustment_goes_both_ways_and_never_below_what_there_is(office: Office, cast: Cast) -> None:
    fund(cast.alice.workspace, "5")
    wallet = wallet_of(cast.alice.workspace)

    assert confirmed(office, wallet, "adjust", amount="-1.000000000001", reason="Wrong price").status_code == 302
    assert again(wallet).balance == Decimal("3.999999999999")
    refused = confirmed(office, wallet, "adjust", amount="-4", reason="Too much")
    assert "The balance does not cover this." in refused.text
    assert again(wallet).balance == Decimal("3.999999999999")
    assert_clean()


@pytest.mark.parametrize(
    ("amount", "reason", "field"),
    [("", "x", "amount"), ("x", "x", "amount"), ("1", "", "reason"), ("1", " ", "reason"), ("NaN", "x", "amount")],
)
def test_what_is_missing_is_said_at_its_field(office: Office, cast: Cast, amount: str, reason: str, field: str) -> None:
    wallet = wallet_of(cast.alice.workspace)
    page = asked(office, wallet, "top-up", amount=amount, reason=reason)
    assert list(page.context["form"].errors) == [field]


def test_a_refund_is_at_most_what_was_charged(office: Office) -> None:
    owner = make_workplace(1)  # has a charge of 0.002, of which 0.000001 was refunded
    charge = BillingEvent.objects.get(workspace=owner.workspace, event_type="usage")
    wallet = wallet_of(owner.workspace)
    before = wallet.balance
    first = office.client.get(url(charge, "refund"))
    assert first.context["form"].initial == {"amount": Decimal("0.001999")}

    refused = confirmed(office, charge, "refund", amount="0.002", reason="Bad answer")
    assert "At most 0.001999 USD of this charge can be refunded." in refused.text
    assert confirmed(office, charge, "refund", amount="0.001999", reason="Bad answer").status_code == 302
    assert again(wallet).balance == before + Decimal("0.001999")
    assert confirmed(office, charge, "refund", amount="0.000001", reason="More").status_code == 200
    assert_clean()


def test_what_came_in_can_not_be_refunded(office: Office, cast: Cast) -> None:
    fund(cast.alice.workspace, "5")
    credit = BillingEvent.objects.get(workspace=cast.alice.workspace)

    assert "refund/" not in office.open(credit).text
    assert office.client.get(url(credit, "refund")).status_code == 403


def test_a_wallet_is_suspended_and_opened_again(office: Office, cast: Cast) -> None:
    wallet = wallet_of(cast.alice.workspace)

    assert said(office, confirmed(office, wallet, "suspend", reason="Unpaid bill")) == "Suspended."
    assert again(wallet).status == "suspended"
    assert "nothing was done twice" in said(office, confirmed(office, wallet, "suspend", reason="Again"))
    assert said(office, confirmed(office, wallet, "reopen", reason="Paid")) == "Opened again."
    assert again(wallet).status == "open"
    assert [(entry.additional_data["reason"], entry.changes) for entry in entries(wallet)] == [
        ("Unpaid bill", {"status": ["open", "suspended"]}), ("Paid", {"status": ["suspended", "open"]}),
    ]  # fmt: skip
    assert notes(wallet) == ["Suspended.", "Opened again."]


def test_much_money_asks_for_the_password(office: Office, cast: Cast, root: User) -> None:
    root.set_password("correct horse battery")
    root.save()
    office.client.force_login(root)
    wallet = wallet_of(cast.alice.workspace)
    given = {"amount": "100.01", "reason": "Invoice 7"}
    shown = asked(office, wallet, "top-up", **given)
    assert "So much money asks for your password." in shown.text
    form = {"reference": reference_in(shown), "confirmed": "1", **given}

    for _ in range(5):
        assert "This is not your password." in office.client.post(url(wallet, "top-up"), {**form, "password": "x"}).text
    right = {**form, "password": "correct horse battery"}
    assert "Too many wrong passwords" in office.client.post(url(wallet, "top-up"), right).text
    assert again(wallet).balance == 0

    office.client.force_login(root)  # a new session changes nothing
    assert "Too many wrong passwords" in office.client.post(url(wallet, "top-up"), right).text
    with unguarded():
        LogEntry.objects.update(timestamp=timezone.now() - timedelta(seconds=901))
        assert office.client.post(url(wallet, "top-up"), right).status_code == 302
        assert again(wallet).balance == Decimal("100.01")
    assert (
        "password" not in asked(office, wallet, "top-up", amount="100", reason="No more than that").context["form"].data
    )


def test_who_has_no_password_can_not_give_it(office: Office, cast: Cast) -> None:
    wallet = wallet_of(cast.alice.workspace)
    page = confirmed(office, wallet, "top-up", amount="101", reason="Much", password="anything")
    assert "You have no password" in page.text
    assert again(wallet).balance == 0


def test_each_action_asks_for_its_own_permission(clerk: User, clerks_office: Office, cast: Cast) -> None:
    wallet = wallet_of(cast.alice.workspace)
    fund(cast.alice.workspace, "5")
    ledger.adjust(workspace=cast.alice.workspace, amount=Decimal(-1), reference="a", description="x", actor=None)
    charge = BillingEvent.objects.get(workspace=cast.alice.workspace, event_type="adjustment")
    pages = [(wallet, page) for page in PAGES] + [(charge, "refund")]
    permissions = {
        "top_up_wallet": {"top-up"},
        "adjust_wallet": {"adjust"},
        "suspend_wallet": {"suspend", "reopen"},
        "refund_billingevent": {"refund"},
    }
    for row, page in pages:
        assert clerks_office.client.get(url(row, page)).status_code == 403
        assert clerks_office.client.post(url(row, page), {"confirmed": "1"}).status_code == 403
        assert Client().get(url(row, page)).status_code == 302
    views = [Permission.objects.get(codename=name) for name in ("view_wallet", "view_billingevent")]
    for codename, allowed in permissions.items():
        clerk.user_permissions.set([*views, Permission.objects.get(codename=codename)])
        assert {page for row, page in pages if clerks_office.client.get(url(row, page)).status_code == 200} == allowed
        shown = clerks_office.open(wallet).text + clerks_office.open(charge).text
        # The wallet is open: there is nothing to open again.
        assert {page for row, page in pages if f'{url(row, page)}"' in shown} == allowed - {"reopen"}
    assert clerks_office.client.get(f"/admin/billing/wallet/{new_id()}/top-up/").status_code == 403
