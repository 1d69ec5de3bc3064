from __future__ import annotations

import os
from argparse import ArgumentTypeError
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from office import statement_csv, statement_pdf, statement_table
from office.statement_sections import proof
from office.statements import Month, NotAMonth, Statement, statement
from workspaces.models import Workspace

FORMATS = ("table", "csv", "pdf")


def month(text: str) -> Month:
    """A month as it is typed."""
    try:
        found = Month.parse(text)
    except NotAMonth:
        raise ArgumentTypeError(f"“{text}” is no month: write it like 2026-10") from None
    if found.start > timezone.now():
        raise ArgumentTypeError(f"{found} has not begun yet")
    return found


class Command(BaseCommand):
    help = (
        "A workspace's month from balance to balance: credits, usage by model and member, own-key usage, adjustments. Ends "
        "with 1 where it does not agree with the ledger."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--workspace", required=True, metavar="SLUG")
        parser.add_argument("--month", type=month, help="Of UTC, like 2026-10; default: the last that is over.")
        parser.add_argument("--format", default="table", choices=FORMATS, help="default: table")
        parser.add_argument(
            "--output",
            metavar="FILE",
            help="The file to write, readable by its owner only; otherwise standard output. A PDF needs one.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        workspace = Workspace.objects.filter(slug=options["workspace"]).first()
        if workspace is None:
            raise CommandError(f"--workspace: There is no workspace {options['workspace']}.")
        if options["format"] == "pdf" and not options["output"]:
            raise CommandError("--output: A PDF needs a file: say which.")
        now = timezone.now()
        wanted = options["month"] or Month.of(now).previous
        listed = {"listed": None} if options["format"] == "csv" else {}
        found = statement(workspace, wanted, now=now, **listed)
        content = _content(found, options["format"])
        if options["output"]:
            _write(options["output"], content)
        else:
            self.stdout.write(content.decode(), ending="")
        if not found.agrees:
            raise CommandError(proof(found))


def _content(found: Statement, format_: str) -> bytes:
    if format_ == "pdf":
        return statement_pdf.write(found)
    if format_ == "csv":
        return b"".join(statement_csv.write(found))
    return "".join(f"{line}\n" for line in statement_table.lines(found)).encode()


def _write(path: str, content: bytes) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    except OSError as error:
        raise CommandError(f"--output: {path} can't be written: {error.strerror}.") from None
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
