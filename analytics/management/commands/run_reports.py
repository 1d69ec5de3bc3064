from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from analytics.reports import runs


class Command(BaseCommand):
    help = (
        "Make the runs of reports that are due, and mail the links to them. Safe at any time and any number of times. "
        "Exits 1 when a run or a mail failed."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        done = runs.run_due()
        self.stdout.write(f"run_reports: {done}")
        if done.failed:
            raise SystemExit(1)
