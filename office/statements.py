"""A workspace's month: what its balance was, what moved it, and what it is now, to the last digit.

The month is cut by the ledger's ``seq``, not by time: movements are numbered in the order in which they took hold, and
their times need not rise with it. So each movement is in one month, and where one month closes the next one opens.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cached_property
from typing import Any, Self

from django.db.models import Count, F, FilteredRelation, Max, OuterRef, Q, QuerySet, Subquery, Sum, Window
from django.db.models.functions import RowNumber
from django.utils import formats, timezone

from analytics import query
from analytics.query import Wanted
from billing.models import BillingEvent, Wallet
from billing.policy import OWN_KEYS
from llm.models import LLM
from synapscale.common.money import ZERO
from workspaces.models import User, Workspace

Type = BillingEvent.Type
SKEW = timedelta(minutes=10)
"""So much earlier, by its time, may a movement be than one that was numbered before it: clocks differ, and a movement waits
for the wallet after it was given its time."""
SETTLES = timedelta(hours=1)
"""A month may still change until so long after its end."""
LISTED = 200
"""So many lines of a kind are listed; the others are one line together. A CSV has all."""
CALLS = (Type.USAGE, Type.FEE)
"""Movements of calls, which are summed up. The others are listed one by one."""
SINGLE = (Type.CREDIT, Type.SUBSCRIPTION, Type.REFUND, Type.ADJUSTMENT)


class NotAMonth(ValueError):
    """What was typed is no month."""


@dataclass(frozen=True, slots=True, order=True)
class Month:
    """A month of UTC."""

    year: int
    number: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """From ``2026-10``. Raises NotAMonth."""
        if not re.fullmatch(r"[2-9][0-9]{3}-(0[1-9]|1[0-2])", text, re.ASCII) or text == "9999-12":
            raise NotAMonth(text)
        return cls(int(text[:4]), int(text[5:]))

    @classmethod
    def of(cls, moment: datetime) -> Self:
        moment = moment.astimezone(UTC)
        return cls(moment.year, moment.month)

    def __str__(self) -> str:
        return f"{self.year:04}-{self.number:02}"

    @property
    def name(self) -> str:
        """As people write it: “October 2026”."""
        return formats.date_format(self.start.date(), "YEAR_MONTH_FORMAT")

    @property
    def start(self) -> datetime:
        return datetime(self.year, self.number, 1, tzinfo=UTC)

    @property
    def end(self) -> datetime:
        """When the next one begins."""
        return self.next.start

    @property
    def next(self) -> Month:
        return Month(self.year + self.number // 12, self.number % 12 + 1)

    @property
    def previous(self) -> Month:
        return Month(self.year - (self.number == 1), (self.number - 2) % 12 + 1)

    def is_provisional(self, now: datetime) -> bool:
        return now < self.end + SETTLES


@dataclass(frozen=True, slots=True)
class Calls:
    """What calls came to. ``amount`` is what they did to the balance, so it is negative; of calls on own keys it is what
    their providers ask for them.
    """

    count: int = 0
    tokens: int = 0
    amount: Decimal = ZERO

    def __add__(self, other: Calls) -> Calls:
        return Calls(self.count + other.count, self.tokens + other.tokens, self.amount + other.amount)


@dataclass(frozen=True, slots=True)
class Charged:
    """The movements of one kind for one model and member: either is None where they are of none."""

    kind: str
    llm_id: uuid.UUID | None
    user_id: uuid.UUID | None
    calls: Calls


@dataclass(frozen=True, slots=True)
class Movement:
    """A movement that is listed by itself."""

    id: uuid.UUID
    seq: int
    at: datetime
    kind: str
    amount: Decimal
    description: str
    """As it is stored; pages say it in the reader's language (``common.stored_words``)."""
    reference: str


