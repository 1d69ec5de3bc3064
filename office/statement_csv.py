"""A statement as one flat table for spreadsheets and programs: the column of amounts adds up to the closing balance."""

from __future__ import annotations

from collections.abc import Iterator

from django.utils.translation import gettext as _

from analytics.reports import csv_format
from analytics.reports.columns import Column, Row, Table, Type
from office.statement_sections import TITLES, proof, provisional
from office.statements import CALLS, Statement
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
    opening, closing = usd_text(statement.opening), usd_text(statement.closing)
    title = _("%(workspace)s, %(month)s") % {"workspace": statement.workspace.name, "month": statement.month}
    yield _("Opening balance"), None, None, None, title, None, None, None, opening, opening, None
    for kind, section in TITLES.items():
        if kind in CALLS:
            for row in statement.charged:
                if row.kind == kind:
                    calls = row.calls
                    yield (
                        *(
                            str(section),
                            None,
                            statement.model_of(row),
                            statement.member_of(row),
                            None,
                            None,
                            calls.count,
                            calls.tokens,
                        ),
                        *(usd_text(calls.amount), None, None),
                    )
        for one in statement.listed(kind):
            yield (
                *(str(section), one.at, None, None, one.description, one.reference, None, None),
                *(usd_text(one.amount), None, None),
            )
    said = " ".join(filter(None, [provisional(statement), proof(statement)]))
    yield _("Closing balance"), None, None, None, said, None, None, None, None, closing, None
    for name, calls in statement.of_own_keys():
        yield (
            *(_("Own-key usage"), None, name, None, None, None, calls.count, calls.tokens),
            *(None, None, usd_text(calls.amount)),
        )
