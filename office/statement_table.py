"""A statement as lines of text, for a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from office.statement_sections import Section, about, proof, provisional, sections, summary
from office.statements import Statement


def lines(statement: Statement) -> Iterator[str]:
    """Columns that line up, numbers to the right."""
    yield _safe(f"{statement.workspace.name} ({statement.workspace.slug}), {statement.month.name}")
    if said := provisional(statement):
        yield said
    yield ""
    yield from _aligned([(line.label, line.amount) for line in summary(statement)], texts=1)
    yield ""
    yield proof(statement)
    yield about(statement)
    for section in sections(statement):
        yield from ("", section.title, *([section.note] if section.note else []))
        yield from _section(section)


def _section(section: Section) -> Iterator[str]:
    head, *rows, total = _aligned(
        [section.heads, *(row.cells for row in section.rows), section.total], texts=section.texts
    )
    yield from (head, "-" * len(head), *rows, "-" * len(head), total)


def _aligned(rows: list[tuple[str, ...]], *, texts: int) -> list[str]:
    cells = [[_safe(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if place < texts else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in cells
    ]


def _safe(text: str) -> str:
    """One line that takes no control of the terminal it is shown on."""
    return "".join(letter if letter.isprintable() else "�" for letter in text)
