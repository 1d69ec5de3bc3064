"""Makes the sums of usage again from the calls: ``manage.py rebuild_rollups``."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from analytics import rollups


class Command(BaseCommand):
    help = "Make the sums of usage again from the calls. No figure changes; until it is done, the old sums are read."

    def handle(self, *args: Any, **options: Any) -> None:
        self.stdout.write(f"{rollups.rebuild()} calls summed, {rollups.roll_up()} added that came meanwhile")
