from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from llm.catalogue import CatalogueError, seed

FIXTURE = Path(__file__).resolve().parents[3] / "fixtures" / "llms.json"


class Command(BaseCommand):
    help = "Stores the LLMs and prices of a file. It can be run again at any time; prices are superseded, never edited."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--file", type=Path, default=FIXTURE, help="default: %(default)s")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            report = seed(options["file"])
        except CatalogueError as error:
            raise CommandError(f"Nothing was stored. {error}") from None
        for line in report.changes:
            self.stdout.write(line)
        self.stdout.write(
            f"{report.created} created, {report.updated} updated, {report.superseded} prices superseded, "
            f"{report.unchanged} unchanged."
        )
