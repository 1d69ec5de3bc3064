"""Spending limits of access tokens: exact, per period, reserved before a call and counted after it."""

from __future__ import annotations

import threading
from collections import Counter
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection, transaction

from billing import spending
from billing.holds import WalletMoved
from billing.models import Hold, TokenSpend, Wallet
from conversations import chat, sweeper
from conversations.admission import Admitted
from conversations.asks import Ask
from conversations.models import Conversation
from llm.models import LLM
from synapscale.common.errors import InsufficientBalance
from tests.api.asking import Api, error_of, messages_of
from tests.books import assert_clean
from tests.conversations.calling import (
    HELD,
    answered,
    ask,
    checkpoint,
    failed,
    hold_of,
    lapse,
    make_conversation,
    sent,
    settle,
    wallet,
)
from tests.people import Cast, Person, fund
from tests.providers.standins import StandIn
from workspaces.models import AccessToken, UserVariable, Workspace

pytestmark = pytest.mark.django_db

MONDAY = datetime(2026, 11, 23, 15, 0, tzinfo=UTC)
DAY = timedelta(days=1)


def limited(person: Person, limit: str | None = "1", period: str = "") -> AccessToken:
    token = AccessToken.objects.get(workspace=person.workspace, user=person.user)
    token.spend_limit_usd, token.spend_period = None if limit is None else Decimal(limit), period
    token.save()
    return token


def spent_by(token: AccessToken, *, at: datetime) -> Decimal:
    found = spending.allowance(token, at=at)
    assert found is not None
    return found.spent


def row_of(token: AccessToken) -> TokenSpend:
    return TokenSpend.objects.get(workspace=token.workspace, access_token=token)


def standing(token: AccessToken) -> tuple[Decimal, Decimal]:
    row = row_of(token)
    return row.spent, row.held


def hold_for(token: AccessToken, amount: str, at: datetime = MONDAY) -> Hold:
    """A hold that counts against the token's limit. (The wallet is no matter here.)"""
    purse, _ = Wallet.objects.get_or_create(workspace=token.workspace)
    with transaction.atomic():
        spending.reserve(token, amount=Decimal(amount), at=at)
        return Hold.objects.create(
            workspace=token.workspace,
            wallet=purse,
            user=token.user,
            access_token=token,
            amount=Decimal(amount),
            lease_until=at,
        )


def pay(hold: Hold, charged: str, at: datetime = MONDAY) -> None:
    with transaction.atomic():
        spending.settle(hold, charged=Decimal(charged), at=at)


# --- Periods ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("period", "moment", "start"),
    [
        ("day", datetime(2026, 3, 1, 0, 0, tzinfo=UTC), date(2026, 3, 1)),
        ("day", datetime(2026, 2, 28, 23, 59, 59, 999999, tzinfo=UTC), date(2026, 2, 28)),
        ("week", datetime(2026, 11, 23, 0, 0, tzinfo=UTC), date(2026, 11, 23)),
        ("week", datetime(2026, 11, 29, 23, 59, tzinfo=UTC), date(2026, 11, 23)),
        ("week", datetime(2027, 1, 1, tzinfo=UTC), date(2026, 12, 28)),
        ("month", datetime(2028, 2, 29, 12, tzinfo=UTC), date(2028, 2, 1)),
        ("month", datetime(2026, 12, 31, 23, 59, tzinfo=UTC), date(2026, 12, 1)),
        ("", datetime(2026, 11, 23, tzinfo=UTC), None),
        # By the clock of UTC, wherever the moment is told.
        ("day", datetime(2026, 3, 1, 1, 0, tzinfo=timezone(timedelta(hours=2))), date(2026, 2, 28)),
        ("month", datetime(2026, 2, 28, 23, 0, tzinfo=timezone(timedelta(hours=-2))), date(2026, 3, 1)),
    ],
)
def test_when_a_period_began(period: str, moment: datetime, start: date | None) -> None:
    assert spending.period_start(period, at=moment) == start


@pytest.mark.parametrize(
    ("period", "last", "next_one"),
    [
        ("day", datetime(2026, 11, 23, 23, 59, tzinfo=UTC), datetime(2026, 11, 24, tzinfo=UTC)),
        ("week", datetime(2026, 11, 29, 23, 59, tzinfo=UTC), datetime(2026, 11, 30, tzinfo=UTC)),
        ("month", datetime(2026, 11, 30, 23, 59, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC)),
    ],
)
def test_a_new_period_begins_with_the_whole_limit(
    alice: Person, period: str, last: datetime, next_one: datetime
) -> None:
    token = limited(alice, "1", period)
    pay(hold_for(token, "0.9", at=last), "0.7", at=last)
    assert (spent_by(token, at=last), spending.left(token, at=last)) == (Decimal("0.7"), Decimal("0.3"))
    assert (spent_by(token, at=next_one), spending.left(token, at=next_one)) == (Decimal(0), Decimal(1))
    pay(hold_for(token, "1", at=next_one), "0.2", at=next_one)
    assert spending.left(token, at=next_one) == Decimal("0.8")
    assert row_of(token).period_start == next_one.date()


