"""Falling back and money: each attempt reserves for its own model, on its own key, and nothing is paid twice."""

from __future__ import annotations

import threading
from collections import Counter
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection

from billing import ledger
from billing.holds import WalletMoved
from billing.models import TokenSpend, Wallet
from conversations import fallbacks, metering
from conversations.admission import Admitted
from conversations.models import Conversation
from llm.models import LLM
from llm.types import Usage
from tests.books import assert_clean
from tests.catalogue import make_llm
from tests.conversations.calling import (
    HELD,
    SECOND_HELD,
    answer_of,
    ask,
    failed,
    fall_back,
    fall_back_to,
    followed,
    hold_of,
    logs,
    make_conversation,
    own_key,
    sent,
    settle,
    states,
    wallet,
)
from tests.people import Person, fund
from workspaces import ratelimits
from workspaces.models import AccessToken, RateBucket, User, UserVariable

pytestmark = pytest.mark.django_db


# --- Money ------------------------------------------------------------------------------------------------------------


def test_a_balance_for_the_first_model_only(alice: Person, third: LLM) -> None:
    fund(alice.workspace, HELD)
    fall_back_to(alice, "openai/second", "openai/third")
    admitted = ask(alice, make_conversation(alice))
    # $0.000219 less 19 tokens of prompt at $2 leave 45 tokens of answer at $4: fewer than the 64 that are worth it.
    assert fall_back(admitted) is None
    settle(admitted, failed())
    assert (wallet(alice).balance, wallet(alice).held) == (Decimal(HELD), 0)
    assert_clean()


def test_the_dearer_one_reserves_its_own_worst_case_with_what_the_first_gave_back(alice: Person, third: LLM) -> None:
    fund(alice.workspace, str(SECOND_HELD))
    fall_back_to(alice, "openai/second", "openai/third")
    two = followed(ask(alice, make_conversation(alice)))
    assert (hold_of(two).amount, two.request.max_tokens) == (SECOND_HELD, 100)
    assert (wallet(alice).held, wallet(alice).available) == (SECOND_HELD, 0)
    assert_clean()


def test_the_dearer_ones_answer_is_shortened_to_what_there_is(alice: Person, third: LLM) -> None:
    fund(alice.workspace, "0.000300")
    fall_back_to(alice, "openai/second")
    two = followed(ask(alice, make_conversation(alice)))
    # 19 tokens of prompt at $2, and 65 of answer at $4
    assert (two.request.max_tokens, hold_of(two).amount) == (65, Decimal("0.000298"))
    assert answer_of(two).max_tokens == 65


def test_too_dear_is_passed_over_for_a_cheaper_one(alice: Person, third: LLM) -> None:
    fund(alice.workspace, HELD)
    make_llm(name="cheap")
    fall_back_to(alice, "openai/third", "openai/cheap")
    two = followed(ask(alice, make_conversation(alice)))
    assert (str(two.plan.llm), hold_of(two).amount) == ("openai/cheap", Decimal(HELD))


def test_a_limit_of_the_token_goes_along(alice: Person, falling: Conversation) -> None:
    token = AccessToken.objects.get(workspace=alice.workspace, user=alice.user)
    token.spend_limit_usd = SECOND_HELD
    token.save()
    two = followed(ask(alice, falling, access_token=token))
    row = TokenSpend.objects.get(workspace=alice.workspace)
    assert (row.held, row.spent) == (SECOND_HELD, 0)
    assert hold_of(two).access_token == token
    # Shortened: 19 tokens of prompt at $3, and 63 of answer at $6, are one too few.
    assert fall_back(two) is None
    settle(two, sent())
    row.refresh_from_db()
    assert (row.held, row.spent) == (0, Decimal("0.0001"))
    assert [log.access_token_id for log in logs(alice)] == [token.pk, token.pk]
    assert_clean()


def test_a_limit_too_small_for_the_next_model_is_the_end(alice: Person, falling: Conversation) -> None:
    token = AccessToken.objects.get(workspace=alice.workspace, user=alice.user)
    token.spend_limit_usd = Decimal(HELD)
    token.save()
    admitted = ask(alice, falling, access_token=token)
    assert fall_back(admitted) is None
    settle(admitted, failed())
    assert_clean()


