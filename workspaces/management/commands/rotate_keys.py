from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from workspaces import sealed


class Command(BaseCommand):
    help = (
        "Encrypt every secret again that is not under the first of MASTER_KEYS. Exits 1 when one can't be decrypted. "
        "Restart all servers with the new key first; remove the old one when nothing is found any more."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="Only say how many there are, and try to read them.")

    def handle(self, *args: Any, **options: Any) -> None:
        is_dry_run: bool = options["dry_run"]
        report = sealed.reseal(is_dry_run=is_dry_run, tell=self.stdout.write)
        done = "could be re-encrypted" if is_dry_run else "re-encrypted"
        self.stdout.write(
            f"rotate_keys: {report.found} found, {report.resealed} {done}, {report.changed} changed meanwhile, "
            f"{len(report.unreadable)} unreadable"
        )
        if report.unreadable:
            raise SystemExit(1)
