"""Much money asks for the password in slices, too: what the same person has moved or lent within the hour is added up."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from auditlog.models import LogEntry
from django.conf import settings
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from hypothesis import HealthCheck, example, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from billing import ledger, recent_moves
from billing.models import BillingEvent, Wallet
from synapscale.common import audit
from synapscale.common.models import new_id
from synapscale.common.money import usd_text
from tests.admin.rows import Office, again, errors
from tests.audited import entries
from tests.books import assert_clean
from tests.people import Cast, Person
from tests.together import at_once
from tests.unguarded import unguarded
from workspaces.models import User

pytestmark = pytest.mark.django_db
PASSWORD = "correct horse battery"
TINY = "0.000000000001"


@pytest.fixture
def root(db: None) -> User:
    return User.objects.create_superuser("root@example.org", PASSWORD)


def wallet_of(person: Person) -> Wallet:
    return Wallet.objects.get(workspace=person.workspace)


def shown(client: Client, row: Any, page: str, amount: str) -> str:
    """The page of the effect."""
    path = f"/admin/billing/{type(row)._meta.model_name}/{row.pk}/{page}/"
    form = {"reference": f"office:{new_id()}", "reason": "Because", "amount": amount}
    return str(client.post(path, form).text)


def send(client: Client, row: Any, page: str, amount: str, **more: str) -> Any:
    """A form whose effect was shown, and which is sent for it to be done."""
    path = f"/admin/billing/{type(row)._meta.model_name}/{row.pk}/{page}/"
    form = {"reference": f"office:{new_id()}", "confirmed": "1", "reason": "Because", "amount": amount}
    return client.post(path, {**form, **more})


def reason(response: Any) -> str:
    """Why the password is asked for."""
    return str(response.context["proof"].fields["password"].help_text)


def moved(response: Any) -> bool:
    """Whether it was done; if not, the password was asked for."""
    if response.status_code == 200:
        assert reason(response)
        return False
    assert response.status_code == 302
    return True


def lend(office: Office, wallet: Wallet, limit: str, **more: str) -> Any:
    return office.save(wallet, mode="postpaid", credit_limit=limit, **more)


def charged(person: Person, amount: str) -> BillingEvent:
    ledger.credit(workspace=person.workspace, amount=Decimal(amount), reference=f"test:{new_id()}")
    ledger.adjust(
        workspace=person.workspace,
        amount=-Decimal(amount),
        reference=f"test:{new_id()}",
        description="Wrong",
        actor=None,
    )
    return BillingEvent.objects.get(workspace=person.workspace, amount_usd=-Decimal(amount))


def test_up_to_the_limit_nothing_is_asked_and_beyond_it_why(office: Office, cast: Cast) -> None:
    wallet = wallet_of(cast.alice)
    assert moved(send(office.client, wallet, "top-up", "59.999999999999"))
    assert moved(send(office.client, wallet, "top-up", "40.000000000001"))
    refused = send(office.client, wallet, "top-up", TINY)

    assert reason(refused) in refused.text
    assert reason(refused) == (
        "With what you moved or lent in the last hour ($100.00) this is $100.000000000001: "
        "so much money asks for your password."
    )
    assert again(wallet).balance == 100
    office.client.cookies[settings.LANGUAGE_COOKIE_NAME] = "pt-br"
    in_portuguese = reason(send(office.client, wallet, "top-up", "0,5", language="pt-br"))
    assert (
        "Com o que você movimentou ou emprestou na última hora (US$ 100,00), são US$ 100,50"
        in in_portuguese.replace("\xa0", " ")
    )


def test_the_page_of_the_effect_asks_before_anything_is_sent(office: Office, cast: Cast) -> None:
    wallet = wallet_of(cast.alice)
    assert "Your password" not in shown(office.client, wallet, "top-up", "100")
    assert moved(send(office.client, wallet, "top-up", "100"))
    page = shown(office.client, wallet, "top-up", "1")
    assert "With what you moved or lent in the last hour ($100.00) this is $101.00" in page
    assert "Your password" in page


def test_all_wallets_and_all_ways_are_added_up(office: Office, cast: Cast) -> None:
    alices, charlies = wallet_of(cast.alice), wallet_of(cast.charlie)
    charge = charged(cast.alice, "30")

    assert moved(send(office.client, alices, "top-up", "10.5"))
    assert moved(send(office.client, charlies, "adjust", "19.5"))
    assert moved(send(office.client, charge, "refund", "30"))
    assert lend(office, charlies, "40").status_code == 302

    for refused in (
        send(office.client, alices, "top-up", TINY),
        send(office.client, charlies, "adjust", TINY),
        send(office.client, charged(cast.charlie, "1"), "refund", TINY),
    ):
        assert not moved(refused)
        assert "($100.00)" in reason(refused)
    assert errors(lend(office, alices, TINY)) == {
        "password": [
            "With what you moved or lent in the last hour ($100.00) this is $100.000000000001: "
            "so much money asks for your password."
        ]
    }
    assert_clean()


def test_what_is_taken_away_counts_by_itself(office: Office, cast: Cast) -> None:
    wallet = wallet_of(cast.alice)
    assert moved(send(office.client, wallet, "top-up", "100"))
    assert moved(send(office.client, wallet, "adjust", "-100"))
    assert not moved(send(office.client, wallet, "top-up", TINY))

    ledger.credit(workspace=cast.alice.workspace, amount=Decimal(300), reference="a")
    assert moved(send(office.client, wallet, "adjust", "-100"))
    refused = send(office.client, wallet, "adjust", "-100.000000000001")
    assert reason(refused) == "So much money asks for your password."


def test_a_limit_that_falls_asks_for_nothing_and_gives_nothing_back(office: Office, cast: Cast) -> None:
    wallet = wallet_of(cast.alice)
    assert lend(office, wallet, "100").status_code == 302
    assert office.save(wallet, mode="prepaid", credit_limit="0").status_code == 302
    assert "password" in errors(lend(office, wallet, TINY))
    assert office.save(wallet, markup_bps="7").status_code == 302
    assert [entry.additional_data for entry in entries(wallet) if entry.additional_data] == [
        {"what": "Allowed to owe more.", "lent": "100.00"}
    ]


def test_to_suspend_moves_nothing(office: Office, cast: Cast) -> None:
    wallet = wallet_of(cast.alice)
    assert moved(send(office.client, wallet, "top-up", "100"))
    assert send(office.client, wallet, "suspend", "").status_code == 302


def test_each_person_has_a_sum_of_their_own(office: Office, cast: Cast) -> None:
    assert moved(send(office.client, wallet_of(cast.alice), "top-up", "100"))
    dora = Client()
    dora.force_login(User.objects.create_superuser("dora@example.org"))
    assert moved(send(dora, wallet_of(cast.alice), "top-up", "100"))
    assert not moved(send(dora, wallet_of(cast.alice), "top-up", TINY))


def test_after_an_hour_it_counts_no_more(office: Office, cast: Cast) -> None:
    wallet = wallet_of(cast.alice)
    assert moved(send(office.client, wallet, "top-up", "60"))
    with unguarded():
        LogEntry.objects.update(timestamp=timezone.now() - timedelta(minutes=59))
        assert not moved(send(office.client, wallet, "top-up", "60"))
        LogEntry.objects.update(timestamp=timezone.now() - timedelta(minutes=60))
        assert moved(send(office.client, wallet, "top-up", "60"))
        assert not moved(send(office.client, wallet, "top-up", "60"))


def test_with_the_right_password_it_is_counted_anew(office: Office, cast: Cast) -> None:
    wallet = wallet_of(cast.alice)
    assert moved(send(office.client, wallet, "top-up", "60"))
    assert not moved(send(office.client, wallet, "top-up", "60", password="wrong"))
    assert not moved(send(office.client, wallet, "top-up", "60"))

    assert moved(send(office.client, wallet, "top-up", "60", password=PASSWORD))

    assert moved(send(office.client, wallet, "top-up", "100"))
    assert not moved(send(office.client, wallet, "top-up", TINY))
    assert errors(lend(office, wallet, "20", password="wrong")) == {"password": ["This is not your password."]}
    assert lend(office, wallet, "20", password=PASSWORD).status_code == 302
    assert lend(office, wallet, "120").status_code == 302
    assert "password" in errors(lend(office, wallet, "120.000000000001"))
    noted = [entry.additional_data for entry in entries(wallet) if entry.additional_data]
    assert [facts.get("password_given", False) for facts in noted] == [False, True, False, True, False]
    history = office.client.get(f"/admin/billing/wallet/{wallet.pk}/history/").text
    assert history.count("With the password") == 2


def test_a_password_that_was_not_asked_for_answers_for_nothing(office: Office, cast: Cast) -> None:
    wallet = wallet_of(cast.alice)
    assert moved(send(office.client, wallet, "top-up", "100", password="whatever"))
    assert lend(office, wallet, "0", password=PASSWORD).status_code == 302
    assert not moved(send(office.client, wallet, "top-up", TINY))


def test_what_was_refused_counts_for_nothing(office: Office, cast: Cast) -> None:
    charge = charged(cast.alice, "30")
    assert moved(send(office.client, charge, "refund", "30"))
    assert "can be refunded" in send(office.client, charge, "refund", "60").text
    assert "can be refunded" in send(office.client, charge, "refund", "71", password=PASSWORD).text
    assert moved(send(office.client, wallet_of(cast.alice), "top-up", "70"))
    assert not moved(send(office.client, wallet_of(cast.alice), "top-up", TINY))


def test_a_form_that_is_sent_again_is_not_counted_twice(office: Office, cast: Cast) -> None:
    alices, reference = wallet_of(cast.alice), f"office:{new_id()}"
    for _ in range(2):
        assert moved(send(office.client, alices, "top-up", "60", reference=reference))
    assert again(alices).balance == 60

    # A reference is a workspace's: on another wallet it is another movement.
    assert not moved(send(office.client, wallet_of(cast.charlie), "top-up", "60", reference=reference))
    assert moved(send(office.client, wallet_of(cast.charlie), "top-up", "40", reference=reference))


@pytest.mark.django_db(transaction=True)
def test_clicks_at_the_same_moment_see_one_another(root: User, cast: Cast) -> None:
    """On one wallet and another, by its money and by its limit."""
    offices = [Office(Client()) for _ in range(6)]
    for office in offices:
        office.client.force_login(root)
    wallets = [wallet_of(cast.alice), wallet_of(cast.charlie)]

    def click(number: int) -> bool:
        wallet, office = wallets[number % 2], offices[number]
        response = lend(office, wallet, "60") if number < 2 else send(office.client, wallet, "top-up", "60")
        assert response.status_code in {200, 302}
        return bool(response.status_code == 302)

    assert sorted(at_once(6, click)) == [False] * 5 + [True]
    given = sum(again(wallet).balance + again(wallet).credit_limit for wallet in wallets)
    assert given == 60
    assert_clean()


def test_it_is_read_by_one_statement(root: User, cast: Cast) -> None:
    wallet = wallet_of(cast.alice)
    for number in range(20):
        audit.record(wallet, what="Topped up.", changes={"balance": (number, number + 1)}, actor=root)
    with CaptureQueriesContext(connection) as captured:
        assert recent_moves.since_password(root, but=(wallet.pk, "")) == 20
    assert len(captured) == 1


AMOUNTS = st.decimals("-4000000", "4000000", places=12)


@given(st.lists(st.tuples(AMOUNTS, st.booleans(), st.booleans()), max_size=12))
@example([(Decimal("0.1"), False, False)] * 10)
@examples(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_sum_is_exact(cast: Cast, moves: list[tuple[Decimal, bool, bool]]) -> None:
    """Each one: how much, whether by the limit of the wallet, whether with the password."""
    somebody, wallet = User.objects.create_user(f"{new_id()}@example.org"), wallet_of(cast.alice)
    expected, balance = Decimal(0), Decimal("7.000000000007")
    for amount, is_lent, with_password in moves:
        facts: dict[str, Any] = {recent_moves.PASSWORD: True} if with_password else {}
        added = max(amount, Decimal(0))
        if is_lent:
            audit.record(wallet, what="Allowed to owe more.", actor=somebody, lent=usd_text(added), **facts)
        else:
            change = (usd_text(balance), usd_text(balance + amount))
            audit.record(wallet, what="Adjusted.", changes={"balance": change}, actor=somebody, **facts)
            balance += amount
        expected = Decimal(0) if with_password else expected + added

    assert recent_moves.since_password(somebody, but=(wallet.pk, "none")) == expected


def test_what_was_typed_is_left_out_of_reports_of_errors(office: Office, cast: Cast) -> None:
    request = send(office.client, wallet_of(cast.alice), "top-up", "1").wsgi_request
    assert request.sensitive_post_parameters == ("password",)
