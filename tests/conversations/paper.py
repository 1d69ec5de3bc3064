"""What the money machine must come to, on a sheet of paper: a wallet, a token's limit, and calls with their attempts."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from decimal import ROUND_DOWN, Decimal
from typing import Any

from conversations.admission import Admitted
from tests.people import Person

PICO = Decimal("0.000000000001")
IN, OUT = Decimal("0.000001"), Decimal("0.000002")
"""What a token of the first model costs."""
SECOND = 3
"""How many times as dear the second model is."""
FEE = 333
"""The platform fee of calls on an own key, in hundredths of a percent."""
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
    "call refused by the limit",
    "call shortened",
    "followed",
    "followed, billed",
    "nobody follows",
    "fee",
]
REACHED: Counter[str] = Counter()
"""How often each of them happened: a test that never gets there proves nothing."""


def up(number: int, size: int) -> int:
    return -(-number // size)


@dataclass
class Call:
    """An attempt under way, or the last one of a call that is over."""

    person: Person
    admitted: Admitted
    amount: Decimal
    length: int
    """Of the question, in bytes."""
    wanted: int
    """Tokens of answer that were asked for."""
    is_own: bool = False
    """Whether it is on an own key."""
    is_limited: bool = False
    """Whether it counts against the token's limit."""
    factor: int = 1
    text: str = ""

    @property
    def estimate(self) -> int:
        """Of the prompt, in tokens, where the provider reports none."""
        return up(self.length, 4) + 8

    def due(self, *, prompt: int, output: int) -> Decimal:
        return due(self.factor * (prompt * IN + output * OUT), is_own=self.is_own)


def due(cost: Decimal, *, is_own: bool) -> Decimal:
    return (cost * FEE / 10_000).quantize(PICO, ROUND_DOWN) if is_own else cost


def reserved(available: Decimal, *, length: int, wanted: int, is_own: bool, factor: int = 1) -> tuple[int, Decimal]:
    """The tokens of answer that ``available`` affords (fewer than none, where not the prompt), and what they reserve."""
    budget = (available * 10_000 / FEE).quantize(PICO, ROUND_DOWN) if is_own else available
    prompt = (length + 16) * IN * factor  # an “x” is a token
    tokens = min(wanted, int((budget - prompt) // (OUT * factor)))
    return tokens, due(prompt + tokens * OUT * factor, is_own=is_own)


@dataclass
class Paper:
    balance: Decimal = Decimal(0)
    limit: Decimal = Decimal(0)
    token_limit: Decimal = Decimal(0)
    token_spent: Decimal = Decimal(0)
    open: list[Call] = field(default_factory=list)
    done: list[Call] = field(default_factory=list)
    attempts: int = 0
    """That have ended."""
    moves: list[Decimal] = field(default_factory=list)
    refundable: dict[Any, Decimal] = field(default_factory=dict)
    overrun: Decimal = Decimal(0)
    late: set[Any] = field(default_factory=set)

    @property
    def held(self) -> Decimal:
        return sum((call.amount for call in self.open), Decimal(0))

    @property
    def token_held(self) -> Decimal:
        return sum((call.amount for call in self.open if call.is_limited), Decimal(0))

    @property
    def available(self) -> Decimal:
        return self.balance + self.limit - self.held

    def available_for(self, *, is_limited: bool) -> Decimal:
        left = max(self.token_limit - self.token_spent - self.token_held, Decimal(0))
        return min(self.available, left) if is_limited else self.available

    def move(self, amount: Decimal) -> None:
        self.balance += amount
        self.moves.append(amount)

    def end_attempt(self, call: Call, cost: Decimal) -> Decimal:
        """What it is charged: no more than was held."""
        charged = min(cost, call.amount)
        self.open.remove(call)
        self.attempts += 1
        self.overrun += cost - charged
        if call.is_limited:
            self.token_spent += charged
        if charged:
            self.move(-charged)
        return charged
