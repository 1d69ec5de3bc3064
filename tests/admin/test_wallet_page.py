"""A wallet's page: what it has and whether that is right, its newest events, and why holds are open."""

from __future__ import annotations

import html
import re
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from billing import ledger
from billing.models import BillingEvent, Wallet
from conversations.models import Conversation, UsageLog
from llm.models import LLM
from tests.admin.rows import Office, admitted_by, answer_in, make_workplace
from tests.analytics.usage import Call, write
from tests.people import Cast, fund
from tests.unguarded import run, unguarded
from workspaces.models import User, Workspace

pytestmark = pytest.mark.django_db
WRONG = "Run “manage.py audit_ledger”."


def wallet_of(workspace: Workspace) -> Wallet:
    return Wallet.objects.get(workspace=workspace)


def words(page: Any) -> str:
    text = page if isinstance(page, str) else page.text
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", text)))


def section(page: Any, name: str) -> str:
    """A card of the page, with its tags."""
    return str(page.text.partition(f'id="{name}"')[2].partition("</section>")[0])


def office_of(*permissions: str) -> Office:
    clerk = User.objects.create_user("clerk@example.org", is_staff=True)
    names = [permission.partition(".")[2] for permission in permissions]
    clerk.user_permissions.set(Permission.objects.filter(codename__in=names))
    client = Client()
    client.force_login(clerk)
    return Office(client)


# --- What it has ------------------------------------------------------------------------------------------------------


def test_what_it_has_and_that_it_is_right(office: Office) -> None:
    owner = make_workplace(1)
    page = office.open(wallet_of(owner.workspace))
    text = words(page)

    assert "Balance $4.998001 Prepaid: never below zero" in text
    assert "Held $0.00 reserved for calls under way Available $4.998001" in text
    assert "Status Open calls are answered" in text
    assert "The newest event of the ledger leaves exactly the wallet's balance." in text
    assert "No hold is open, and nothing is held." in text
    assert "None: no call is under way." in text
    assert WRONG not in text


def test_an_empty_wallet_says_so(office: Office, cast: Cast) -> None:
    text = words(office.open(wallet_of(cast.alice.workspace)))
    assert "No money has moved yet: a top-up is the first event." in text
    assert "The ledger has no event, and the balance is zero." in text
    assert "Spent in 30 days $0.00" in text
    assert "Runs dry" not in text


def test_a_postpaid_wallet_says_how_far_it_may_go(office: Office, cast: Cast) -> None:
    Wallet.objects.filter(workspace=cast.alice.workspace).update(mode="postpaid", credit_limit=Decimal("12.5"))
    text = words(office.open(wallet_of(cast.alice.workspace)))
    assert "Credit limit $12.50" in text
    assert "Available $12.50" in text


def test_what_is_spent_and_when_it_runs_dry(office: Office, cast: Cast, llm: LLM) -> None:
    fund(cast.alice.workspace, "10")
    now = timezone.now()
    write(
        Call(at=now - timedelta(days=days), person=cast.alice, llm=llm, charged=charged)
        for days, charged in ((0.5, 1_000_000), (3, 600_000), (10, 200_000), (40, 100_000))
    )
    page = office.open(wallet_of(cast.alice.workspace))
    text = words(page)

    assert "Spent in 24 hours $1.00 charged for calls" in text
    assert "Spent in 30 days $1.80 charged for calls" in text
    assert "Runs dry in about 35 days at the rate of the last 7 days" in text  # 8.10 left, 1.60 in a week
    (today, month) = re.findall(r'<a href="(/admin/conversations/usagelog/[^"]+)" class="office-tile"', page.text)
    assert len(office.client.get(html.unescape(today)).context["cl"].result_list) == 1
    assert len(office.client.get(html.unescape(month)).context["cl"].result_list) == 3


def test_a_balance_that_its_ledger_does_not_explain_is_called_out(office: Office, cast: Cast) -> None:
    fund(cast.alice.workspace, "5")
    wallet = wallet_of(cast.alice.workspace)
    with unguarded():
        run(f"UPDATE wallets SET balance = balance + 1 WHERE workspace_id = '{_sql(wallet.workspace_id)}'")
        page = office.open(wallet)
    assert (
        "The newest event of the ledger, number 1, leaves $5.00; the wallet has the balance $5.000000000001 at number 1. "
        + WRONG
    ) in words(page)


def test_a_link_of_the_chain_that_does_not_fit_is_called_out(office: Office, cast: Cast) -> None:
    fund(cast.alice.workspace, "5")
    fund(cast.alice.workspace, "2")
    wallet = wallet_of(cast.alice.workspace)
    said = "An event below does not continue the one before it."
    assert said not in words(office.open(wallet))
    with unguarded():
        run(f"UPDATE billing_events SET amount_usd = 1 WHERE seq = 1 AND workspace_id = '{_sql(wallet.workspace_id)}'")
        assert said in words(office.open(wallet))


