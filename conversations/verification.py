"""Five checks that an installation is sound, each told in a line."""

from __future__ import annotations

import io
import logging
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from django.apps import apps
from django.conf import settings
from django.core.management import call_command
from django.db import connection
from django.db.backends.utils import CursorWrapper
from django.db.migrations.executor import MigrationExecutor
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from conversations.audit import audit
from llm.errors import ProviderNotConfigured
from llm.models import LLM, LLMPrice
from llm.providers import adapter_for
from synapscale.common.models import TenantFK
from workspaces import crypto


@dataclass(frozen=True, slots=True)
class Check:
    """What one check found: ``faults`` of the installation, which must not be served like this, and ``findings`` about
    its data or its catalogue, which somebody should see to, and serving does not make worse.
    """

    name: str
    faults: list[str]
    findings: list[str]
    summary: str

    @property
    def problems(self) -> list[str]:
        return [*self.faults, *self.findings]

    @property
    def passed(self) -> bool:
        return not self.problems


Found = tuple[list[str], list[str], str]
"""Faults, findings, and what to say when there are none."""


def verify(*, is_quick: bool = False) -> list[Check]:
    """Run all five. A check that itself breaks counts as failed, with what it said.

    A quick one looks only at such data as do not grow with history, so that it can be part of every start.
    """
    checks: list[tuple[str, Callable[[], Found]]] = [
        ("relationships", partial(_relationships, is_quick=is_quick)),
        ("services", _services),
        ("endpoints", partial(_endpoints, is_quick=is_quick)),
        ("data consistency", partial(_data_consistency, is_quick=is_quick)),
        ("migrations", _migrations),
    ]
    results = []
    for name, check in checks:
        try:
            faults, findings, summary = check()
        except Exception as error:  # whatever is broken is what this is for
            faults, findings, summary = [f"{type(error).__name__}: {error}"], [], ""
        results.append(Check(name, faults, findings, summary))
    return results


def _relationships(*, is_quick: bool) -> Found:
    """Foreign keys between tenant rows are in the database, and no row points nowhere."""
    fields = [
        (model._meta.db_table, field)
        for model in apps.get_models()
        for field in model._meta.local_fields
        if isinstance(field, TenantFK)
    ]
    faults: list[str] = []
    findings: list[str] = []
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SELECT conrelid::regclass::text, conname FROM pg_constraint WHERE contype = 'f'")
            known = {(table.split(".")[-1].strip('"'), name) for table, name in cursor.fetchall()}
            faults += [
                f"{table}.{field.column} has no composite foreign key"
                for table, field in fields
                if (table, f"{table}_{field.column}_tenant_fk") not in known
            ]
        elif not is_quick:
            cursor.execute("PRAGMA foreign_key_check")
            findings += [f"{row[0]} row {row[1]} points to no row of {row[2]}" for row in cursor.fetchall()]
        triggers = _triggers(cursor)
    expected = _expected_triggers()
    faults += [f"trigger {name} is missing" for name in sorted(expected - triggers)]
    return faults, findings, f"{len(fields)} tenant keys, {len(expected)} guards"


def _expected_triggers() -> set[str]:
    names = {"holds_frozen", "wallets_bound", "llm_prices_write_once"}
    for_good = ("billing_events", "usage_logs", "hold_incidents")
    if connection.vendor == "postgresql":
        names |= {f"{table}_append_only" for table in for_good}
        return names | {f"{table}_no_truncate" for table in (*for_good, "llm_prices")}
    names |= {f"{table}_no_update" for table in for_good}
    return names | {f"{table}_no_delete" for table in (*for_good, "holds", "llm_prices")}


def _triggers(cursor: CursorWrapper) -> set[str]:
    if connection.vendor == "postgresql":
        cursor.execute("SELECT tgname FROM pg_trigger WHERE NOT tgisinternal AND tgenabled <> 'D'")
    else:
        cursor.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")
    return {row[0] for row in cursor.fetchall()}


