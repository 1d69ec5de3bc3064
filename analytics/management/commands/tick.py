from __future__ import annotations

import asyncio
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.utils import timezone

from llm import client
from synapscale.common import periodic
from synapscale.common.models import PeriodicJob


class Command(BaseCommand):
    help = (
        "Do the periodic work that is due, once, whoever else calls and however often. Exits 1 when a job failed; the "
        "others have run all the same."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        how = parser.add_mutually_exclusive_group()
        how.add_argument("--all", action="store_true", help="Run every job now, due or not.")
        how.add_argument("--list", action="store_true", help="Run nothing; show how each job stands.")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["list"]:
            self._list()
            return
        results = asyncio.run(_run(is_forced=options["all"]))
        for result in results:
            outcome = result.report or ("failed" if result.has_failed else "done")
            outcome += f" ({result.error})" if result.has_failed else ""
            self.stdout.write(f"{result.job.name}: {outcome}")
        if not results:
            self.stdout.write("tick: nothing is due")
        if any(result.has_failed for result in results):
            raise SystemExit(1)

    def _list(self) -> None:
        rows, now = PeriodicJob.objects.in_bulk(), timezone.now()
        for job in periodic.jobs():
            row = rows.get(job.name) or PeriodicJob(name=job.name)
            every = f"every {job.seconds} s" if job.seconds else "with every tick"
            where = ", in each process" if job.is_everywhere else ""
            facts = [
                f"last success {row.succeeded_at:%Y-%m-%dT%H:%M:%SZ}" if row.succeeded_at else "no success yet",
                f"{row.runs} runs, {row.failures} failed",
            ]
            if row.running_until and row.running_until > now:
                facts.append("running")
            if row.error:
                facts.append(f"last error {row.error}")
            self.stdout.write(f"{job.name}: {job.description}; {every}{where}; {'; '.join(facts)}")


async def _run(*, is_forced: bool) -> list[periodic.Result]:
    try:
        return await periodic.run_due(is_forced=is_forced)
    finally:
        await client.aclose_all()
