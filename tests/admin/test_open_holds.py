"""Why holds are open, as a wallet's page says it."""

from __future__ import annotations

import html
import re
from datetime import timedelta
from decimal import Decimal

import pytest
from django.utils import timezone

from billing.models import Hold, Wallet
from conversations import settling
from conversations.models import Message
from conversations.outcomes import Outcome
from llm.models import LLM
from llm.types import Usage
from office.open_holds import LATE
from synapscale.common import processes
from tests.admin.rows import Office, admitted_by, make_workplace
from tests.admin.test_wallet_page import section, wallet_of, words
from tests.people import Cast, fund

pytestmark = pytest.mark.django_db


def test_why_a_hold_is_open(office: Office, cast: Cast, llm: LLM) -> None:
    fund(cast.alice.workspace, "5")
    wallet = wallet_of(cast.alice.workspace)
    hold = admitted_by(cast.alice, llm)
    rows = Hold.objects.filter(workspace=cast.alice.workspace)
    messages = Message.objects.filter(workspace=cast.alice.workspace, hold=hold)

    def why() -> str:
        page = office.open(wallet)
        assert "The open holds add up to exactly what the wallet holds." in words(page)
        shown = words(section(page, "holds"))
        alone = words(section(office.open(hold), "why").partition("<p")[2].partition("</p>")[0]).partition(">")[2]
        assert alone.strip() in shown, (alone, shown)  # its own page says the same
        return shown

    shown = why()
    assert "The call was admitted; the provider has not been called yet." in shown
    assert "alice@example.org" in shown
    assert str(llm) in shown
    assert f"/admin/conversations/message/{messages.get().pk}/change/" in office.open(wallet).text
    assert f"/admin/billing/hold/{hold.pk}/change/" in office.open(wallet).text

    rows.update(is_dispatched=True)
    assert "The provider has been called; nothing of the answer has been saved yet." in why()
    messages.update(status="streaming", attempt=2)
    assert "The answer is being written." in why()
    assert "attempt 2" in why()
    outcome = Outcome(status="sent", content="Hello", usage=Usage(input=10, output=5))
    settling.spool(workspace_id=cast.alice.workspace.pk, message_id=messages.get().pk, outcome=outcome)
    assert "The answer is complete and on disk; it is being booked." in why()
    messages.update(status="sent")
    assert "The answer is complete but not booked; a sweep books it when the lease runs out." in why()

    rows.update(lease_until=timezone.now() - timedelta(minutes=1))
    assert "the process that makes the call is alive and may renew it; after 15 minutes a sweep settles it." in why()
    rows.update(owner="")
    assert "Its lease has run out: nobody looks after the call any more; the next sweep settles it." in why()
    rows.update(lease_until=timezone.now() - LATE - timedelta(seconds=1))
    assert "Its lease ran out long ago and no sweep has settled it: see whether the sweep runs." in why()
    place = processes.own_identity().rsplit(":", 2)[0]
    rows.update(lease_until=timezone.now() + timedelta(minutes=1), owner=f"{place}:4194304:1")
    assert "The process that made the call has died; the next sweep settles it." in why()
    messages.update(hold=None)
    rows.update(owner="")
    assert "It belongs to no message: it is given back when its lease runs out." in why()


def test_the_page_of_a_settled_hold_asks_nothing(office: Office) -> None:
    owner = make_workplace(1)
    hold = Hold.objects.get(workspace=owner.workspace, state="settled")

    assert "Why it is open" not in office.open(hold).text


def test_holds_beyond_a_screenful_are_counted_and_linked(office: Office, cast: Cast) -> None:
    workspace = cast.alice.workspace
    fund(workspace, "5")
    wallet = wallet_of(workspace)
    lease = timezone.now() + timedelta(minutes=1)
    Hold.objects.bulk_create(
        Hold(workspace=workspace, wallet=wallet, user=cast.alice.user, amount=Decimal("0.01"), lease_until=lease)
        for _ in range(22)
    )
    Wallet.objects.filter(workspace=workspace).update(held=Decimal("0.22"))
    page = office.open(wallet)

    assert len(page.context["request"].wallet_page["holds"]) == 20
    assert "2 more open holds" in words(section(page, "holds"))
    (url,) = re.findall(r'href="(/admin/billing/hold/\?[^"]+)"', section(page, "holds"))
    assert office.client.get(html.unescape(url)).context["cl"].result_count == 22
    assert "The open holds add up to exactly what the wallet holds." in words(page)