@dataclass(frozen=True)
class Statement:
    workspace: Workspace
    month: Month
    is_provisional: bool
    first: int
    """Number of the first movement; greater than ``last`` where there is none."""
    last: int
    opening: Decimal
    closing: Decimal
    charged: tuple[Charged, ...]
    """In no order."""
    totals: dict[str, Calls]
    """Of each kind of movement: how many, and what they came to."""
    movements: tuple[Movement, ...]
    """In order; of each kind at most as many as were asked for."""
    own_keys: dict[uuid.UUID, Calls]
    """By model: what was called on users' and workspaces' own keys, which is not charged."""
    llms: dict[uuid.UUID, str]
    members: dict[uuid.UUID, str]
    since: Month
    """The first month that there is a statement of."""

    def amount(self, *kinds: str) -> Decimal:
        return sum((self.totals[kind].amount for kind in kinds if kind in self.totals), ZERO)

    def model_of(self, row: Charged) -> str:
        """Empty: it is of none."""
        return _name(self.llms, row.llm_id)

    def member_of(self, row: Charged) -> str:
        return _name(self.members, row.user_id)

    def by_model(self, kind: str) -> list[tuple[str, Calls]]:
        """The dearest first."""
        return self._by(kind, self.model_of)

    def by_member(self, kind: str) -> list[tuple[str, Calls]]:
        return self._by(kind, self.member_of)

    def _by(self, kind: str, name_of: Callable[[Charged], str]) -> list[tuple[str, Calls]]:
        groups: dict[str, list[Calls]] = {}
        for row in self.charged:
            if row.kind == kind:
                groups.setdefault(name_of(row), []).append(row.calls)
        found = [(name, _added(calls)) for name, calls in groups.items()]
        return sorted(found, key=lambda item: (item[1].amount, item[0]))

    def of_own_keys(self) -> list[tuple[str, Calls]]:
        named = [(self.llms[key], calls) for key, calls in self.own_keys.items()]
        return sorted(named, key=lambda item: (-item[1].amount, -item[1].count, item[0]))

    def listed(self, kind: str) -> list[Movement]:
        return [movement for movement in self.movements if movement.kind == kind]

    def unlisted(self, kind: str) -> Calls:
        """The movements of a kind that there was no room for."""
        listed, total = self.listed(kind), self.totals.get(kind, Calls())
        return Calls(total.count - len(listed), 0, total.amount - sum((one.amount for one in listed), ZERO))

    # The proof

    @property
    def count(self) -> int:
        """How many movements the ledger numbered in the month."""
        return self.last - self.first + 1

    @cached_property
    def difference(self) -> Decimal:
        """What everything that is shown lacks to the closing balance: nothing."""
        return self.closing - self.opening - self.amount(*self.totals)

    @property
    def agrees(self) -> bool:
        """With the ledger: every movement is here, and together they lead from one balance to the other."""
        counted = sum(total.count for total in self.totals.values())
        rests = [self.unlisted(kind) for kind in SINGLE]
        return not self.difference and counted == self.count and all(rest.count or not rest.amount for rest in rests)


def statement(
    workspace: Workspace, month: Month, *, now: datetime | None = None, listed: int | None = LISTED
) -> Statement:
    """The month of a workspace, with at most ``listed`` movements of each kind one by one (None: all). Eight queries."""
    now = now or timezone.now()
    wallet = _with_edges(workspace.pk, month)
    events = BillingEvent.objects.filter(workspace_id=workspace.pk)
    start, end = _boundaries(events, wallet)
    if wallet is not None:
        events = events.filter(wallet_id=wallet.pk)
    edges = {seq: (balance, at) for seq, balance, at in _edges(events, {1, start, end})}
    within = events.filter(seq__gt=start, seq__lte=end)
    charged = _summed(within, month) if end > start else []
    totals = _totals(charged)
    movements = _movements(within, listed) if set(totals) & set(SINGLE) else ()
    own_keys = _on_own_keys(workspace.pk, month)
    llms = _llms({row.llm_id for row in charged} | set(own_keys))
    members = _members(row.user_id for row in charged)
    since = min([workspace.created_at, *(at for _, at in edges.values())])
    return Statement(
        workspace=workspace,
        month=month,
        is_provisional=month.is_provisional(now),
        first=start + 1,
        last=end,
        opening=edges[start][0] if start else ZERO,
        closing=edges[end][0] if end else ZERO,
        charged=tuple(row for row in charged if row.kind in CALLS),
        totals=totals,
        movements=movements,
        own_keys=own_keys,
        llms=llms,
        members=members,
        since=min(Month.of(since), month),
    )


def _with_edges(workspace_id: uuid.UUID, month: Month) -> Any:
    """The wallet, and when its latest movements before the month and before its end are of."""
    events = BillingEvent.objects.filter(workspace_id=OuterRef("workspace_id")).order_by("-created_at", "-id")

    def latest(moment: datetime) -> Subquery:
        return Subquery(events.filter(created_at__lt=moment).values("created_at")[:1])

    wallets = Wallet.objects.filter(workspace_id=workspace_id)
    return wallets.annotate(before=latest(month.start), within=latest(month.end)).first()


