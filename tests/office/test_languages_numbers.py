"""Numbers and money are those of the reader's language, shown and typed; programs get them as ever."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

import pytest
from django.conf import settings
from django.test import Client
from django.urls import reverse

from billing.models import BillingEvent, Wallet
from conversations.models import UsageLog
from synapscale.common.models import new_id
from tests.admin.rows import Office, again, errors
from tests.people import Person, fund, join, make_workspace
from workspaces.models import AccessToken, User

pytestmark = pytest.mark.django_db


@pytest.fixture
def owner() -> Person:
    person = join(make_workspace("works"), "owner", "owner")
    fund(person.workspace, "1234.5")
    return person


def office_in(language: str) -> Office:
    client = Client()
    client.force_login(User.objects.create_superuser(f"{language}@example.org"))
    client.cookies[settings.LANGUAGE_COOKIE_NAME] = language
    return Office(client)


def test_lists_and_pages_show_money_as_the_reader_writes_it(owner: Person) -> None:
    event = BillingEvent.objects.get(workspace_id=owner.workspace.pk)
    english, portuguese = office_in("en"), office_in("pt-br")

    assert "$1,234.50" in english.list(Wallet).text
    assert "$1,234.50" in english.open(event).text
    for page in (portuguese.list(Wallet), portuguese.open(event)):
        assert "US$\u00a01.234,50" in page.text
        assert "1,234.50" not in page.text


@pytest.mark.parametrize(
    ("language", "text", "stored"),
    [
        ("en", "12.5", "12.5"),
        ("en", "1,500.25", "1500.25"),
        ("en", "1.500", "1.5"),
        ("pt-br", "12,5", "12.5"),
        ("pt-br", "1.500,25", "1500.25"),
        ("pt-br", "1.500", "1500"),
        ("pt-br", "0.125", "0.125"),
    ],
)
def test_money_is_typed_as_the_reader_writes_it(
    owner: Person, settings: Any, language: str, text: str, stored: str
) -> None:
    settings.OFFICE_REAUTH_USD = Decimal(10_000)  # no password here
    wallet = Wallet.objects.get(workspace_id=owner.workspace.pk)
    office = office_in(language)

    response = office.save(wallet, mode="postpaid", credit_limit=text)

    assert response.status_code == 302
    assert again(wallet).credit_limit == Decimal(stored)
    box = re.search(r'<input[^>]* name="credit_limit"[^>]*>', office.open(wallet).text)
    assert box is not None
    start = re.search(r'value="([^"]*)"', box[0])
    assert start is not None
    assert ("," in start[1], "." in start[1]) == (language == "pt-br", language == "en")
    assert office.save(wallet, mode="postpaid", credit_limit=start[1]).status_code == 302
    assert again(wallet).credit_limit == Decimal(stored)


@pytest.mark.parametrize(("language", "text"), [("en", "12,50"), ("pt-br", "1,234.50"), ("pt-br", "1.23.456")])
def test_what_is_unclear_is_refused(owner: Person, language: str, text: str) -> None:
    wallet = Wallet.objects.get(workspace_id=owner.workspace.pk)

    response = office_in(language).save(wallet, mode="postpaid", credit_limit=text)

    assert list(errors(response)) == ["credit_limit"]
    assert f'value="{text}"' in response.text  # as it was typed
    assert again(wallet).credit_limit == 0


def test_programs_get_numbers_as_ever(owner: Person) -> None:
    _token, raw = AccessToken.issue(user=owner.user, workspace=owner.workspace, name="program")
    client = Client(headers={"Authorization": f"Bearer {raw}", "Accept-Language": "pt-BR"})
    client.cookies[settings.LANGUAGE_COOKIE_NAME] = "pt-br"
    office_in("pt-br").list(UsageLog)  # what the thread did before changes nothing

    assert client.get("/api/v1/wallet").json()["balance"] == "1234.50"


def confirm(office: Office, wallet: Wallet, **given: str) -> Any:
    data = {"reference": f"office:{new_id()}", "reason": "Bank transfer", "payment": "", **given}
    return office.client.post(reverse("admin:billing_wallet_top_up", args=[wallet.pk]), data)


def test_the_effect_shows_what_was_read_before_money_moves(owner: Person) -> None:
    wallet = Wallet.objects.get(workspace_id=owner.workspace.pk)
    portuguese = office_in("pt-br")

    effect = confirm(portuguese, wallet, amount="1.500")

    assert "+US$\u00a01.500,00" in effect.text
    assert "US$\u00a01.234,50 → US$\u00a02.734,50" in effect.text
    assert again(wallet).balance == Decimal("1234.5")
    assert '<input type="hidden" name="language" value="pt-br">' in effect.text


def test_an_amount_is_not_confirmed_in_another_language(owner: Person) -> None:
    wallet = Wallet.objects.get(workspace_id=owner.workspace.pk)
    english = office_in("en")

    again_shown = confirm(english, wallet, amount="1.500", confirmed="1", language="pt-br")

    assert again_shown.status_code == 200
    assert "+$1.50" in again_shown.text
    assert again(wallet).balance == Decimal("1234.5")
    assert confirm(english, wallet, amount="1.500", confirmed="1", language="en").status_code == 302
    assert again(wallet).balance == Decimal("1236")


def test_the_history_tells_it_in_each_readers_language(owner: Person) -> None:
    wallet = Wallet.objects.get(workspace_id=owner.workspace.pk)
    portuguese = office_in("pt-br")

    done = confirm(portuguese, wallet, amount="12,50", confirmed="1", language="pt-br")

    assert done.status_code == 302
    assert "Recarga de US$\u00a012,50." in portuguese.client.get(done["Location"]).text
    history = reverse("admin:billing_wallet_history", args=[wallet.pk])
    assert "Recarga." in portuguese.client.get(history).text
    assert "Topped up." in office_in("en").client.get(history).text


def test_numbers_in_files_are_the_same_in_every_language(owner: Person) -> None:
    english, portuguese = office_in("en"), office_in("pt-br")
    urls = [
        reverse("admin:billing_billingevent_export"),
        f"{reverse('office_usage_report')}?by=model&format=csv",
        f"{reverse('office_statement', args=[owner.workspace.pk])}?format=csv",
    ]
    for url in urls:
        first, second = (content(office.client.get(url)) for office in (english, portuguese))
        assert "1.234,5" not in second, url
        assert re.findall(r"[-+]?[0-9][0-9.,]*", first) == re.findall(r"[-+]?[0-9][0-9.,]*", second), url


def content(response: Any) -> str:
    assert response.status_code == 200
    return (b"".join(response) if response.streaming else response.content).decode()