@pytest.mark.parametrize("times", [1, 4, 5])
def test_a_wallet_that_others_draw_on_at_the_same_time(
    alice: Person, falling: Conversation, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    """Between the look at the balance and the reservation another call was faster: look again, and give up in the end."""
    admitted = ask(alice, falling)
    real, looks = fallbacks.reserve, []

    def be_late(offer: Any, **rest: Any) -> None:
        looks.append(str(offer.plan.llm))
        if len(looks) <= times:
            raise WalletMoved
        real(offer, **rest)

    monkeypatch.setattr(fallbacks, "reserve", be_late)
    following = fall_back(admitted)
    if times == 5:
        assert following is None
        assert (answer_of(admitted).attempt, logs(alice)) == (1, [])
        assert states(alice) == [("held", Decimal(HELD), None)]
    else:
        assert following is not None
        assert states(alice) == [("released", Decimal(HELD), 0), ("held", SECOND_HELD, None)]
        assert len(logs(alice)) == 1
    assert_clean()


def test_a_wallet_suspended_meanwhile_is_the_end(alice: Person, falling: Conversation) -> None:
    admitted = ask(alice, falling)
    Wallet.objects.filter(workspace=alice.workspace).update(status="suspended")
    assert fall_back(admitted) is None
    settle(admitted, failed())
    assert (wallet(alice).balance, wallet(alice).held) == (1, 0)
    assert_clean()


@pytest.mark.django_db(transaction=True)
def test_twenty_fall_back_at_once_on_money_for_ten_of_them(alice: Person, falling: Conversation) -> None:
    fall_back_to(alice, "openai/third")
    # 50 tokens of answer, not fewer: $0.000119 by the first model and $0.000357 by the third
    admitted = [ask(alice, falling, max_tokens=50) for _ in range(20)]
    # The first hold of each is given back with it: so much that ten of the dearer ones fit beside ten of the others.
    keep = 10 * Decimal("0.000357") + 10 * Decimal("0.000119")
    ledger.adjust(workspace=alice.workspace, amount=keep - 1, reference="less", description="Less to share", actor=None)
    barrier, ends, lock = threading.Barrier(20), Counter[str](), threading.Lock()

    def one(call: Admitted) -> None:
        barrier.wait()
        try:
            end = "followed" if fall_back(call) else "none left"
        except Exception as error:
            end = repr(error)
        finally:
            connection.close()
        with lock:
            ends[end] += 1

    threads = [threading.Thread(target=one, args=(call,)) for call in admitted]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ends == {"followed": 10, "none left": 10}
    assert (wallet(alice).balance, wallet(alice).held) == (keep, keep)
    assert_clean()


def test_what_the_rate_limits_gave_stays_taken_until_the_end(
    alice: Person, falling: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tokens taken for the call are settled with the answer, not given back with the first failure."""
    given: list[int] = []
    monkeypatch.setattr(ratelimits, "take", lambda **_: [ratelimits.RateState("token", "tokens", 9, 9, timedelta(0))])
    monkeypatch.setattr(metering.ratelimits, "give_back", lambda *, tokens, **_: given.append(tokens))
    first = ask(alice, falling)
    assert first.answer.call["terms"]["rate_tokens"] == 110  # 10 of prompt by estimate, 100 of answer
    two = followed(first, failed(usage=Usage(input=7)))
    assert given == [-7]
    settle(two, sent())
    assert given == [-7, 80]


def test_the_answer_of_a_fallback_counts_against_the_rate_limit(alice: Person, falling: Conversation) -> None:
    alice.workspace.tokens_per_minute = 100_000
    two = followed(ask(alice, falling))
    bucket = RateBucket.objects.get(workspace=alice.workspace)
    assert bucket.tokens_left == (100_000 - 110) * 1000
    settle(two, sent())
    bucket.refresh_from_db()
    assert bucket.tokens_left == (100_000 - 30) * 1000


# --- Whose key --------------------------------------------------------------------------------------------------------


def test_each_attempt_says_whose_key_it_ran_on(alice: Person, falling: Conversation) -> None:
    """An own key for the first model's provider, the house's for the next: the second is charged."""
    own_key(alice)
    make_llm("grok")
    grok = UserVariable(workspace=alice.workspace, category="api_key", name="grok")
    grok.set_value("xai-0123456789")
    grok.save()
    fall_back_to(alice, "grok/grok-test", "openai/second")
    two = followed(ask(alice, falling))
    UserVariable.objects.filter(name="openai").delete()
    settle(followed(two), sent())
    assert [(log.key_source, log.user_api_key_used, log.charged_usd) for log in logs(alice)] == [
        ("user", True, 0),
        ("workspace", False, 0),
        ("global", False, Decimal("0.0001")),
    ]
    assert [amount for _, amount, _ in states(alice)] == [0, 0, SECOND_HELD]
    assert_clean()


def test_who_forbids_paid_credit_does_not_fall_back_to_it(alice: Person, falling: Conversation) -> None:
    own_key(alice)
    make_llm("grok")
    User.objects.filter(pk=alice.user.pk).update(allows_paid_fallback=False)
    alice.user.refresh_from_db()
    admitted = ask(alice, falling)
    UserVariable.objects.filter(name="openai").delete()
    assert fall_back(admitted) is None
    settle(admitted, failed())
    assert (wallet(alice).balance, len(logs(alice))) == (1, 1)


def test_who_insists_on_a_key_falls_back_to_nobody(alice: Person, falling: Conversation) -> None:
    """It is that key they want to hear of."""
    own_key(alice)
    admitted = ask(alice, falling, key_source="user")
    assert admitted.plan.fallbacks == ()
    assert fall_back(admitted) is None
    settle(admitted, failed())
    assert [log.key_source for log in logs(alice)] == ["user"]