def _boundaries(events: QuerySet[BillingEvent], wallet: Any) -> tuple[int, int]:
    """The largest numbers before the beginning and the end. They are those of movements shortly before the latest, so a few
    minutes are read; by the workspace alone, because with the wallet the whole chain might be walked.
    """
    if wallet is None or wallet.within is None:
        return 0, 0
    # What is later than the latest before the end is of the next month, so both ends are closed.
    before = Q(created_at__range=(wallet.before - SKEW, wallet.before)) if wallet.before else None
    within = Q(created_at__range=(wallet.within - SKEW, wallet.within))
    sums: dict[str, Any] = {"end": Max("seq", filter=within)}
    if before is not None:
        sums["start"] = Max("seq", filter=before)
    found = events.filter(within | before if before is not None else within).aggregate(**sums)
    return found.get("start") or 0, found["end"] or 0


def _edges(events: QuerySet[BillingEvent], numbers: set[int]) -> Iterable[tuple[int, Decimal, datetime]]:
    return events.filter(seq__in=numbers).values_list("seq", "balance_after", "created_at")


def _summed(events: QuerySet[BillingEvent], month: Month) -> list[Charged]:
    """All movements in one reading. A call is one movement, so nothing is there twice.

    The calls are looked for around the month first, which is much faster than one by one; if one isn't there, everywhere.
    """
    near = Q(usage_logs__created_at__range=(month.start - 2 * SKEW, month.end + SKEW))
    found = _read(events.annotate(call=FilteredRelation("usage_logs", condition=near)), "call")
    if any(row.llm_id is None for row in found if row.kind in CALLS):
        found = _read(events, "usage_logs")
    return found


def _read(events: QuerySet[Any], call: str) -> list[Charged]:
    rows = (
        events.order_by()
        .values_list("event_type", f"{call}__llm_id", "user_id")
        .annotate(count=Count("*"), tokens=Sum(f"{call}__total_tokens"), amount=Sum("amount_usd"))
    )
    return [
        Charged(kind, llm_id, user_id, Calls(count, tokens or 0, amount))
        for kind, llm_id, user_id, count, tokens, amount in rows
    ]


def _totals(rows: Iterable[Charged]) -> dict[str, Calls]:
    kinds: dict[str, list[Calls]] = {}
    for row in rows:
        kinds.setdefault(row.kind, []).append(row.calls)
    return {kind: _added(calls) for kind, calls in kinds.items()}


def _added(calls: Iterable[Calls]) -> Calls:
    """All together. There may be one for each member and model, so numbers are added up rather than objects."""
    count, tokens, amount = 0, 0, ZERO
    for one in calls:
        count += one.count
        tokens += one.tokens
        amount += one.amount
    return Calls(count, tokens, amount)


def _movements(events: QuerySet[Any], listed: int | None) -> tuple[Movement, ...]:
    """The first ``listed`` of each kind, in one reading."""
    events = events.filter(event_type__in=SINGLE).order_by("seq").only(*_OF_A_MOVEMENT)
    if listed is not None:
        place = Window(RowNumber(), partition_by=F("event_type"), order_by=F("seq").asc())
        events = events.annotate(place=place).filter(place__lte=listed)
    return tuple(
        Movement(
            id=event.pk,
            seq=event.seq,
            at=event.created_at,
            kind=event.event_type,
            amount=event.amount_usd,
            description=event.description,
            # What a payment is called at the bank says more to people than our name of it.
            reference=event.payment_transaction_id or event.reference,
        )
        for event in events
    )


_OF_A_MOVEMENT = (
    "workspace_id", "seq", "created_at", "event_type", "amount_usd", "description", "reference", "payment_transaction_id",
)  # fmt: skip


def _on_own_keys(workspace_id: uuid.UUID, month: Month) -> dict[uuid.UUID, Calls]:
    wanted = Wanted(workspace_id, key_sources=OWN_KEYS)
    answer = query.figures(wanted, edges=[month.start, month.end], by=("llm",))
    return {
        key[0]: Calls(figures.calls, figures.total_tokens, figures.cost_usd)
        for (_, key), figures in answer.figures.items()
    }


def _llms(keys: Iterable[uuid.UUID | None]) -> dict[uuid.UUID, str]:
    wanted = {key for key in keys if key}
    return {llm.pk: str(llm) for llm in LLM.objects.filter(pk__in=wanted)} if wanted else {}


def _members(keys: Iterable[uuid.UUID | None]) -> dict[uuid.UUID, str]:
    wanted = {key for key in keys if key}
    rows = User.objects.filter(pk__in=wanted).values_list("pk", "name", "email") if wanted else []
    return {pk: f"{name} ({email})" if name else email for pk, name, email in rows}


def _name(names: dict[uuid.UUID, str], key: uuid.UUID | None) -> str:
    return names[key] if key else ""
