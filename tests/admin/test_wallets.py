"""The rules of a wallet are edited here; its money is not, whatever happens while the form is open."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

import pytest
from auditlog.models import LogEntry
from django.contrib.auth.models import Permission

from billing import ledger
from billing.admin import WalletAdmin
from billing.models import BillingEvent, Wallet
from conversations.admin import ConversationAdmin
from conversations.models import Conversation, UsageLog
from tests.admin.rows import Office, again, errors, make_workplace
from tests.audited import notes
from tests.books import assert_clean
from tests.people import Cast, fund
from workspaces.models import User, Workspace


def wallet_of(workspace: Workspace) -> Wallet:
    return Wallet.objects.get(workspace=workspace)


def test_mode_limit_and_markup_can_be_changed_but_not_the_status(office: Office, cast: Cast) -> None:
    wallet = wallet_of(cast.alice.workspace)

    response = office.save(wallet, mode="postpaid", credit_limit="12.5", status="suspended", markup_bps="250")

    assert response.status_code == 302, errors(response)
    wallet = again(wallet)
    assert (wallet.mode, wallet.status, wallet.markup_bps) == ("postpaid", "open", 250)
    assert wallet.credit_limit == Decimal("12.5")


@pytest.mark.parametrize("rules", [{"mode": "postpaid", "credit_limit": "100.01"}, {"mode": "untracked"}])
def test_to_lend_much_asks_for_the_password(office: Office, cast: Cast, root: User, rules: dict[str, str]) -> None:
    root.set_password("correct horse battery")
    root.save()
    office.client.force_login(root)
    wallet = wallet_of(cast.alice.workspace)

    assert errors(office.save(wallet, **rules)) == {"password": ["So much money asks for your password."]}
    assert errors(office.save(wallet, **rules, password="x")) == {"password": ["This is not your password."]}
    assert notes(root)[-1] == "Wrong password for moving money."
    assert again(wallet).mode == "prepaid"
    assert office.save(wallet, **rules, password="correct horse battery").status_code == 302
    assert again(wallet).mode == rules["mode"]
    assert office.save(wallet, mode="prepaid", credit_limit="0").status_code == 302  # to lend less asks for nothing
    assert "correct horse battery" not in str(list(LogEntry.objects.values()))


def test_who_only_looks_is_asked_for_nothing(clerks_office: Office, clerk: User, cast: Cast) -> None:
    clerk.user_permissions.add(Permission.objects.get(codename="view_wallet"))
    assert "Your password" not in clerks_office.open(wallet_of(cast.alice.workspace)).text


def test_the_rules_of_the_model_hold_in_the_form(office: Office, cast: Cast) -> None:
    wallet = wallet_of(cast.alice.workspace)

    assert "credit_limit" in errors(office.save(wallet, mode="prepaid", credit_limit="5"))
    assert "credit_limit" in errors(office.save(wallet, mode="postpaid", credit_limit="0.0000000000001"))
    assert errors(office.save(wallet, mode="postpaid", credit_limit="4000001"))
    assert errors(office.save(wallet, mode="postpaid", credit_limit="-1"))
    assert "markup_bps" in errors(office.save(wallet, markup_bps="100001"))


def test_a_limit_that_is_used_up_already_can_not_be_taken_away(office: Office, cast: Cast) -> None:
    wallet = wallet_of(cast.alice.workspace)
    Wallet.objects.filter(workspace=cast.alice.workspace).update(mode="postpaid", credit_limit=10)
    ledger.adjust(
        workspace=cast.alice.workspace, amount=Decimal(-4), reference="a", description="Correction", actor=None
    )

    assert "mode" in errors(office.save(wallet, mode="prepaid", credit_limit="0"))
    assert "credit_limit" in errors(office.save(wallet, credit_limit="3.99"))
    assert office.save(wallet, credit_limit="4").status_code == 302


def test_money_typed_into_the_request_is_ignored(office: Office, cast: Cast) -> None:
    fund(cast.alice.workspace, "5")
    wallet = wallet_of(cast.alice.workspace)

    response = office.save(wallet, balance="1000", held="0", seq="99", workspace=cast.charlie.workspace.pk)

    assert response.status_code == 302
    assert again(wallet).balance == 5
    assert again(wallet).workspace_id == cast.alice.workspace.pk
    assert_clean()


def test_a_charge_between_load_and_save_is_kept(office: Office, cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process charges when the view has read the wallet and validated the form, but not written it yet."""
    fund(cast.alice.workspace, "5")
    wallet = wallet_of(cast.alice.workspace)
    save = WalletAdmin.save_model

    def charged_in_between(*args: Any, **kwargs: Any) -> None:
        fund(cast.alice.workspace, "2")
        save(*args, **kwargs)

    monkeypatch.setattr(WalletAdmin, "save_model", charged_in_between)
    assert office.save(wallet, markup_bps="100").status_code == 302

    wallet = again(wallet)
    assert (wallet.balance, wallet.seq, wallet.markup_bps) == (Decimal(7), 2, 100)
    assert_clean()


def test_wallets_are_neither_added_nor_deleted(office: Office, cast: Cast) -> None:
    wallet = wallet_of(cast.alice.workspace)

    assert office.client.post(office.url(Wallet, "add"), {}).status_code == 403
    assert office.client.post(office.url(Wallet, "delete", wallet.pk), {"post": "yes"}).status_code == 403


def test_an_event_leads_to_its_usage_and_message_and_so_does_its_refund(office: Office) -> None:
    owner = make_workplace(1)
    log = UsageLog.objects.get(workspace=owner.workspace)
    events = BillingEvent.objects.filter(workspace=owner.workspace)

    for kind in ("usage", "refund"):
        page = office.open(events.get(event_type=kind)).text
        assert f"/admin/conversations/usagelog/{log.pk}/change/" in page
        assert f"/admin/conversations/message/{log.message_id}/change/" in page
    credit = office.open(events.get(event_type="credit")).text
    assert not re.search(r"/admin/conversations/(usagelog|message)/[^\"]+/change/", credit)
    assert office.list(BillingEvent).text.count(f"/admin/conversations/message/{log.message_id}/change/") == 2


def test_amounts_are_exact_on_every_page(office: Office) -> None:
    owner = make_workplace(1)
    wallet = wallet_of(owner.workspace)
    assert wallet.balance == Decimal("4.998001")  # 5 - (1000 x $1 + 500 x $2) per million, + 0.000001

    assert "4.998001" in office.list(Wallet).text
    assert re.search(r"Balance</span>\s*<strong[^>]*>\$4\.998001<", office.open(wallet).text)


def test_an_open_form_does_not_undo_what_messages_count(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    owner = make_workplace(1)
    conversation = Conversation.objects.get(workspace=owner.workspace)
    save = ConversationAdmin.save_model

    def answered_in_between(*args: Any, **kwargs: Any) -> None:
        Conversation.objects.filter(workspace=owner.workspace).update(message_count=4, total_cost=Decimal("0.004"))
        save(*args, **kwargs)

    monkeypatch.setattr(ConversationAdmin, "save_model", answered_in_between)
    assert office.save(conversation, title="Renamed").status_code == 302

    stored = again(conversation)
    assert (stored.title, stored.message_count, stored.total_cost) == ("Renamed", 4, Decimal("0.004"))
    assert stored.updated_at > conversation.updated_at
