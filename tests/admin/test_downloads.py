"""Lists as CSV files: the rows that the list shows, exact, safe to open in a spreadsheet, for those who may."""

from __future__ import annotations

import csv
import io
import tracemalloc
from datetime import datetime
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

import pytest
from auditlog.models import LogEntry
from django.contrib.auth.models import Permission
from django.db import connection, transaction
from django.db.models import Model
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from billing import ledger
from billing.models import BillingEvent, Hold, Wallet
from conversations.models import UsageLog
from synapscale.common import exporting
from synapscale.common.csv_text import original
from tests.admin.rows import CONTENT, SECRET, Office, make_workplace
from tests.people import Cast, fund
from workspaces.models import User, Workspace

pytestmark = pytest.mark.django_db
DOWNLOADED: list[type[Model]] = [BillingEvent, Hold, UsageLog, Wallet]
lists = pytest.mark.parametrize("model", DOWNLOADED, ids=lambda model: model.__name__)


def download(office: Office, model: type[Model], **query: Any) -> Any:
    return office.client.get(office.url(model, "export"), query)


def text_of(response: Any) -> str:
    assert response.status_code == 200, response
    return b"".join(response.streaming_content).decode()


def rows_of(response: Any) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text_of(response), newline=""), strict=True))


def office_of(*permissions: str) -> Office:
    clerk = User.objects.create_user("clerk@example.org", is_staff=True)
    for permission in permissions:
        app, _, codename = permission.partition(".")
        clerk.user_permissions.add(Permission.objects.get(content_type__app_label=app, codename=codename))
    client = Client()
    client.force_login(clerk)
    return Office(client)


@lists
def test_the_file_has_the_rows_of_the_list(office: Office, model: type[Model]) -> None:
    for number in (1, 2):
        make_workplace(number)

    response = download(office, model)
    rows = rows_of(response)

    assert [row["id"] for row in rows] == [str(row.pk) for row in office.list(model).context["cl"].result_list]
    assert rows
    today = timezone.now().date().isoformat()
    assert response["Content-Disposition"] == f'attachment; filename="{model._meta.db_table}_{today}.csv"'
    assert response["Content-Type"] == "text/csv; charset=utf-8"
    assert "no-store" in response["Cache-Control"]


@lists
def test_the_button_downloads_what_the_list_is_narrowed_to(office: Office, model: type[Model]) -> None:
    owner = make_workplace(1)
    make_workplace(2)
    page = office.list(model, q="works-1")
    url = next(action["path"] for action in page.context["actions_list"] if action["title"] == "Download CSV")

    assert url == f"{office.url(model, 'export')}?q=works-1"
    assert url in page.text
    rows = rows_of(office.client.get(url))
    assert {row["workspace_id"] for row in rows} == {str(owner.workspace.pk)}
    assert {row["workspace"] for row in rows} == {"works-1"}
    assert {row["id"] for row in rows} == {str(row.pk) for row in page.context["cl"].result_list}


def test_filters_hold_in_the_file_on_every_page_of_it(office: Office, cast: Cast, monkeypatch: Any) -> None:
    monkeypatch.setattr(exporting, "PAGE", 3)
    for number in range(7):
        fund(cast.alice.workspace, f"{number + 1}")
        fund(cast.charlie.workspace, "9")
    ledger.adjust(workspace=cast.alice.workspace, amount=Decimal(-1), reference="a", description="Why", actor=None)

    rows = rows_of(
        download(office, BillingEvent, event_type__exact="credit", workspace__id__exact=cast.alice.workspace.pk)
    )

    assert [row["amount_usd"] for row in rows] == ["7.00", "6.00", "5.00", "4.00", "3.00", "2.00", "1.00"]
    assert [row["seq"] for row in rows] == ["7", "6", "5", "4", "3", "2", "1"]
    assert rows_of(download(office, BillingEvent, event_type__exact="fee")) == []


