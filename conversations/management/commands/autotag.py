from __future__ import annotations

import asyncio
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from conversations import autotagging
from llm import client


class Command(BaseCommand):
    help = "Let rules look at the answers that are due. Servers do it by themselves every AUTOTAG_SECONDS."

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("--limit", type=int, default=10_000, help="Look at no more messages than this.")

    def handle(self, *args: Any, limit: int, **options: Any) -> None:
        report = asyncio.run(_run(limit))
        self.stdout.write(f"{report}")
        if report.failed:
            raise CommandError("Some messages could not be looked at; they will be tried again. See the log.")


async def _run(limit: int) -> autotagging.Report:
    try:
        return await autotagging.run_due(limit=limit)
    finally:
        await client.aclose_all()