def _services() -> Found:
    """Secrets can be sealed and opened, the spool can be written, every active model has a price and an adapter."""
    faults: list[str] = []
    findings: list[str] = []
    secret = secrets.token_hex(8)
    key_id, sealed = crypto.encrypt(secret, bound_to="verify")
    if crypto.decrypt(sealed, key_id=key_id, bound_to="verify") != secret:
        faults.append("encryption does not give back what it was given")
    spool = Path(settings.SPOOL_DIR)
    spool.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not os.access(spool, os.W_OK):
        faults.append("the spool directory can't be written")
    from django.utils import timezone

    priced = set(LLMPrice.objects.valid_at(timezone.now()).values_list("llm_id", flat=True))
    models = list(LLM.objects.active())
    if not models:
        findings.append("there is no active model; run seed_llms")
    for llm in models:
        if llm.pk not in priced:
            findings.append(f"{llm} has no price now; give it one or retire it in the back office")
        try:
            adapter_for(llm.provider)
        except ProviderNotConfigured:
            findings.append(f"{llm} has no adapter; retire it in the back office")
    configured = sorted(name for name, provider in settings.PROVIDERS.items() if provider["api_key"])
    return faults, findings, f"{len(models)} models priced; house keys: {', '.join(configured) or 'none, demo only'}"


def _endpoints(*, is_quick: bool) -> Found:
    """The schema can be made, and no API endpoint answers a caller without a token. Whether it is sound as well takes
    seconds to say and changes with the code alone: no start waits for that.
    """
    problems = []
    client = Client(raise_request_exception=False)
    host = settings.ALLOWED_HOSTS[0].lstrip(".") if settings.ALLOWED_HOSTS[0] != "*" else "localhost"
    paths = sorted(set(_api_paths(get_resolver().url_patterns, "")))
    with _refusals_unlogged():
        for path in paths:
            status = client.get(f"/{path}", secure=settings.HTTPS, headers={"Host": host}).status_code
            if status not in {401, 405}:
                problems.append(f"GET /{path} answers {status} without a token")
    if not is_quick:
        call_command("spectacular", validate=True, fail_on_warn=False, stdout=io.StringIO(), stderr=io.StringIO())
    for path, expected in (("api/schema/", 200), ("api/docs/", 200), ("admin/login/", 200)):
        status = client.get(f"/{path}", secure=settings.HTTPS, headers={"Host": host}).status_code
        if status != expected:
            problems.append(f"GET /{path} answers {status}")
    return problems, [], f"{len(paths)} endpoints refuse strangers; schema, docs and admin answer"


@contextmanager
def _refusals_unlogged() -> Iterator[None]:
    """A refusal is what is hoped for here, and no warning."""
    log = logging.getLogger("django.request")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)


def _api_paths(patterns: list[URLPattern | URLResolver], prefix: str) -> list[str]:
    """One address for each route under api/v1 and v1, its ids filled with a nil UUID."""
    import re

    paths: list[str] = []
    for pattern in patterns:
        route = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            paths += _api_paths(pattern.url_patterns, route)
        elif route.startswith(("api/v1/", "v1/")) and "format" not in route:
            filled = re.sub(r"\(\?P<\w+>[^()]*\)", "00000000-0000-0000-0000-000000000000", route)
            paths.append(filled.replace("^", "").replace("/?$", "/").replace("\\Z", "").replace("/?", "/"))
    return paths


def _data_consistency(*, is_quick: bool) -> Found:
    invariants = audit(is_quick=is_quick)
    findings = [
        f"{invariant.name}: {invariant.count} rows break “{invariant.rule}”; audit_ledger names them"
        for invariant in invariants
        if not invariant.holds
    ]
    return [], findings, f"{len(invariants)} invariants hold"


def _migrations() -> Found:
    executor = MigrationExecutor(connection)
    pending = executor.migration_plan(executor.loader.graph.leaf_nodes())
    problems = [f"{migration} is not applied" for migration, _ in pending]
    try:
        call_command("makemigrations", check=True, dry_run=True, verbosity=0, stdout=io.StringIO())
    except SystemExit:
        problems.append("models have changes without a migration")
    return problems, [], f"{len(executor.loader.applied_migrations)} applied, none pending"