def test_numbers_are_exact_and_times_are_utc(office: Office, cast: Cast, root: User) -> None:
    fund(cast.alice.workspace, "5")
    ledger.adjust(
        workspace=cast.alice.workspace,
        amount=Decimal("-0.000000000001"),
        reference="adjust-1",
        description="A rest",
        actor=root,
    )
    event = BillingEvent.objects.get(workspace=cast.alice.workspace, reference="adjust-1")
    (row,) = rows_of(download(office, BillingEvent, q="adjust-1"))

    assert (row["amount_usd"], row["balance_after"], row["seq"]) == ("-0.000000000001", "4.999999999999", "2")
    assert (row["event_type"], row["actor"], row["user"], row["hold_id"]) == ("adjustment", "root@example.org", "", "")
    assert row["created_at"].endswith("+00:00")
    assert datetime.fromisoformat(row["created_at"]) == event.created_at
    (wallet,) = rows_of(download(office, Wallet, q="acme"))
    assert (wallet["balance"], wallet["held"], wallet["seq"]) == ("4.999999999999", "0.00", "2")


def test_usage_says_which_model_and_what_was_charged(office: Office) -> None:
    owner = make_workplace(1)
    log = UsageLog.objects.get(workspace=owner.workspace)
    (row,) = rows_of(download(office, UsageLog))

    assert (row["provider"], row["model"], row["user"]) == ("demo", "demo-1", "owner-1@example.org")
    assert (row["input_tokens"], row["output_tokens"], row["charged_usd"]) == ("1000", "500", "0.002")
    assert (row["billing_event_id"], row["is_estimate"]) == (str(log.billing_event_id), "false")


