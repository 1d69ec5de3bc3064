"""Spending limits of access tokens: what a call reserves before and counts after it."""

from __future__ import annotations

import threading
from collections import Counter
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection

from billing.models import TokenSpend, Wallet
from conversations import chat, sweeper
from conversations.admission import Admitted
from conversations.asks import Ask
from conversations.models import Conversation
from llm.models import LLM
from synapscale.common.errors import InsufficientBalance
from tests.api.asking import Api, error_of, messages_of
from tests.billing.limits import limited, standing
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
