"""A statement as PDF, for whoever pays: the lines of the page, on paper. The same statement gives the same bytes."""

from __future__ import annotations

import io
from functools import partial
from typing import Any

from django.utils import translation
from django.utils.translation import gettext as _
from reportlab.lib import colors
from reportlab.lib.enums import TA_RIGHT
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import CondPageBreak, Flowable, Paragraph, SimpleDocTemplate, Spacer, Table, TableStyle

from office.pdf_text import BOLD, REGULAR, markup, register_fonts
from office.statement_sections import Section, about, proof, provisional, sections, summary
from office.statements import Statement

MARGIN = 18 * mm
WIDTH = A4[0] - 2 * MARGIN
_FRAME = 6  # what a frame leaves empty at its sides
_INK, _GREY, _RULE, _RED = (colors.HexColor(code) for code in ("#111827", "#4b5563", "#d1d5db", "#b91c1c"))


def write(statement: Statement) -> bytes:
    register_fonts()
    title = _("Statement of %(workspace)s, %(month)s") % {
        "workspace": statement.workspace.name,
        "month": statement.month.name,
    }
    out = io.BytesIO()
    document = SimpleDocTemplate(
        out,
        pagesize=A4,
        leftMargin=MARGIN - _FRAME,
        rightMargin=MARGIN - _FRAME,
        topMargin=MARGIN,
        bottomMargin=MARGIN + 6 * mm,
        title=title,
        author="SynapScale",
        lang=translation.get_language(),
        invariant=1,  # no date and no chance in it
    )
    document.build(_story(statement), canvasmaker=partial(_Numbered, title=title))
    return out.getvalue()


def _story(statement: Statement) -> list[Flowable]:
    story: list[Flowable] = [
        Paragraph("SynapScale", _GREY_TEXT),
        Paragraph(markup(_("Statement")), _TITLE),
        Paragraph(markup(statement.workspace.name), _WORKSPACE),
        Paragraph(markup(f"{statement.month.name} · {statement.workspace.slug}"), _GREY_TEXT),
        Spacer(0, 4 * mm),
    ]
    if said := provisional(statement):
        story += [Paragraph(markup(said), _LOUD), Spacer(0, 2 * mm)]
    story += [_summary(statement), Spacer(0, 2 * mm)]
    story += [Paragraph(markup(proof(statement)), _SMALL if statement.agrees else _LOUD)]
    story += [Paragraph(markup(about(statement)), _SMALL)]
    for section in sections(statement):
        # A heading stays with the first rows of its table.
        story += [CondPageBreak(45 * mm), Spacer(0, 6 * mm), Paragraph(markup(section.title), _HEADING)]
        if section.note:
            story += [Paragraph(markup(section.note), _SMALL), Spacer(0, 1 * mm)]
        story.append(_table(section))
    return story


def _summary(statement: Statement) -> Table:
    lines = summary(statement)
    rows = [
        [
            Paragraph(markup(line.label), _STRONG if line.is_balance else _TEXT),
            Paragraph(markup(line.amount), _STRONG_NUMBER if line.is_balance else _NUMBER),
        ]
        for line in lines
    ]
    return Table(
        rows, colWidths=[WIDTH * 0.55, WIDTH * 0.45], style=[*_PADDING, ("LINEBELOW", (0, 0), (-1, -1), 0.4, _RULE)]
    )


def _table(section: Section) -> Table:
    def cells(texts: tuple[str, ...], words: ParagraphStyle, numbers: ParagraphStyle) -> list[Paragraph]:
        return [
            Paragraph(markup(text), words if place < section.texts else numbers) for place, text in enumerate(texts)
        ]

    rows = [
        cells(section.heads, _STRONG, _STRONG_NUMBER),
        *(cells(row.cells, _TEXT, _NUMBER) for row in section.rows),
        cells(section.total, _STRONG, _STRONG_NUMBER),
    ]
    style = TableStyle(
        [
            *_PADDING,
            ("LINEBELOW", (0, 0), (-1, 0), 0.8, _INK),
            ("LINEBELOW", (0, 1), (-1, -2), 0.4, _RULE),
            ("LINEABOVE", (0, -1), (-1, -1), 0.8, _INK),
        ]
    )
    shares = (0.46, 0.12, 0.17, 0.25) if section.texts == 1 else (0.18, 0.34, 0.25, 0.23)
    return Table(rows, colWidths=[WIDTH * share for share in shares], style=style, repeatRows=1)


_PADDING: list[Any] = [
    ("VALIGN", (0, 0), (-1, -1), "TOP"),
    ("LEFTPADDING", (0, 0), (-1, -1), 0),
    ("RIGHTPADDING", (0, 0), (-2, -1), 4),
    ("RIGHTPADDING", (-1, 0), (-1, -1), 0),
    ("TOPPADDING", (0, 0), (-1, -1), 2.5),
    ("BOTTOMPADDING", (0, 0), (-1, -1), 2.5),
]


def _style(name: str, *, font: str = REGULAR, size: float = 8, **more: Any) -> ParagraphStyle:
    return ParagraphStyle(name, fontName=font, fontSize=size, leading=size * 1.35, textColor=_INK, **more)


_TEXT = _style("text")
_NUMBER = _style("number", alignment=TA_RIGHT)
_STRONG = _style("strong", font=BOLD)
_STRONG_NUMBER = _style("strong number", font=BOLD, alignment=TA_RIGHT)
_TITLE = _style("title", font=BOLD, size=18, spaceAfter=4)
_WORKSPACE = _style("workspace", font=BOLD, size=12)
_HEADING = _style("heading", font=BOLD, size=10.5, spaceAfter=3)
_SMALL = _style("small", size=7.5)
_GREY_TEXT = _style("grey")
_GREY_TEXT.textColor = _GREY
_SMALL.textColor = _GREY
_LOUD = _style("loud", font=BOLD, size=9)
_LOUD.textColor = _RED


class _Numbered(Canvas):
    """Says on each page which of how many it is, which is known at the end."""

    def __init__(self, *args: Any, title: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._title_below = title
        self._pages: list[dict[str, Any]] = []

    def showPage(self) -> None:  # noqa: N802
        self._pages.append(dict(self.__dict__))
        self._startPage()

    def save(self) -> None:
        pages = self._pages
        for number, state in enumerate(pages, 1):
            self.__dict__.update(state)
            self._foot(_("Page %(page)s of %(pages)s") % {"page": number, "pages": len(pages)})
            super().showPage()
        super().save()

    def _foot(self, text: str) -> None:
        below = Paragraph(markup(text), _FOOT)
        _width, height = below.wrap(40 * mm, 10 * mm)
        below.drawOn(self, MARGIN + WIDTH - 40 * mm, MARGIN - height)
        name = Paragraph(markup(self._title_below), _SMALL)
        _width, height = name.wrap(WIDTH - 42 * mm, 20 * mm)
        name.drawOn(self, MARGIN, MARGIN - height)


_FOOT = _style("foot", size=7.5, alignment=TA_RIGHT)
_FOOT.textColor = _GREY
