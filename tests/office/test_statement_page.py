"""The pages of statements, as operators meet them."""

from __future__ import annotations

import html
import re
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from llm.models import LLM
from office.statements import Month
from tests.audited import entries
from tests.office.ledgers import adjust, at, call, charge, clock_at, credit
from tests.people import Cast
from tests.unguarded import run, unguarded
from workspaces.models import User, Workspace

pytestmark = pytest.mark.django_db


def client_of(*permissions: str) -> Client:
    user = User.objects.create_user("clerk@example.org", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def clerk(db: None) -> Client:
    """Sees the ledger, and nothing else."""
    return client_of("view_billingevent")


@pytest.fixture
def acme(cast: Cast, llm: LLM) -> Workspace:
    acme = cast.alice.workspace
    credit(acme, at(9), "10")
    credit(acme, at(10, 1), "1234.5", "Bank <b>transfer</b>")
    call(cast.alice, llm, at(10, 2), "0.000001000001")
    call(cast.bob, llm, at(10, 3), key_source="user", cost="0.5")
    adjust(acme, at(10, 4), "-2")
    return acme


def get(client: Client, workspace: Workspace, month: str = "2026-10", **more: str) -> Any:
    return client.get(f"/admin/statements/{workspace.pk}/", {"month": month, **more})


def text_of(page: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())


def test_it_shows_the_month_from_balance_to_balance(clerk: Client, acme: Workspace) -> None:
    with CaptureQueriesContext(connection) as queries:
        page = get(clerk, acme)
    assert page.status_code == 200
    assert len(queries) == 13, [query["sql"][:120] for query in queries]
    text = text_of(page.text)

    assert "Acme , October 2026" in text
    assert (
        "Opening balance $10.00 Credits $1,234.50 Subscriptions $0.00 Usage -$0.000001000001 Platform fees $0.00 "
        "Refunds $0.00 Adjustments -$2.00 Closing balance $1,242.499998999999" in text
    )
    assert (
        "Agrees with the ledger: its 3 movements of the month, numbers 2 to 4, lead from the opening to the closing balance "
        "to the last digit." in text
    )
    assert "Provisional" not in text
    assert "Usage by model Model Calls Tokens Amount openai/openai-test 1 30 -$0.000001000001 Total" in text.replace(
        "The same usage, told apart by who asked. ", ""
    )
    assert "Member Calls Tokens Amount Alice (alice@example.org) 1 30 -$0.000001000001 Total" in text
    assert "no part of the balance. Model Calls Tokens Amount openai/openai-test 1 30 $0.50 Total 1 30 $0.50" in text
    assert "Bank &lt;b&gt;transfer&lt;/b&gt;" in page.text
    event = acme.billing_events.get(seq=2)
    assert f'href="/admin/billing/billingevent/{event.pk}/change/"' in page.text
    ledger = html.unescape(next(url for url in re.findall(r'href="([^"]+)">Ledger<', page.text)))
    assert clerk.get(ledger).context["cl"].result_count == 3
    assert "Workspace</a>" not in page.text  # this clerk may not see it


def test_one_goes_from_month_to_month(clerk: Client, acme: Workspace) -> None:
    page = get(clerk, acme)
    this = Month.of(timezone.now())

    assert (page.context["previous"], page.context["next"]) == (Month(2026, 9), Month(2026, 11))
    assert page.context["months"][0] == this
    assert page.context["months"][-1] == Month(2026, 9)
    first = get(clerk, acme, "2026-09")
    assert first.context["previous"] is None
    last = get(clerk, acme, str(this))
    assert last.context["next"] is None
    assert "Provisional: the month may still change until an hour after its end." in text_of(last.text)


def test_without_a_month_it_is_the_last_that_is_over(clerk: Client, acme: Workspace) -> None:
    page = clerk.get(f"/admin/statements/{acme.pk}/")
    assert page.context["month"] == Month.of(timezone.now()).previous


def test_an_empty_month_says_so(clerk: Client, acme: Workspace) -> None:
    text = text_of(get(clerk, acme, "2026-08").text)
    assert "Nothing was charged, credited or called in this month." in text
    assert "Agrees with the ledger: nothing moved the balance in this month." in text
    assert "Opening balance $0.00" in text
    assert "Closing balance $0.00" in text


@pytest.mark.parametrize(
    ("month", "said"),
    [
        ("2026-13", "“2026-13” is no month: write it like 2026-10."),
        ("<b>", "“<b>” is no month: write it like 2026-10."),
        ("9998-01", "9998-01 has not begun yet."),
        ("", "This field is required."),
    ],
)
def test_what_is_no_month_is_told_at_the_field(clerk: Client, acme: Workspace, month: str, said: str) -> None:
    page = get(clerk, acme, month)
    assert page.status_code == 400
    assert html.escape(said) in page.text
    assert 'aria-describedby="id_month_error"' in page.text
    assert get(clerk, acme, month, format="pdf").status_code == 400


def test_the_month_after_this_one_has_not_begun(clerk: Client, acme: Workspace) -> None:
    following = Month.of(timezone.now()).next
    assert f"{following} has not begun yet." in get(clerk, acme, str(following)).text


def test_a_format_that_is_none(clerk: Client, acme: Workspace) -> None:
    page = get(clerk, acme, format="xls")
    assert page.status_code == 400
    assert "There is no format “xls”: there are csv and pdf." in page.text


def test_each_download_is_noted_and_a_look_is_not(clerk: Client, acme: Workspace) -> None:
    url = f"/admin/statements/{acme.pk}/"
    for format_ in ("", "csv", "pdf", "odt"):
        clerk.get(url, {"month": "2026-03", "format": format_})
    found = [(entry.actor_email, entry.additional_data) for entry in entries(acme)]
    who, what = User.objects.get(is_staff=True).email, "Downloaded a statement."
    assert found == [(who, {"what": what, "month": "2026-03", "format": format_}) for format_ in ("csv", "pdf")]


def test_a_workspace_that_is_none(clerk: Client, acme: Workspace) -> None:
    page = clerk.get("/admin/statements/01a2288a-350e-77aa-899f-db5b0b181843/")
    assert page.status_code == 404
    assert "There is no such workspace." in page.text
    assert clerk.get("/admin/statements/acme/").status_code == 404


def test_more_than_are_listed(clerk: Client, acme: Workspace) -> None:
    for _ in range(202):
        credit(acme, at(10, 10), "1")
    page = get(clerk, acme)
    text = text_of(page.text)
    assert "Only the first 200 are listed; the CSV has all." in text
    assert "3 others $3.00 Total $1,436.50" in text
    assert (
        page.text.count("/admin/billing/billingevent/") == 200 + 1 + 2
    )  # the adjustment; the ledger, here and at the side


@pytest.mark.fleet
def test_it_warns_when_the_ledger_is_broken(clerk: Client, acme: Workspace) -> None:
    with unguarded():
        run("UPDATE billing_events SET amount_usd = amount_usd - 5 WHERE seq = 3")
        page = get(clerk, acme)
    assert 'role="alert">This statement does not agree with the ledger' in page.text
    assert "are $0.000000000005 apart, and of 3 movements 3 are in it." in page.text


def test_a_workspace_is_found_by_its_name_slug_or_id(clerk: Client, acme: Workspace) -> None:
    def found(wanted: str) -> list[str]:
        return [row.slug for row in clerk.get("/admin/statements/", {"q": wanted}).context["workspaces"]]

    assert found("") == ["rival", "acme"]
    assert found("ACM") == found(" acme ") == found(str(acme.pk)) == ["acme"]
    assert found("01a2288a-350e-77aa-899f-db5b0b181843") == []
    page = clerk.get("/admin/statements/", {"q": "<nobody>", "month": "2026-09"})
    assert "No workspace has a name, slug or id that begins with “&lt;nobody&gt;”." in page.text
    page = clerk.get("/admin/statements/", {"month": "2026-09"})
    assert f"/admin/statements/{acme.pk}/?month=2026-09" in page.text
    wrong = clerk.get("/admin/statements/", {"month": "soon"})
    assert wrong.status_code == 400
    assert "“soon” is no month" in wrong.text


def test_of_many_workspaces_the_first_are_shown(clerk: Client) -> None:
    with clock_at(at(10)):
        Workspace.objects.bulk_create(Workspace(slug=f"w{n}", name=f"Many {n:02}") for n in range(25))
    page = clerk.get("/admin/statements/", {"q": "many"})
    assert [row.name for row in page.context["workspaces"]] == [f"Many {n:02}" for n in range(20)]
    assert "There are more: write more of the name." in page.text


def test_who_may_not_see_the_ledger_sees_no_statement_and_no_link(cast: Cast) -> None:
    acme = cast.alice.workspace
    client = client_of("view_wallet", "view_workspace")
    for path in ("/admin/statements/", f"/admin/statements/{acme.pk}/", f"/admin/statements/{acme.pk}/?format=pdf"):
        assert client.get(path).status_code == 403, path
        assert Client().get(path).status_code == 302, path
    assert "/admin/statements/" not in client.get("/admin/").text
    wallet = acme.wallets.get()
    for path in (f"/admin/billing/wallet/{wallet.pk}/change/", f"/admin/workspaces/workspace/{acme.pk}/change/"):
        assert "/admin/statements/" not in client.get(path).text


@pytest.mark.parametrize("role", ["Operator", "Finance", "Support", "Read-only"])
def test_roles_that_see_the_ledger_see_statements(cast: Cast, role: str) -> None:
    client = client_of()
    User.objects.get(email="clerk@example.org").groups.set([Group.objects.get(name=role)])
    assert get(client, cast.alice.workspace).status_code == 200
    assert get(client, cast.alice.workspace, format="csv").status_code == 200


def test_wallets_and_workspaces_lead_to_their_statements(cast: Cast) -> None:
    acme = cast.alice.workspace
    client = client_of("view_wallet", "view_workspace", "view_billingevent")
    wallet = acme.wallets.get()
    for path in (f"/admin/billing/wallet/{wallet.pk}/change/", f"/admin/workspaces/workspace/{acme.pk}/change/"):
        assert f'href="/admin/statements/{acme.pk}/"' in client.get(path).text
    assert f'href="/admin/workspaces/workspace/{acme.pk}/change/">Workspace</a>' in get(client, acme).text
    assert 'href="/admin/statements/"' in client.get("/admin/").text


def test_names_of_people_and_things_stay_text(clerk: Client, cast: Cast, llm: LLM) -> None:
    acme = cast.alice.workspace
    Workspace.objects.filter(pk=acme.pk).update(name="<script>alert(1)</script>")
    User.objects.filter(pk=cast.alice.user.pk).update(name="<i>\u202eAlice")
    credit(acme, at(9), "1")
    call(cast.alice, llm, at(10), "0.5")
    charge(acme, at(10), "0.1", kind="subscription", said="<img src=x>")
    page = get(clerk, acme).text
    for tag in ("<script>alert", "<i>", "<img src=x>"):
        assert tag not in page
        assert html.escape(tag) in page
