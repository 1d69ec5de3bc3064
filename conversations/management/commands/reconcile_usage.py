from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from conversations.reconciling import reconcile


class Command(BaseCommand):
    help = "Meter final answers that have no usage log (saved around the signal). Exits 1 when one can't be metered."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="Only say which there are.")

    def handle(self, *args: Any, **options: Any) -> None:
        report = reconcile(is_dry_run=options["dry_run"])
        for line in report.lines:
            self.stdout.write(line)
        self.stdout.write(f"reconcile_usage: {report.found} found, {report.metered} metered, {report.failed} failed")
        if report.failed:
            raise SystemExit(1)