def test_what_is_held_without_a_hold_is_called_out(office: Office, cast: Cast) -> None:
    fund(cast.alice.workspace, "5")
    wallet = wallet_of(cast.alice.workspace)
    Wallet.objects.filter(workspace=cast.alice.workspace).update(held=Decimal("0.25"))

    assert f"The open holds add up to $0.00; the wallet holds $0.25. {WRONG}" in words(office.open(wallet))


def _sql(key: Any) -> str:
    return str(key) if connection.vendor == "postgresql" else key.hex


# --- Its ledger -------------------------------------------------------------------------------------------------------


def test_the_ledger_runs_from_the_newest_event_down(office: Office, root: User) -> None:
    owner = make_workplace(1)
    ledger.adjust(
        workspace=owner.workspace, amount=Decimal("-1"), reference="fix-1", description="Wrong <b>price</b>", actor=root
    )
    wallet = wallet_of(owner.workspace)
    log = UsageLog.objects.get(workspace=owner.workspace)
    events = {event.seq: event for event in BillingEvent.objects.filter(workspace=owner.workspace)}
    shown = section(office.open(wallet), "ledger")

    rows = [words(row) for row in re.findall(r"<tr>(.*?)</tr>", shown.partition("<tbody>")[2], re.DOTALL)]
    assert [re.search(r"^ (\d+) ", row).group(1) for row in rows] == ["4", "3", "2", "1"]  # type: ignore[union-attr]
    assert "-$1.00 Refund $3.998001 Adjustment root@example.org Wrong <b>price</b> fix-1" in rows[0]
    assert "+$0.000001 $4.998001 Refund owner-1@example.org of number 2 Usage Message refund-1" in rows[1]
    assert "-$0.002 $0.000001 refunded Refund $4.998 Usage owner-1@example.org demo-1, 1500 tokens" in rows[2].replace(
        "demo/", ""
    )
    assert "+$5.00 $5.00 Credit –" in rows[3]
    assert shown.count(f"/admin/conversations/usagelog/{log.pk}/change/") == 2
    assert shown.count(f"/admin/conversations/message/{log.message_id}/change/") == 2
    # Of charges alone, as long as something is left of them.
    links = [f"/admin/billing/billingevent/{events[seq].pk}/refund/" for seq in (4, 2)]
    assert re.findall(r'href="([^"]+/refund/)"', shown) == links
    ledger.refund(original=events[2], amount=Decimal("0.001999"), reference="rest", description="", actor=root)
    shown = section(office.open(wallet), "ledger")
    assert re.findall(r'href="([^"]+/refund/)"', shown) == links[:1]
    assert "$0.002 refunded" in words(shown)


def test_the_newest_lead_to_the_whole_ledger_which_has_pages(office: Office, cast: Cast) -> None:
    for _ in range(120):
        fund(cast.alice.workspace, "1")
    fund(cast.charlie.workspace, "7")
    wallet = wallet_of(cast.alice.workspace)
    page = office.open(wallet)
    url = f"/admin/billing/wallet/{wallet.pk}/ledger/"
    newest_page = office.client.get(url)
    assert [line.event.seq for line in newest_page.context["ledger"].lines] == list(range(120, 70, -1))
    assert "The whole ledger: 120 events" in words(section(page, "ledger"))
    assert url in section(page, "ledger")

    seen: list[int] = []
    address = url
    while True:
        with CaptureQueriesContext(connection) as queries:
            shown = office.client.get(address)
        assert not any("COUNT(" in query["sql"] for query in queries)
        assert len(queries) == 5, [query["sql"][:80] for query in queries]
        lines = shown.context["ledger"].lines
        assert all(line.continues for line in lines)
        seen += [line.event.seq for line in lines]
        older = re.search(r'href="(\?before=\d+)"[^>]*>\s*Older', shown.text)
        if older is None:
            break
        address = url + older.group(1)
    assert seen == list(range(120, 0, -1))
    assert "From number 20 on, of 120 events" in words(shown)
    newer = re.search(r'href="(\?before=\d+)"[^>]*>\s*Newer', shown.text)
    assert newer is not None
    assert [line.event.seq for line in office.client.get(url + newer.group(1)).context["ledger"].lines] == list(
        range(70, 20, -1)
    )
    (download,) = re.findall(r'href="(/admin/billing/billingevent/export/[^"]+)"', newest_page.text)
    lines = b"".join(office.client.get(html.unescape(download)).streaming_content).splitlines()
    assert len(lines) == 121
    oldest = office.client.get(f"{url}?before=51").context["ledger"].lines
    assert [line.event.seq for line in oldest] == list(range(50, 0, -1))


