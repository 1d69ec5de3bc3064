from __future__ import annotations

from argparse import ArgumentTypeError
from datetime import date
from typing import Any
from zoneinfo import ZoneInfo

from django.core.management.base import BaseCommand, CommandError, CommandParser
from rest_framework.serializers import ValidationError

from conversations.windows import zone
from office.usage_report import By, Format, usage_report, write
from synapscale.common.errors import Refusal
from workspaces.models import Workspace


def day(text: str) -> date:
    """A day as it is typed."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ArgumentTypeError(f"“{text}” is no day: write it like 2026-10-01") from None


def time_zone(text: str) -> ZoneInfo:
    """A time zone by its name."""
    try:
        return zone(text)
    except ValidationError:
        raise ArgumentTypeError(f"“{text}” is no time zone: write it like America/Sao_Paulo") from None


class Command(BaseCommand):
    help = (
        "What calls used and cost, by day, model, provider, user, workspace or tag: the figures of the analytics pages. By "
        "tag, a call counts under each of its tags and once in the total."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--from", dest="first", required=True, type=day, metavar="DAY")
        parser.add_argument(
            "--to",
            dest="before",
            required=True,
            type=day,
            metavar="DAY",
            help="The day after the last: October is --from 2026-10-01 --to 2026-11-01.",
        )
        parser.add_argument("--by", default=By.DAY, choices=list(By), help="default: day")
        parser.add_argument("--format", default=Format.TABLE, choices=list(Format), help="default: table")
        parser.add_argument(
            "--tz", default="UTC", type=time_zone, help="Where days begin, like America/Sao_Paulo; default: UTC"
        )
        parser.add_argument("--workspace", metavar="SLUG", help="The calls of one workspace; needed for --by tag.")
        parser.add_argument(
            "--tag", default="", help="With --by tag: a tag, or the beginning of some, like “customer:*”."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        workspace = None
        if options["workspace"]:
            workspace = Workspace.objects.filter(slug=options["workspace"]).first()
            if workspace is None:
                raise CommandError(f"--workspace: There is no workspace {options['workspace']}.")
        try:
            report = usage_report(
                first=options["first"],
                before=options["before"],
                by=By(options["by"]),
                tz=options["tz"],
                workspace=workspace,
                tag=options["tag"],
            )
        except Refusal as refusal:
            option = next(iter(refusal.details), "")
            raise CommandError(f"--{option}: {refusal.message}" if option else refusal.message) from None
        for piece in write(report, Format(options["format"])):
            self.stdout.write(piece.decode(), ending="")
