from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from conversations.sweeper import sweep


class Command(BaseCommand):
    help = (
        "Finish the calls of processes that died: charge what had arrived, release the rest. "
        "Safe at any time and any number of times."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--ignore-leases",
            action="store_true",
            help="Also calls whose lease has not run out. Only while no server is running: it would cut live calls.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        self.stdout.write(f"sweep_holds: {sweep(ignores_leases=options['ignore_leases'])}")