@pytest.mark.parametrize("before", ["x", "", "-1", "²", "9" * 40])
def test_a_page_that_makes_no_sense_is_the_first(office: Office, cast: Cast, before: str) -> None:
    fund(cast.alice.workspace, "1")
    wallet = wallet_of(cast.alice.workspace)
    page = office.client.get(f"/admin/billing/wallet/{wallet.pk}/ledger/", {"before": before})
    assert [line.event.seq for line in page.context["ledger"].lines] == [1]


def test_before_the_first_event_there_is_nothing(office: Office, cast: Cast) -> None:
    fund(cast.alice.workspace, "1")
    url = f"/admin/billing/wallet/{wallet_of(cast.alice.workspace).pk}/ledger/"
    assert office.client.get(url, {"before": "1"}).context["ledger"].lines == []
    assert office.client.get("/admin/billing/wallet/00000000-0000-7000-8000-000000000000/ledger/").status_code == 404


def test_the_pages_make_a_fixed_number_of_queries(office: Office) -> None:
    owner = make_workplace(1)
    wallet = wallet_of(owner.workspace)
    conversation, llm = Conversation.objects.get(workspace=owner.workspace), LLM.objects.get()

    def count(path: str) -> int:
        with CaptureQueriesContext(connection) as queries:
            assert office.client.get(path).status_code == 200
        return len(queries)

    pages = [f"/admin/billing/wallet/{wallet.pk}/{page}/" for page in ("change", "ledger")]
    few = [count(path) for path in pages]
    for number in range(10):
        log = answer_in(conversation, owner, llm).usage_logs.get()
        ledger.refund(
            original=log.billing_event, amount=Decimal("0.0001"), reference=f"r{number}", description="", actor=None
        )
    for _ in range(3):
        admitted_by(owner, llm)
    # Session, user, wallet, whether it is open; it and its checks at once, figures, holds, and events: their charges,
    # those of their originals, and refunds. With holds, what they are for.
    assert few == [11, 7]
    assert [count(path) for path in pages] == [12, 7]
    # Their own permissions and those of their groups.
    finance = User.objects.create_user("finance@example.org", is_staff=True)
    finance.groups.add(Group.objects.get(name="Finance"))
    office.client.force_login(finance)
    assert [count(path) for path in pages] == [14, 9]


def test_usage_leads_to_its_charge_and_that_says_what_was_refunded(office: Office) -> None:
    owner = make_workplace(1)
    charge = BillingEvent.objects.get(workspace=owner.workspace, event_type="usage")
    link = f'<a href="/admin/billing/billingevent/{charge.pk}/change/">$0.002</a>'

    assert link in office.list(UsageLog).text
    page = office.open(charge)
    assert re.search(r"Refunded so far.{0,600}0\.000001", words(page))
    assert f"/admin/billing/billingevent/{charge.pk}/refund/" in page.text


# --- Who sees what ----------------------------------------------------------------------------------------------------


def test_whoever_sees_the_wallet_alone_sees_no_rows() -> None:
    owner = make_workplace(1)
    wallet = wallet_of(owner.workspace)
    clerk = office_of("billing.view_wallet")
    page = clerk.open(wallet)

    assert page.status_code == 200
    assert "Balance $4.998001" in words(page)
    assert 'id="ledger"' not in page.text
    assert 'id="holds"' not in page.text
    assert "Spent in" not in page.text
    assert "/ledger/" not in page.text
    assert clerk.client.get(f"/admin/billing/wallet/{wallet.pk}/ledger/").status_code == 403


def test_whoever_sees_the_ledger_too_is_led_to_what_they_may_open() -> None:
    owner = make_workplace(1)
    wallet = wallet_of(owner.workspace)
    clerk = office_of("billing.view_wallet", "billing.view_billingevent")
    shown = section(clerk.open(wallet), "ledger")

    assert "demo-1, 1500 tokens" in words(shown)
    assert "/admin/conversations/" not in shown
    assert "/refund/" not in shown
    page = clerk.client.get(f"/admin/billing/wallet/{wallet.pk}/ledger/")
    assert page.status_code == 200
    assert "/export/" not in page.text


def test_only_what_would_change_something_is_offered(office: Office, cast: Cast) -> None:
    wallet = wallet_of(cast.alice.workspace)
    titles = [action["title"] for action in office.open(wallet).context["actions_detail"]]
    assert titles == ["Top up", "Adjust", "Suspend", "Ledger", "Statements"]
    Wallet.objects.filter(workspace=cast.alice.workspace).update(status="suspended")
    page = office.open(wallet)
    titles = [action["title"] for action in page.context["actions_detail"]]
    assert titles == ["Top up", "Adjust", "Open again", "Ledger", "Statements"]
    assert "Status Suspended calls that cost money are refused" in words(page)
