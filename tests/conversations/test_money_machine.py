"""Anything that can happen to a workspace's money, in any order, against a model on a sheet of paper.

After every step the wallet stands where the model says, to the last digit, and the books are in order.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from decimal import ROUND_UP, Decimal
from typing import Any

import pytest
from django.db import connection, transaction
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from billing import holds, ledger
from billing.models import BillingEvent, TokenSpend, Wallet
from conversations import sweeper
from llm.types import Usage
from synapscale.common.errors import InsufficientBalance, Unprocessable
from synapscale.common.models import new_id
from tests.books import broken
from tests.catalogue import make_llm
from tests.conversations.calling import (
    ask,
    checkpoint,
    events,
    failed,
    fall_back,
    hold_of,
    incidents,
    lapse,
    logs,
    make_conversation,
    own_key,
    sent,
    settle,
    times,
    wallet,
)
from tests.conversations.paper import EVENTS, FEE, FLOOR, PICO, REACHED, SECOND, Call, Paper, reserved, up
from tests.people import join, make_workspace
from workspaces.models import AccessToken

tokens = st.integers(min_value=0, max_value=400)
small = st.integers(min_value=1, max_value=2 * 10**9).map(lambda pico: pico * PICO)
enough = small.map(lambda amount: amount + Decimal("0.002"))  # for a call or two
pick = st.integers(min_value=0, max_value=10**6)


class Money(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self._example = transaction.atomic()
        self._example._from_testcase = True  # type: ignore[attr-defined]
        self._example.__enter__()
        self.paper = Paper()
        self.person = join(make_workspace("acme", fallback_models=["openai/second"]), "alice", "owner")
        self.colleague = join(self.person.workspace, "bob", "member")
        """Calls on an own key, and pays a fee for it."""
        own_key(self.colleague)
        Wallet.objects.update_or_create(workspace=self.person.workspace, defaults={"own_key_fee_bps": FEE})
        self.token = AccessToken.objects.get(workspace=self.person.workspace, user=self.person.user)
        self.limit_token(Decimal("0.001"))
        make_llm()
        make_llm(name="second", price=times(SECOND))

    def teardown(self) -> None:
        transaction.set_rollback(True)
        self._example.__exit__(None, None, None)

    # --- Money comes and goes

    def limit_token(self, limit: Decimal) -> None:
        self.paper.token_limit = self.token.spend_limit_usd = limit
        self.token.save()

    @initialize(amount=enough, lengths=st.lists(st.integers(min_value=1, max_value=300), min_size=1, max_size=3))
    def open_the_books(self, amount: Decimal, lengths: list[int]) -> None:
        self.top_up(amount)
        for length in lengths:
            self.admit(length, 100, "alice")

    @rule(amount=enough)
    def top_up(self, amount: Decimal) -> None:
        """The payment provider tells us twice."""
        reference = f"top-up:{new_id()}"
        answers = [
            ledger.credit(workspace=self.person.workspace, amount=amount, reference=reference)[1] for _ in range(2)
        ]
        assert answers == [True, False]
        self.paper.move(amount)

    @rule(amount=small)
    def take_out(self, amount: Decimal) -> None:
        try:
            ledger.adjust(
                workspace=self.person.workspace,
                amount=-amount,
                reference=f"adjust:{new_id()}",
                description="Taken out",
                actor=None,
            )
        except InsufficientBalance:
            assert amount > self.paper.available
        else:
            assert amount <= self.paper.available
            self.paper.move(-amount)

    @rule(limit=small)
    def go_postpaid(self, limit: Decimal) -> None:
        if self.paper.balance + limit < self.paper.held:
            return
        Wallet.objects.filter(workspace=self.person.workspace).update(mode="postpaid", credit_limit=limit)
        self.paper.limit = limit

    @precondition(lambda self: self.paper.refundable)
    @rule(which=pick, percent=st.sampled_from([50, 101, 100, 1]))
    def refund(self, which: int, percent: int) -> None:
        """A part of what is left of a charge, or a little more than that."""
        charge = list(self.paper.refundable)[which % len(self.paper.refundable)]
        left = self.paper.refundable[charge]
        amount = (left * percent / 100).quantize(PICO, ROUND_UP)
        if not amount:
            return
        original = BillingEvent.objects.get(workspace=self.person.workspace, pk=charge)
        try:
            ledger.refund(
                original=original, amount=amount, reference=f"refund:{new_id()}", description="Sorry", actor=None
            )
        except Unprocessable:
            assert amount > left
            REACHED["refund refused"] += 1
        else:
            assert amount <= left
            REACHED["refunded"] += 1
            self.paper.refundable[charge] = left - amount
            self.paper.move(amount)

    # --- Calls

    @rule(more=small)
    def raise_the_limit(self, more: Decimal) -> None:
        self.limit_token(self.paper.token_limit + more)

    @rule(
        length=st.integers(min_value=1, max_value=300),
        max_tokens=st.integers(min_value=1, max_value=600),
        who=st.sampled_from(["alice", "alice on her token", "bob on his key"]),
    )
    def admit(self, length: int, max_tokens: int, who: str) -> None:
        paper, is_limited, is_own = self.paper, who == "alice on her token", who == "bob on his key"
        person = self.colleague if is_own else self.person
        token = self.token if is_limited else None
        available = paper.available_for(is_limited=is_limited)
        affordable, amount = reserved(available, length=length, wanted=max_tokens, is_own=is_own)
        conversation = make_conversation(person)
        if affordable < min(FLOOR, max_tokens):
            with pytest.raises(InsufficientBalance) as refused:
                ask(person, conversation, "x" * length, max_tokens=max_tokens, access_token=token)
            assert refused.value.details["affordable_max_tokens"] == max(affordable, 0)
            is_by_limit = available < paper.available
            assert refused.value.code == ("spend_limit_exceeded" if is_by_limit else "insufficient_balance")
            REACHED["call refused by the limit" if is_by_limit else "call refused"] += 1
            return
        admitted = ask(person, conversation, "x" * length, max_tokens=max_tokens, access_token=token)
        assert (admitted.request.max_tokens, hold_of(admitted).amount) == (affordable, amount)
        REACHED["call shortened"] += affordable < max_tokens
        paper.open.append(Call(person, admitted, amount, length, max_tokens, is_own=is_own, is_limited=is_limited))

    @precondition(lambda self: self.paper.open)
    @rule(which=pick, length=st.integers(min_value=0, max_value=2000))
    def go_on(self, which: int, length: int) -> None:
        """The call is dispatched, and some text has come."""
        call = self._open(which)
        answer = call.admitted.answer
        holds.dispatch(workspace_id=answer.workspace_id, hold_id=answer.hold_id)
        if length:
            call.text = "y" * length
            checkpoint(call.admitted, call.text)

    @precondition(lambda self: any(not call.text for call in self.paper.open))
    @rule(which=pick, billed=st.sampled_from([0, 0, 7, 250]))
    def fail_and_follow(self, which: int, billed: int) -> None:
        """Before its first word (though the provider may have billed something), and the next model has its turn."""
        silent = [call for call in self.paper.open if not call.text]
        call, paper = silent[which % len(silent)], self.paper
        outcome = failed(usage=Usage(input=billed) if billed else None)
        # What it held comes back: with nothing to show it is free, whatever the provider billed.
        available = paper.available + call.amount
        if call.is_limited:
            available = min(available, paper.token_limit - paper.token_spent - paper.token_held + call.amount)
        affordable, amount = reserved(
            available, length=call.length, wanted=call.wanted, is_own=call.is_own, factor=SECOND
        )
        following = fall_back(call.admitted, outcome)
        if call.factor == SECOND or affordable < min(FLOOR, call.wanted):
            assert following is None
            REACHED["nobody follows"] += 1
            return
        assert following is not None
        assert (following.request.max_tokens, hold_of(following).amount) == (affordable, amount)
        assert hold_of(call.admitted).state == "released"
        paper.end_attempt(call, Decimal(0))
        self._remember(call, Decimal(0))
        REACHED["followed, billed" if billed else "followed"] += 1
        paper.open.append(replace(call, admitted=following, amount=amount, factor=SECOND))

    @precondition(lambda self: self.paper.open)
    @rule(which=pick, how=st.sampled_from(["answer", "failure", "death"]), prompt=tokens, written=tokens)
    def end(self, which: int, how: str, prompt: int, written: int) -> None:
        """By an answer, by a failure (free, whatever the provider billed for it), or with its process."""
        call = self._open(which)
        if how == "answer":
            settle(call.admitted, sent(usage={"input": prompt, "output": written}))
            self._close(call, call.due(prompt=prompt, output=written), state="settled")
        elif how == "failure":
            billed = prompt if prompt > 200 else 0
            settle(call.admitted, failed(usage=Usage(input=billed) if billed else None))
            self._close(call, Decimal(0), state="released")
        else:
            if written > 100:
                call.text = "z" * written
                checkpoint(call.admitted, call.text)
            lapse(call.admitted)
            report = sweeper.sweep()
            assert (report.interrupted, report.lost) == ((1, 0) if call.text else (0, 1))
            prompt = call.estimate if call.text else 0
            self._close(call, call.due(prompt=prompt, output=up(len(call.text), 4)), state="expired")

    @rule()
    def sweep_for_nothing(self) -> None:
        assert str(sweeper.sweep()) == "0 replayed, 0 interrupted, 0 lost"

    @precondition(lambda self: self.paper.done)
    @rule(which=pick)
    def come_too_late(self, which: int) -> None:
        call = self.paper.done[which % len(self.paper.done)]
        hold = hold_of(call.admitted)
        with pytest.raises(holds.HoldGone):
            holds.renew(workspace_id=hold.workspace_id, hold_id=hold.pk)
        settle(call.admitted, sent("Late", usage={"input": 400, "output": 400}))
        if hold.state == "expired":
            REACHED["late"] += 1
            self.paper.late.add(hold.pk)

    # --- What is always so

    @invariant()
    def the_wallet_is_as_on_paper(self) -> None:
        purse, paper = wallet(self.person), self.paper
        assert (purse.balance, purse.held, purse.seq) == (paper.balance, paper.held, len(paper.moves))
        assert purse.available >= 0
        row = TokenSpend.objects.filter(workspace=self.person.workspace, access_token=self.token).first()
        assert (row.spent, row.held) == (paper.token_spent, paper.token_held) if row else paper.token_held == 0

    @invariant()
    def the_books_are_in_order(self) -> None:
        if connection.vendor == "postgresql":  # what waits for the commit, now
            with connection.cursor() as cursor:
                cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
                cursor.execute("SET CONSTRAINTS ALL DEFERRED")
        assert broken() == {}

    @invariant()
    def every_call_and_movement_is_written_down(self) -> None:
        assert [event.amount_usd for event in events(self.person)] == self.paper.moves
        assert len(logs(self.person)) == self.paper.attempts
        noted = incidents(self.person)
        assert sum(row.amount for row in noted if row.kind == "overrun") == self.paper.overrun
        assert {row.hold_id for row in noted if row.kind == "late_result"} == self.paper.late

    def _open(self, which: int) -> Call:
        return self.paper.open[which % len(self.paper.open)]

    def _close(self, call: Call, cost: Decimal, *, state: str) -> None:
        hold = hold_of(call.admitted)
        charged = self.paper.end_attempt(call, cost)
        assert (hold.state, hold.charged) == (state, charged)
        self.paper.done.append(call)
        REACHED[f"{state}, charged" if charged else state] += 1
        REACHED["overrun"] += cost > charged
        self._remember(call, charged)

    def _remember(self, call: Call, charged: Decimal) -> None:
        """The charge can be refunded."""
        if charged:
            event = events(self.person)[-1]
            assert event.event_type == ("fee" if call.is_own else "usage")
            REACHED["fee"] += call.is_own
            self.paper.refundable[event.pk] = charged


@pytest.fixture(autouse=True)
def _patient_leases(settings: Any) -> None:
    """They run out when the machine lets them, not because this takes long."""
    settings.HOLD_LEASE_SECONDS = 3600


@pytest.mark.timeout(600)
@pytest.mark.django_db
def test_whatever_happens_to_money_in_whatever_order() -> None:
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        Money,
        settings=settings(
            max_examples=60,
            stateful_step_count=14,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
        ),
    )


@pytest.mark.timeout(600)
@pytest.mark.django_db
def test_a_long_month_in_which_everything_happens() -> None:
    """The same rules, thrown by a die: what a short example seldom reaches, a long run does, and the same each time."""
    die = random.Random(13)
    money = Money()

    def amount() -> Decimal:
        return die.randint(1, 2 * 10**9) * PICO

    rules: list[Callable[[], object]] = [
        *[lambda: money.top_up(amount() + Decimal("0.0005"))] * 2,
        lambda: money.take_out(amount()),
        lambda: die.random() < 0.1 and money.go_postpaid(amount()),
        *[
            lambda: money.admit(
                die.randint(1, 300),
                die.randint(1, 600),
                die.choice(["alice", "alice on her token", "bob on his key"]),
            )
        ]
        * 6,
        lambda: money.raise_the_limit(amount()),
        *[
            lambda: (
                any(not call.text for call in money.paper.open)
                and money.fail_and_follow(die.randrange(10**6), die.choice([0, 0, 7, 250]))
            )
        ]
        * 2,
        lambda: money.paper.open and money.go_on(die.randrange(10**6), die.randint(0, 2000)),
        *[
            lambda: (
                money.paper.open
                and money.end(
                    die.randrange(10**6),
                    die.choice(["answer", "answer", "failure", "death"]),
                    die.randint(0, 400),
                    die.randint(0, 400),
                )
            )
        ]
        * 4,
        lambda: money.paper.done and money.come_too_late(die.randrange(10**6)),
        lambda: money.paper.refundable and money.refund(die.randrange(10**6), die.choice([1, 50, 100, 101])),
        money.sweep_for_nothing,
    ]
    REACHED.clear()
    try:
        for _ in range(450):
            die.choice(rules)()
            money.the_wallet_is_as_on_paper()
            money.the_books_are_in_order()
            money.every_call_and_movement_is_written_down()
    finally:
        money.teardown()
    assert {event: REACHED[event] for event in EVENTS if REACHED[event] < 3} == {}
