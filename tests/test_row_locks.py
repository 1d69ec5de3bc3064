"""Rows that every commit's foreign keys look at are locked so that those go on: nobody waits for an operator's form."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from django.db import connection, transaction
from django.test import Client
from django.utils import timezone

from billing import ledger
from billing.models import BillingEvent, Wallet
from llm.models import LLM, LLMPrice
from synapscale.common.errors import Conflict
from tests.admin.rows import Office
from tests.conversations.calling import answered, make_conversation
from tests.house import house
from tests.people import Cast, fund, join, make_cast, make_workspace
from workspaces import members
from workspaces.models import Membership, User, Workspace

__all__ = ["house"]
on_postgresql = pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has one writer at a time")
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("house")]


@pytest.fixture
def cast(transactional_db: None) -> Cast:
    return make_cast()


def may_be_pointed_at(table: str, key: Any) -> bool:
    """Whether another connection could insert a row with a foreign key to this one now."""
    name = connection.settings_dict["NAME"]
    url = urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{name}").geturl()
    with psycopg.connect(url) as other:
        try:
            other.execute(f"SELECT 1 FROM {table} WHERE id = %s FOR KEY SHARE NOWAIT", [key])
        except psycopg.errors.LockNotAvailable:
            return False
    return True


def is_locked(table: str, key: Any) -> bool:
    name = connection.settings_dict["NAME"]
    url = urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{name}").geturl()
    with psycopg.connect(url) as other:
        try:
            other.execute(f"SELECT 1 FROM {table} WHERE id = %s FOR NO KEY UPDATE NOWAIT", [key])
        except psycopg.errors.LockNotAvailable:
            return True
    return False


def the_workspace(cast: Cast) -> tuple[str, Any]:
    return "workspaces", cast.alice.workspace.pk


def the_wallet(cast: Cast) -> tuple[str, Any]:
    return "wallets", Wallet.objects.get(workspace=cast.alice.workspace).pk


def add_a_member(cast: Cast) -> tuple[str, Any]:
    members.add_member(
        workspace=cast.alice.workspace, email="dora@example.org", role="member", by=cast.alice.membership
    )
    return the_workspace(cast)


def change_a_role(cast: Cast) -> tuple[str, Any]:
    members.change_role(membership=cast.bob.membership, role="admin", by=cast.alice.membership)
    return the_workspace(cast)


def remove_a_member(cast: Cast) -> tuple[str, Any]:
    members.remove_member(membership=cast.bob.membership, by=cast.alice.membership)
    return the_workspace(cast)


def make_a_default_agent(cast: Cast) -> tuple[str, Any]:
    body = {"name": "A", "llm": "openai/openai-test", "is_default": True}
    assert cast.alice.post("agents", body).status_code == 201
    return the_workspace(cast)


def supersede_a_price(cast: Cast) -> tuple[str, Any]:
    llm = LLM.objects.get()
    rates = {"input_usd_per_mtok": Decimal(1), "output_usd_per_mtok": Decimal(2)}
    LLMPrice.supersede(llm=llm, effective_from=timezone.now(), **rates)
    return "llms", llm.pk


def refund_a_charge(cast: Cast) -> tuple[str, Any]:
    charge = BillingEvent.objects.get(workspace=cast.alice.workspace, event_type="usage")
    ledger.refund(original=charge, amount=Decimal("0.00001"), reference="r", description="Sorry", actor=None)
    return the_wallet(cast)


def change_a_wallet(cast: Cast) -> tuple[str, Any]:
    client = Client()
    client.force_login(User.objects.create_superuser("root@example.org"))
    wallet = Wallet.objects.get(workspace=cast.alice.workspace)
    assert Office(client).save(wallet, markup_bps=5).status_code == 302
    return the_wallet(cast)


@on_postgresql
@pytest.mark.parametrize(
    "do",
    [
        add_a_member,
        change_a_role,
        remove_a_member,
        make_a_default_agent,
        supersede_a_price,
        refund_a_charge,
        change_a_wallet,
    ],
)
def test_calls_go_on_while_it_is_under_way(cast: Cast, llm: LLM, do: Callable[[Cast], tuple[str, Any]]) -> None:
    fund(cast.alice.workspace, "1")
    answered(cast.alice, make_conversation(cast.alice))
    with transaction.atomic():
        table, key = do(cast)
        assert is_locked(table, key)
        assert may_be_pointed_at(table, key)


@contextmanager
def both_at_once(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Whoever looks for another owner waits for the second who does, unless the lock keeps that one out."""
    together = threading.Barrier(2)
    real = members._not_last_owner

    def look(member: Membership) -> None:
        real(member)
        try:
            together.wait(1)
        except threading.BrokenBarrierError:
            return

    with monkeypatch.context() as patch:
        patch.setattr(members, "_not_last_owner", look)
        yield


@pytest.mark.parametrize("how", ["demote", "remove"])
def test_two_owners_who_demote_each_other_leave_one(
    transactional_db: None, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    workspace: Workspace = make_workspace("acme")
    alice = join(workspace, "alice", Membership.Role.OWNER)
    dora = join(workspace, "dora", Membership.Role.OWNER)
    ended: list[str] = []

    def end(by: Membership, membership: Membership) -> None:
        try:
            if how == "demote":
                members.change_role(membership=membership, role="member", by=by)
            else:
                members.remove_member(membership=membership, by=by)
        except Conflict as refused:
            ended.append(refused.code)
        else:
            ended.append("done")
        finally:
            connection.close()

    pairs = [(alice.membership, dora.membership), (dora.membership, alice.membership)]
    with both_at_once(monkeypatch):
        threads = [threading.Thread(target=end, args=pair) for pair in pairs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(ended) == ["done", "last_owner"]
    assert Membership.objects.filter(workspace=workspace, role="owner").count() == 1