def test_without_a_period_it_is_spent_once(alice: Person) -> None:
    token = limited(alice)
    pay(hold_for(token, "0.9"), "0.7")
    assert spending.left(token, at=MONDAY + 10_000 * DAY) == Decimal("0.3")
    assert row_of(token).period_start is None


def test_a_call_counts_in_the_period_in_which_it_ends_and_reserves_until_then(alice: Person) -> None:
    token = limited(alice, "1", "day")
    hold = hold_for(token, "0.6")
    assert spending.left(token, at=MONDAY + DAY) == Decimal("0.4")
    pay(hold, "0.5", at=MONDAY + DAY)
    assert spending.left(token, at=MONDAY + DAY) == Decimal("0.5")
    assert standing(token) == (Decimal("0.5"), Decimal(0))


def test_who_comes_late_from_yesterday_does_not_bring_it_back(alice: Person) -> None:
    """It took the time before midnight and then waited for the row: what was spent today stays spent."""
    token = limited(alice, "1", "day")
    late, early = hold_for(token, "0.3"), hold_for(token, "0.3")
    pay(early, "0.2", at=MONDAY + DAY)
    pay(late, "0.1", at=MONDAY)
    assert row_of(token).period_start == (MONDAY + DAY).date()
    assert spent_by(token, at=MONDAY + DAY) == Decimal("0.3")
    assert spent_by(token, at=MONDAY) == Decimal("0.3")
    with pytest.raises(WalletMoved):
        hold_for(token, "0.700000000001", at=MONDAY)


@pytest.mark.parametrize(
    ("before", "after", "spent"),
    [
        ("day", "month", "0.7"),  # today is in this month
        ("day", "", "0.7"),
        ("month", "day", "0"),  # what was spent this month is not of today
        ("", "day", "0"),
        ("week", "week", "0.7"),
    ],
)
def test_another_period_for_the_same_token(alice: Person, before: str, after: str, spent: str) -> None:
    token = limited(alice, "1", before)
    moment = MONDAY + DAY
    pay(hold_for(token, "0.9", at=moment), "0.7", at=moment)
    token = limited(alice, "1", after)
    assert spent_by(token, at=moment) == Decimal(spent)
    pay(hold_for(token, "0.1", at=moment), "0.1", at=moment)
    assert spent_by(token, at=moment) == Decimal(spent) + Decimal("0.1")


# --- Exact, and never beyond ------------------------------------------------------------------------------------------


def test_the_last_pico_dollar_can_be_reserved_and_no_more(alice: Person) -> None:
    token = limited(alice, "0.000000000003")
    hold_for(token, "0.000000000002")
    with pytest.raises(WalletMoved):
        hold_for(token, "0.000000000002")
    hold_for(token, "0.000000000001")
    assert spending.left(token, at=MONDAY) == Decimal(0)
    assert standing(token) == (Decimal(0), Decimal("0.000000000003"))


def test_no_limit_is_no_row(alice: Person, llm: LLM) -> None:
    fund(alice.workspace, "1")
    token = limited(alice, None)
    assert spending.left(token, at=MONDAY) is None
    assert spending.left(None, at=MONDAY) is None
    assert spending.allowance(token, at=MONDAY) is None
    message = answered(alice, make_conversation(alice), access_token=token)
    assert message.hold.access_token is None  # type: ignore[union-attr]
    assert not TokenSpend.objects.filter(workspace=alice.workspace).exists()


def test_a_limit_lowered_below_what_was_spent_leaves_nothing(alice: Person) -> None:
    pay(hold_for(limited(alice, "1"), "0.9"), "0.9")
    assert spending.left(limited(alice, "0.5"), at=MONDAY) == Decimal(0)


def test_a_limit_taken_away_under_way_is_settled_all_the_same(alice: Person) -> None:
    hold = hold_for(limited(alice, "1"), "0.9")
    token = limited(alice, None)
    pay(Hold.objects.get(workspace=alice.workspace, pk=hold.pk), "0.4")
    assert standing(token) == (Decimal("0.4"), Decimal(0))


