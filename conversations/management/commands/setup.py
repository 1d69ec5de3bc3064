from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import OperationalError, connection, transaction
from django.db.migrations.executor import MigrationExecutor

from conversations import trial
from conversations.reconciling import reconcile
from conversations.sweeper import sweep
from conversations.verification import verify
from llm import catalogue
from synapscale.common import memory

Step = tuple[str, Callable[[], str]]


class Command(BaseCommand):
    help = (
        "Prepare an installation: migrate, seed the models, collect static files, finish what dead processes left, "
        "verify. May be run again any time. When a step that prepares it fails, it says which, and the database is left "
        "as it was found."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--demo", action="store_true", help="Also make a trial workspace with the offline model.")
        parser.add_argument(
            "--address", default="", help="Where the server will answer; with --demo, prints how to use it."
        )

    def handle(self, *args: Any, demo: bool, address: str, **options: Any) -> None:
        prepare: list[Step] = [("migrate", _migrate), ("seed models", _seed)]
        if demo:
            prepare += [("demo model", _seed_demo), ("trial workspace", _prepare_trial)]
        prepare.append(("static files", _collect_static))
        # Neither is undone: calls that were finished have been charged, and looking changes nothing.
        look_after: list[Step] = [("leftovers", self._finish_leftovers), ("verify", self._verify)]
        self.total = len(prepare) + len(look_after)
        self.warnings: list[str] = []
        with _all_or_nothing():
            self._run(prepare, after=0, on_failure="The database is as it was before.")
        self._run(look_after, after=len(prepare), on_failure="What the steps before it did is kept.")
        for warning in self.warnings:
            self.stdout.write(self.style.WARNING(f"warning: {warning}"))
        if demo and address:
            self._introduce(address.rstrip("/"))

    def _run(self, steps: list[Step], *, after: int, on_failure: str) -> None:
        for number, (name, step) in enumerate(steps, start=after + 1):
            started = time.monotonic()
            try:
                result = step()
            except Exception as error:
                raise CommandError(f"step {number}/{self.total} “{name}” failed: {error}\n{on_failure}") from error
            self.stdout.write(f"[{number}/{self.total}] {name}: {result} ({time.monotonic() - started:.1f} s)")

    def _finish_leftovers(self) -> str:
        """A server does so too, once it runs; but what it left should not be what keeps it from starting."""
        swept, reconciled = sweep(), reconcile()
        if reconciled.failed:
            self.warnings.append(f"leftovers: {reconciled.failed} answers can't be metered; reconcile_usage says why")
        return f"{swept}, {reconciled.metered} reconciled"

    def _verify(self) -> str:
        checks = verify(is_quick=True)
        faults = [f"{check.name}: {'; '.join(check.faults[:5])}" for check in checks if check.faults]
        if faults:
            raise CommandError("; ".join(faults))
        self.warnings += [f"{check.name}: {finding}" for check in checks for finding in check.findings[:10]]
        return f"{sum(check.passed for check in checks)}/{len(checks)}, the books in part: audit_ledger proves them"

    def _introduce(self, address: str) -> None:
        access = trial.prepare()
        path = f"/api/v1/conversations/{access.conversation_id}/messages"
        curl = (
            f"curl -s {address}{path} -H 'Authorization: Bearer {access.token}' -H 'Content-Type: application/json' "
            """-d '{"content": "Hello, what are you?"}'"""
        )
        self.stdout.write(
            f"""
SynapScale on {address}

  Admin         {address}/admin/   {access.email} / {access.password}
  API docs      {address}/api/docs/
  Access token  {access.token}
  Conversation  {access.conversation_id}

Send a message (the answer comes from the offline demo model):

{curl}
"""
        )


def _migrate() -> str:
    pending = _pending()
    if pending:
        memory.keep_what_is_there()
        call_command("migrate", interactive=False, verbosity=0)
    return f"{pending} migrations applied" if pending else "nothing to do"


def _seed() -> str:
    report = catalogue.seed(settings.BASE_DIR / "fixtures" / "llms.json")
    return (
        f"{report.created} created, {report.updated} updated, "
        f"{report.superseded} prices superseded, {report.unchanged} unchanged"
    )


def _seed_demo() -> str:
    report = catalogue.seed(settings.BASE_DIR / "fixtures" / "demo_llm.json")
    return "created" if report.created else "there already"


def _prepare_trial() -> str:
    return f"workspace “{trial.SLUG}”, user {trial.prepare().email}"


def _collect_static() -> str:
    call_command("collectstatic", interactive=False, verbosity=0)
    return f"in {settings.STATIC_ROOT.name}/"


@contextmanager
def _all_or_nothing() -> Iterator[None]:
    """One transaction over all of it.

    On SQLite it has the file's only write lock from the first change to the last: a server beside it waits for its turn,
    and what is undone is what was done here. Tables can be rebuilt there only while no foreign key is looked at, which
    can't be switched within a transaction; so where migrations are pending, they are all looked at in the end.
    """
    with ExitStack() as stack:
        try:
            if connection.vendor == "sqlite":
                Path(str(connection.settings_dict["NAME"])).parent.mkdir(parents=True, exist_ok=True)
            is_unchecked = connection.vendor == "sqlite" and _pending() > 0
            if is_unchecked:
                stack.enter_context(connection.constraint_checks_disabled())
            stack.enter_context(transaction.atomic())
        except OperationalError as error:
            raise CommandError(f"The database can't be had: {error}\nNothing was changed.") from error
        yield
        if is_unchecked:
            connection.check_constraints()


def _pending() -> int:
    executor = MigrationExecutor(connection)
    return len(executor.migration_plan(executor.loader.graph.leaf_nodes()))
