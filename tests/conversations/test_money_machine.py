"""Anything that can happen to a workspace's money, in any order, against a model on a sheet of paper.

After every step the wallet stands where the model says, to the last digit, and the books are in order.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
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
from billing.models import BillingEvent, Wallet
from conversations import sweeper
from conversations.admission import Admitted
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
    hold_of,
    incidents,
    lapse,
    logs,
    make_conversation,
    sent,
    settle,
    wallet,
)
from tests.people import join, make_workspace

PICO = Decimal("0.000000000001")
IN, OUT = Decimal("0.000001"), Decimal("0.000002")  # what a token costs
FLOOR = 64
EVENTS = [
    "settled, charged",
    "released",
    "expired",
    "expired, charged",
    "overrun",
    "late",
    "refunded",
    "refund refused",
    "call refused",
    "call shortened",
]
REACHED: Counter[str] = Counter()
"""How often each of them happened: a test that never gets there proves nothing."""
tokens = st.integers(min_value=0, max_value=400)
small = st.integers(min_value=1, max_value=2 * 10**9).map(lambda pico: pico * PICO)
enough = small.map(lambda amount: amount + Decimal("0.002"))  # for a call or two
pick = st.integers(min_value=0, max_value=10**6)


def up(number: int, size: int) -> int:
    return -(-number // size)


@dataclass
class Call:
    admitted: Admitted
    amount: Decimal
    prompt: int
    """The estimate of the prompt, in tokens."""
    text: str = ""


@dataclass
class Paper:
    """The model: what the wallet must say."""

    balance: Decimal = Decimal(0)
    limit: Decimal = Decimal(0)
    open: list[Call] = field(default_factory=list)
    done: list[Call] = field(default_factory=list)
    moves: list[Decimal] = field(default_factory=list)
    refundable: dict[Any, Decimal] = field(default_factory=dict)
    overrun: Decimal = Decimal(0)
    late: set[Any] = field(default_factory=set)

    @property
    def held(self) -> Decimal:
        return sum((call.amount for call in self.open), Decimal(0))

    @property
    def available(self) -> Decimal:
        return self.balance + self.limit - self.held

    def move(self, amount: Decimal) -> None:
        self.balance += amount
        self.moves.append(amount)


class Money(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self._example = transaction.atomic()
        self._example._from_testcase = True  # type: ignore[attr-defined]
        self._example.__enter__()
        self.paper = Paper()
        self.person = join(make_workspace("acme"), "alice", "owner")
        make_llm()

    def teardown(self) -> None:
        transaction.set_rollback(True)
        self._example.__exit__(None, None, None)

    # --- Money comes and goes

    @initialize(amount=enough, lengths=st.lists(st.integers(min_value=1, max_value=300), min_size=1, max_size=3))
    def open_the_books(self, amount: Decimal, lengths: list[int]) -> None:
        self.top_up(amount)
        for length in lengths:
            self.admit(length, 100)

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

    @rule(length=st.integers(min_value=1, max_value=300), max_tokens=st.integers(min_value=1, max_value=600))
    def admit(self, length: int, max_tokens: int) -> None:
        paper, prompt = self.paper, (up(length, 2) + 16) * IN
        affordable = min(max_tokens, int((paper.available - prompt) // OUT))
        conversation = make_conversation(self.person)
        if affordable < min(FLOOR, max_tokens):
            with pytest.raises(InsufficientBalance) as refused:
                ask(self.person, conversation, "x" * length, max_tokens=max_tokens)
            assert refused.value.details["affordable_max_tokens"] == max(affordable, 0)
            REACHED["call refused"] += 1
            return
        admitted = ask(self.person, conversation, "x" * length, max_tokens=max_tokens)
        assert admitted.request.max_tokens == affordable
        amount = hold_of(admitted).amount
        assert amount == prompt + affordable * OUT
        REACHED["call shortened"] += affordable < max_tokens
        paper.open.append(Call(admitted, amount, prompt=up(length, 4) + 8))

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

    @precondition(lambda self: self.paper.open)
    @rule(which=pick, how=st.sampled_from(["answer", "failure", "death"]), prompt=tokens, written=tokens)
    def end(self, which: int, how: str, prompt: int, written: int) -> None:
        """By an answer, by a failure (with what the provider billed for it, if anything), or with its process."""
        call = self._open(which)
        if how == "answer":
            settle(call.admitted, sent(usage={"input": prompt, "output": written}))
            self._close(call, prompt * IN + written * OUT, state="settled")
        elif how == "failure":
            billed = prompt if prompt > 200 else 0
            settle(call.admitted, failed(usage=Usage(input=billed) if billed else None))
            self._close(call, billed * IN, state="settled" if billed else "released")
        else:
            if written > 100:
                call.text = "z" * written
                checkpoint(call.admitted, call.text)
            lapse(call.admitted)
            report = sweeper.sweep()
            assert (report.interrupted, report.lost) == ((1, 0) if call.text else (0, 1))
            cost = call.prompt * IN + up(len(call.text), 4) * OUT if call.text else Decimal(0)
            self._close(call, cost, state="expired")

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
        assert len(logs(self.person)) == len(self.paper.done)
        noted = incidents(self.person)
        assert sum(row.amount for row in noted if row.kind == "overrun") == self.paper.overrun
        assert {row.hold_id for row in noted if row.kind == "late_result"} == self.paper.late

    def _open(self, which: int) -> Call:
        return self.paper.open[which % len(self.paper.open)]

    def _close(self, call: Call, cost: Decimal, *, state: str) -> None:
        charged = min(cost, call.amount)
        hold = hold_of(call.admitted)
        assert (hold.state, hold.charged) == (state, charged)
        self.paper.open.remove(call)
        self.paper.done.append(call)
        self.paper.overrun += cost - charged
        REACHED[f"{state}, charged" if charged else state] += 1
        REACHED["overrun"] += cost > charged
        if charged:
            self.paper.move(-charged)
            self.paper.refundable[events(self.person)[-1].pk] = charged


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
    die = random.Random(12)
    money = Money()

    def amount() -> Decimal:
        return die.randint(1, 2 * 10**9) * PICO

    rules: list[Callable[[], object]] = [
        lambda: money.top_up(amount()),
        lambda: money.take_out(amount()),
        lambda: die.random() < 0.1 and money.go_postpaid(amount()),
        *[lambda: money.admit(die.randint(1, 300), die.randint(1, 600))] * 5,
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
        for _ in range(400):
            die.choice(rules)()
            money.the_wallet_is_as_on_paper()
            money.the_books_are_in_order()
            money.every_call_and_movement_is_written_down()
    finally:
        money.teardown()
    assert all(REACHED[event] >= 3 for event in EVENTS), REACHED