# --- Calls ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def conversation(alice: Person, llm: LLM) -> Conversation:
    fund(alice.workspace, "1")
    return make_conversation(alice)


def refused(person: Person, conversation: Conversation, token: AccessToken, **fields: Any) -> InsufficientBalance:
    with pytest.raises(InsufficientBalance) as error:
        ask(person, conversation, access_token=token, **fields)
    return error.value


def test_a_call_reserves_its_worst_case_and_counts_what_it_cost(alice: Person, conversation: Conversation) -> None:
    token = limited(alice, "0.001")
    admitted = ask(alice, conversation, access_token=token)
    assert hold_of(admitted).access_token == token
    assert standing(token) == (Decimal(0), Decimal(HELD))
    settle(admitted, sent())
    assert standing(token) == (Decimal("0.00005"), Decimal(0))
    settle(admitted, sent())
    assert standing(token) == (Decimal("0.00005"), Decimal(0))
    assert_clean()


def test_a_failed_call_gives_it_all_back(alice: Person, conversation: Conversation) -> None:
    token = limited(alice, "0.001")
    settle(ask(alice, conversation, access_token=token), failed())
    assert standing(token) == (Decimal(0), Decimal(0))
    assert_clean()


def test_an_overrun_counts_no_more_than_was_paid(alice: Person, conversation: Conversation) -> None:
    token = limited(alice, "0.000219")
    settle(ask(alice, conversation, access_token=token), sent(usage={"input": 5000, "output": 5000}))
    assert standing(token) == (Decimal(HELD), Decimal(0))


@pytest.mark.parametrize(("text", "spent"), [("", "0"), ("Nine char", "0.000016")])
def test_a_sweep_counts_what_it_charges(alice: Person, conversation: Conversation, text: str, spent: str) -> None:
    token = limited(alice, "0.001")
    admitted = ask(alice, conversation, access_token=token)
    if text:
        checkpoint(admitted, text)
    lapse(admitted)
    sweeper.sweep()
    assert standing(token) == (Decimal(spent), Decimal(0))
    assert wallet(alice).balance == 1 - Decimal(spent)
    assert_clean()


@pytest.mark.fleet
def test_a_hold_without_a_message_is_given_back_to_the_limit_too(alice: Person, conversation: Conversation) -> None:
    """There is none in the product; but should there ever be one, nothing may stay reserved."""
    from conversations.models import Message

    token = limited(alice, "0.001")
    admitted = ask(alice, conversation, access_token=token)
    Message.objects.filter(workspace=alice.workspace, pk=admitted.answer.pk).delete()
    lapse(admitted)
    sweeper.sweep()
    assert standing(token) == (Decimal(0), Decimal(0))
    assert wallet(alice).held == 0


def test_the_answer_is_shortened_to_what_the_limit_affords(alice: Person, conversation: Conversation) -> None:
    # 19 tokens of prompt at worst, and 64 to 65 of answer: $0.000147 to $0.000149
    token = limited(alice, "0.000148999999")
    admitted = ask(alice, conversation, access_token=token)
    assert (admitted.request.max_tokens, hold_of(admitted).amount) == (64, Decimal("0.000147"))


def test_a_limit_that_affords_too_little_refuses(alice: Person, conversation: Conversation) -> None:
    token = limited(alice, "0.000146999999")
    refusal = refused(alice, conversation, token)
    assert (refusal.status, refusal.code, refusal.retry_after) == (402, "spend_limit_exceeded", None)
    assert refusal.details == {
        "needed": "0.000219",
        "available": "0.000146999999",
        "affordable_max_tokens": 63,
        "held": "0.00",
        "reason": "spend_limit",
    }
    assert not TokenSpend.objects.filter(workspace=alice.workspace).exists()
    assert wallet(alice).held == 0


def test_only_calls_under_way_in_the_way_is_worth_another_try(alice: Person, conversation: Conversation) -> None:
    token = limited(alice, "0.0003")
    admitted = ask(alice, conversation, access_token=token)
    refusal = refused(alice, conversation, token)
    assert (refusal.code, refusal.retry_after) == ("spend_limit_exceeded", 2)
    assert (refusal.details["reason"], refusal.details["held"]) == ("in_flight_holds", HELD)
    settle(admitted, sent(usage={"input": 19, "output": 80}))  # $0.000179 of $0.0003
    refusal = refused(alice, conversation, token)
    assert (refusal.retry_after, refusal.details["reason"]) == (None, "spend_limit")
    assert refusal.details["available"] == "0.000121"


def test_the_balance_counts_where_it_is_less_than_the_limit(alice: Person, llm: LLM) -> None:
    fund(alice.workspace, "0.0001")
    refusal = refused(alice, make_conversation(alice), limited(alice, "0.00012"))
    assert (refusal.code, refusal.details["available"]) == ("insufficient_balance", "0.0001")


