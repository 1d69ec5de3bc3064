"""A statement as one flat table for spreadsheets and programs: the column of amounts adds up to the closing balance."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal

from django.utils.translation import gettext as _

from analytics.reports import csv_format
from analytics.reports.columns import Column, Row, Table, Type
from office.statement_sections import TITLES, proof, provisional
from office.statements import Calls, Statement
from synapscale.common.money import usd_text


def write(statement: Statement) -> Iterator[bytes]:
    """The file, in pieces. ``statement`` must have all its movements (``listed=None``). Numbers are written as programs
    read them, whatever the language: that of the words alone is the reader's.
    """
    columns = (
        Column(_("Section")),
        Column(_("Time, UTC"), Type.TIME),
        Column(_("Model")),
        Column(_("Member")),
        Column(_("Description")),
        Column(_("Reference")),
        Column(_("Calls"), Type.INTEGER),
        Column(_("Tokens"), Type.INTEGER),
        Column(_("Amount, USD"), Type.DECIMAL),
        Column(_("Balance, USD"), Type.DECIMAL),
        Column(_("Own-key cost, USD"), Type.DECIMAL),
    )
    return csv_format.write(Table(columns, iter([list(_rows(statement))])))


def _rows(statement: Statement) -> Iterator[Row]:
    title = _("%(workspace)s, %(month)s") % {"workspace": statement.workspace.name, "month": statement.month}
    yield _row(_("Opening balance"), said=title, amount=statement.opening, balance=statement.opening)
    for kind, name in TITLES.items():
        section = str(name)
        rows = [
            (statement.model_of(row), statement.member_of(row), row.calls)
            for row in statement.charged
            if row.kind == kind
        ]
        for model, member, calls in sorted(rows, key=lambda row: row[:2]):
            yield _row(section, model=model, member=member, calls=calls, amount=calls.amount)
        for one in statement.listed(kind):
            yield _row(section, at=one.at, said=one.description, reference=one.reference, amount=one.amount)
    said = " ".join(filter(None, [provisional(statement), proof(statement)]))
    yield _row(_("Closing balance"), said=said, balance=statement.closing)
    for model, calls in statement.of_own_keys():
        yield _row(_("Own-key usage"), model=model, calls=calls, own_key_cost=calls.amount)


def _row(
    section: str,
    *,
    at: datetime | None = None,
    model: str = "",
    member: str = "",
    said: str = "",
    reference: str = "",
    calls: Calls | None = None,
    amount: Decimal | None = None,
    balance: Decimal | None = None,
    own_key_cost: Decimal | None = None,
) -> Row:
    counts = (calls.count, calls.tokens) if calls else (None, None)
    money = (None if value is None else usd_text(value) for value in (amount, balance, own_key_cost))
    return section, at, model, member, said, reference, *counts, *money
