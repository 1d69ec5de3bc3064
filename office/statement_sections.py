"""What a statement shows to people, in their language: the same lines on the page and in the PDF."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC

from django.utils import formats
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from office import shown
from office.statements import LISTED, SINGLE, Calls, Movement, Statement, Type
from synapscale.common import stored_words
from synapscale.common.amounts import dollars

TITLES = {
    Type.CREDIT: gettext_lazy("Credits"),
    Type.SUBSCRIPTION: gettext_lazy("Subscriptions"),
    Type.USAGE: gettext_lazy("Usage"),
    Type.FEE: gettext_lazy("Platform fees"),
    Type.REFUND: gettext_lazy("Refunds"),
    Type.ADJUSTMENT: gettext_lazy("Adjustments"),
}
"""Of the kinds of movements, in the order of a statement."""


@dataclass(frozen=True, slots=True)
class Line:
    label: str
    amount: str
    is_balance: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    cells: tuple[str, ...]
    event: uuid.UUID | None = None
    """The movement that it is."""


@dataclass(frozen=True, slots=True)
class Section:
    title: str
    note: str
    heads: tuple[str, ...]
    texts: int
    """So many columns from the left are words; the others are numbers."""
    rows: tuple[Row, ...]
    total: tuple[str, ...]


def summary(statement: Statement) -> list[Line]:
    """From balance to balance."""
    return [
        Line(_("Opening balance"), dollars(statement.opening), is_balance=True),
        *(Line(str(title), dollars(statement.amount(kind))) for kind, title in TITLES.items()),
        Line(_("Closing balance"), dollars(statement.closing), is_balance=True),
    ]


def proof(statement: Statement) -> str:
    """Whether the lines lead from balance to balance, in words."""
    if not statement.agrees:
        return _(
            "This statement does not agree with the ledger: its lines and the closing balance are %(difference)s apart, "
            "and of %(count)s movements %(shown)s are in it. Do not send it; run “manage.py audit_ledger”."
        ) % {
            "difference": dollars(statement.difference),
            "count": shown.count(statement.count),
            "shown": shown.count(sum(total.count for total in statement.totals.values())),
        }
    if not statement.count:
        return _("Agrees with the ledger: nothing moved the balance in this month.")
    return ngettext(
        "Agrees with the ledger: its one movement of the month, number %(last)s, leads from the opening to the closing "
        "balance to the last digit.",
        "Agrees with the ledger: its %(count)s movements of the month, numbers %(first)s to %(last)s, lead from the opening "
        "to the closing balance to the last digit.",
        statement.count,
    ) % {
        "count": shown.count(statement.count),
        "first": shown.count(statement.first),
        "last": shown.count(statement.last),
    }


def provisional(statement: Statement) -> str:
    """What is to be said of a month that may still change; nothing of one that may not."""
    if not statement.is_provisional:
        return ""
    return _("Provisional: the month may still change until an hour after its end.")


def about(statement: Statement) -> str:
    return _("Amounts are in US dollars, to the last digit. The month is that of UTC.")


def sections(statement: Statement) -> list[Section]:
    """What the lines of the summary are made of, and calls on own keys; without those that there is nothing of."""
    found = [_of_movements(statement, kind) for kind in SINGLE if kind in statement.totals]
    usage, fees = statement.totals.get(Type.USAGE), statement.totals.get(Type.FEE)
    if usage:
        model, member = statement.by_model(Type.USAGE), statement.by_member(Type.USAGE)
        found.append(_of_calls(_("Usage by model"), "", _("Model"), _("No model"), model, usage))
        note = _("The same usage, told apart by who asked.")
        found.append(_of_calls(_("Usage by member"), note, _("Member"), _("Nobody"), member, usage))
    if fees:
        note = _("For calls on own keys: a part of what the provider asks for them.")
        by_model = statement.by_model(Type.FEE)
        found.append(_of_calls(str(TITLES[Type.FEE]), note, _("Model"), _("No model"), by_model, fees))
    if own := statement.of_own_keys():
        note = _(
            "Calls on keys of members or of the workspace. The providers charge for them, the wallet does not: these amounts, "
            "by the providers’ prices, are no part of the balance."
        )
        total = sum((calls for _name, calls in own), Calls())
        found.append(_of_calls(_("Own-key usage"), note, _("Model"), "", own, total))
    return found


def _of_calls(
    title: str, note: str, head: str, nobody: str, rows: Iterable[tuple[str, Calls]], total: Calls
) -> Section:
    rows = list(rows)
    lines = [Row((name or nobody, *_numbers(calls))) for name, calls in rows[:LISTED]]
    if rest := rows[LISTED:]:
        label = ngettext("%(count)s other", "%(count)s others", len(rest)) % {"count": shown.count(len(rest))}
        lines.append(Row((label, *_numbers(sum((calls for _name, calls in rest), Calls())))))
    heads = (head, _("Calls"), _("Tokens"), _("Amount"))
    return Section(title, note, heads, 1, tuple(lines), (_("Total"), *_numbers(total)))


def _numbers(calls: Calls) -> tuple[str, str, str]:
    return shown.count(calls.count), shown.count(calls.tokens), dollars(calls.amount)


def _of_movements(statement: Statement, kind: str) -> Section:
    rows = [_of_movement(movement) for movement in statement.listed(kind)]
    note, rest = "", statement.unlisted(kind)
    if rest.count:
        note = _("Only the first %(listed)s are listed; the CSV has all.") % {"listed": shown.count(len(rows))}
        label = ngettext("%(count)s other", "%(count)s others", rest.count) % {"count": shown.count(rest.count)}
        rows.append(Row((label, "", "", dollars(rest.amount))))
    heads = (_("Time, UTC"), _("Description"), _("Reference"), _("Amount"))
    total = (_("Total"), "", "", dollars(statement.amount(kind)))
    return Section(str(TITLES[Type(kind)]), note, heads, 3, tuple(rows), total)


def _of_movement(movement: Movement) -> Row:
    moment = movement.at.astimezone(UTC)
    at = f"{formats.date_format(moment, 'DATE_FORMAT')} {moment:%H:%M}"
    said = stored_words.in_language("billing.BillingEvent.description", movement.description)
    cells = (at, said, movement.reference, dollars(movement.amount))
    return Row(cells, event=movement.id)