def test_a_limit_is_one_tokens_alone(alice: Person, bob: Person, conversation: Conversation) -> None:
    token = limited(alice, "0.000219")
    answered(alice, conversation, usage={"input": 19, "output": 100}, access_token=token)
    refused(alice, conversation, token)
    other, _ = AccessToken.issue(user=alice.user, workspace=alice.workspace, name="Other")
    answered(alice, conversation, access_token=other)
    answered(alice, conversation)
    answered(bob, make_conversation(bob), access_token=limited(bob, "0.000219"))
    assert_clean()


def test_what_the_wallet_does_not_pay_does_not_count(alice: Person, conversation: Conversation) -> None:
    token = limited(alice, "0")
    row = UserVariable(user=alice.user, category="api_key", name="openai")
    row.set_value("sk-own-0123456789")
    row.save()
    assert answered(alice, conversation, access_token=token).status == "sent"
    row.delete()
    Wallet.objects.filter(workspace=alice.workspace).update(mode="untracked")
    assert answered(alice, conversation, access_token=token).status == "sent"
    assert not TokenSpend.objects.filter(workspace=alice.workspace).exists()


def test_a_platform_fee_counts(alice: Person, conversation: Conversation) -> None:
    token = limited(alice, "0.0000219")
    row = UserVariable(user=alice.user, category="api_key", name="openai")
    row.set_value("sk-own-0123456789")
    row.save()
    Wallet.objects.filter(workspace=alice.workspace).update(own_key_fee_bps=1000)
    answered(alice, conversation, access_token=token)
    assert standing(token) == (Decimal("0.000005"), Decimal(0))
    refusal = refused(alice, conversation, token, content="Hello" * 100)
    assert refusal.code == "spend_limit_exceeded"
    assert_clean()


# --- Over HTTP --------------------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_a_client_is_told(
    request: pytest.FixtureRequest, cast: Cast, llm: LLM, house_keys: StandIn, audited: None
) -> None:
    server: Any = request.getfixturevalue("server")
    api = Api(server.url)
    for person in cast:
        fund(Workspace.objects.get(pk=person.workspace.pk), "1")
    limited(cast.alice, "0.00004")
    chats = {person.user.name: make_conversation(person) for person in cast}
    for person in (cast.bob, cast.charlie):
        assert api.ask(person, chats[person.user.name], llm=str(llm)).status_code == 201
    error = error_of(api.ask(cast.alice, chats["Alice"], llm=str(llm), max_tokens=100), 402, "spend_limit_exceeded")
    assert error["details"]["needed"] == HELD
    assert error["message"] == "The spending limit of this access token does not cover this call."
    assert api.get(cast.alice, messages_of(chats["Alice"])).json()["results"] == []
    limited(cast.alice, HELD)
    answer = api.ask(cast.alice, chats["Alice"], llm=str(llm), max_tokens=100)
    assert (answer.status_code, answer.json()["cost"]) == (201, "0.00002")
    assert standing(limited(cast.alice)) == (Decimal("0.00002"), Decimal(0))


@pytest.mark.django_db(transaction=True)
def test_fifty_at_once_on_a_limit_for_ten(alice: Person, conversation: Conversation) -> None:
    # 50 tokens of answer, fewer are refused: $0.000119 each
    token = limited(alice, "0.00119")
    barrier, ends, admitted = threading.Barrier(50), Counter[str](), []
    lock = threading.Lock()

    def one() -> None:
        barrier.wait()
        try:
            call = chat.admit(
                user=alice.user,
                workspace=alice.workspace,
                membership=alice.membership,
                conversation_id=conversation.pk,
                ask=Ask(content="Hello", llm="openai/openai-test", max_tokens=50),
                access_token=token,
            )
            assert isinstance(call, Admitted)
            end = "admitted"
            admitted.append(call)
        except InsufficientBalance as refusal:
            end = f"{refusal.code} {refusal.retry_after}"
        except Exception as error:
            end = repr(error)
        finally:
            connection.close()
        with lock:
            ends[end] += 1

    threads = [threading.Thread(target=one) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ends == {"admitted": 10, "spend_limit_exceeded 2": 40}
    assert standing(token) == (Decimal(0), Decimal("0.00119"))
    assert wallet(alice).held == Decimal("0.00119")
    for call in admitted:
        settle(call, sent())
    assert standing(token) == (Decimal("0.0005"), Decimal(0))
    assert wallet(alice).balance == Decimal("0.9995")
    assert_clean()