@pytest.mark.parametrize(
    ("written", "cell"),
    [
        ("=HYPERLINK(1)", "'=HYPERLINK(1)"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@SUM(1)", "'@SUM(1)"),
        ("\t=1", "'\t'=1"),
        ("\r=1", "'\r'=1"),
        ("\n=1", "'\n'=1"),
        ("'=1", "''=1"),
        ("＝1", "'＝1"),
        ("a;=1+1;-2", "a;'=1+1;'-2"),
        ('a"b,c', 'a"b,c'),
    ],
)
def test_what_people_wrote_is_no_formula(office: Office, cast: Cast, written: str, cell: str) -> None:
    ledger.credit(
        workspace=cast.alice.workspace,
        amount=Decimal(1),
        reference=f"r{written}",
        description=written,
        payment_transaction_id=written,
        invoice_id=written,
    )
    Workspace.objects.filter(pk=cast.alice.workspace.pk).update(slug=written)
    User.objects.filter(pk=cast.alice.user.pk).update(email=written)
    (row,) = rows_of(download(office, BillingEvent))

    names = ("description", "payment_transaction_id", "invoice_id", "workspace")
    assert [row[name] for name in names] == [cell] * 4
    assert original(row["description"]) == written


def test_no_file_has_a_secret_or_what_was_said(office: Office) -> None:
    owner = make_workplace(1)

    for model in DOWNLOADED:
        text = text_of(download(office, model))
        for hidden in (SECRET, CONTENT, "a question nobody may read", owner.token):
            assert hidden not in text


@lists
def test_it_is_for_those_who_may_see_the_list_and_download(model: type[Model]) -> None:
    make_workplace(1)
    see = f"{model._meta.app_label}.view_{model._meta.model_name}"

    clerk = office_of(see)
    assert clerk.list(model).status_code == 200
    assert "Download CSV" not in clerk.list(model).text
    assert download(clerk, model).status_code == 403
    User.objects.filter(email="clerk@example.org").update(email="other@example.org")
    assert download(office_of("billing.download_lists"), model).status_code == 403
    User.objects.filter(email="clerk@example.org").update(email="third@example.org")
    finance = office_of(see, "billing.download_lists")
    assert "Download CSV" in finance.list(model).text
    assert rows_of(download(finance, model))


def test_each_download_stands_in_the_audit_log(office: Office, cast: Cast, root: User) -> None:
    fund(cast.alice.workspace, "1")
    text_of(download(office, BillingEvent, event_type__exact="credit"))

    entry = LogEntry.objects.get_for_object(root).latest("pk")
    assert (entry.actor, entry.action) == (root, LogEntry.Action.ACCESS)
    assert entry.additional_data == {
        "what": "Downloaded as CSV.",
        "list": "billing.BillingEvent",
        "filters": "event_type__exact=credit",
    }
    history = office.client.get(office.url(User, "history", root.pk)).text
    assert "Downloaded as CSV." in history
    assert "event_type__exact=credit" in history


def test_a_download_that_is_refused_is_none(cast: Cast) -> None:
    assert download(office_of("billing.view_billingevent"), BillingEvent).status_code == 403
    assert not LogEntry.objects.filter(action=LogEntry.Action.ACCESS).exists()


def test_nobody_who_is_not_signed_in_gets_it(client: Client) -> None:
    response = client.get("/admin/billing/billingevent/export/")
    assert (response.status_code, response["Location"].partition("?")[0]) == (302, "/admin/login/")


def test_only_get_downloads_and_only_lists_that_say_so(office: Office) -> None:
    assert office.client.post(office.url(BillingEvent, "export")).status_code == 405
    assert "Download CSV" not in office.list(User).text


def test_a_filter_that_makes_no_sense_leads_to_the_list(office: Office, cast: Cast) -> None:
    response = download(office, Hold, created_at__gte="yesterday-ish")
    assert (response.status_code, response["Location"]) == (302, "../?created_at__gte=yesterday-ish")


@pytest.mark.parametrize(("name", "odd"), [("created_at__year", "100000"), ("status__exact", "\0")])
def test_so_does_one_that_only_the_database_finds_wrong(office: Office, cast: Cast, name: str, odd: str) -> None:
    """It is asked before the answer begins: a body that breaks off looks like a file, and no file is noted as downloaded."""
    make_workplace(1)
    with transaction.atomic():
        response = download(office, UsageLog, **{name: odd})
        transaction.set_rollback(True)  # PostgreSQL refuses the NUL, SQLite finds no row with it
    if response.status_code == 200:
        assert (connection.vendor, odd, rows_of(response)) == ("sqlite", "\0", [])
        return
    assert (response.status_code, response["Location"]) == (302, f"../?{urlencode({name: odd})}")
    assert not LogEntry.objects.filter(action=LogEntry.Action.ACCESS).exists()


def test_nothing_is_counted_and_each_page_is_one_statement(office: Office, cast: Cast, monkeypatch: Any) -> None:
    """One more goes before them: whether there is any row, since a filter may make no sense to the database alone."""
    monkeypatch.setattr(exporting, "PAGE", 10)
    for _ in range(25):
        fund(cast.alice.workspace, "1")

    with CaptureQueriesContext(connection) as queries:
        response = download(office, BillingEvent)
        before = len(queries)
        assert len(rows_of(response)) == 25
    assert len(queries) - before == 3
    assert sum("billing_events" in query["sql"] for query in queries[:before]) == 1
    assert not any("COUNT(" in query["sql"] for query in queries)


def test_memory_stays_flat(office: Office, cast: Cast, monkeypatch: Any) -> None:
    """A hundred pages take no more than a few do."""
    monkeypatch.setattr(exporting, "PAGE", 20)
    fund(cast.alice.workspace, "1")
    wallet = Wallet.objects.get(workspace=cast.alice.workspace)
    Hold.objects.bulk_create(
        Hold(workspace=cast.alice.workspace, wallet=wallet, user=cast.alice.user, amount=0, lease_until=timezone.now())
        for _ in range(2_000)
    )
    response = download(office, Hold)
    chunks = iter(response.streaming_content)
    next(chunks), next(chunks)
    tracemalloc.start()
    try:
        count = sum(1 for _ in chunks)
        _now, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert count == 99
    assert peak < 300_000, peak
