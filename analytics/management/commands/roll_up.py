"""Adds the calls that the sums don't know yet to them: ``manage.py roll_up``. The server does so by itself."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from analytics import rollups


class Command(BaseCommand):
    help = "Bring the sums of usage up to date. Figures are exact without it; they only take longer."

    def handle(self, *args: Any, **options: Any) -> None:
        self.stdout.write(f"{rollups.roll_up()} calls added")
