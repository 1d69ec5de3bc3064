"""``verify``: five of five on a sound installation, and each check fails for what it is there for."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.core.management import call_command
from django.db import connection
from django.db.migrations.loader import MigrationLoader
from django.test.utils import CaptureQueriesContext

from conversations import verification
from conversations.verification import verify
from llm import catalogue
from llm.models import LLM
from synapscale.common.models import new_id
from tests.house import house
from tests.people import Person, fund
from tests.unguarded import run, settle_constraints, unguarded
from workspaces import crypto

__all__ = ["house"]
pytestmark = pytest.mark.django_db
NAMES = ["relationships", "services", "endpoints", "data consistency", "migrations"]
POSTGRESQL = connection.vendor == "postgresql"


@pytest.fixture(autouse=True)
def installed(db: None) -> None:
    catalogue.seed(django_settings.BASE_DIR / "fixtures" / "llms.json")
    settle_constraints()


@pytest.fixture(autouse=True)
def _endpoints_are_slow(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The schema takes its time: made only where endpoints are the matter."""
    if "real_endpoints" not in request.fixturenames:
        monkeypatch.setattr(verification, "_endpoints", lambda **how: ([], [], "not looked at"))


@pytest.fixture
def real_endpoints() -> None:
    pass


def problems() -> dict[str, list[str]]:
    return {check.name: check.problems for check in verify() if not check.passed}


def findings(name: str) -> list[str]:
    """What an operator should see to, where one check finds nothing wrong with the installation itself."""
    check = next(check for check in verify() if check.name == name)
    assert check.faults == [] or name == "relationships"  # for which tests lift the guards
    return check.findings


def test_a_sound_installation_passes_all_five(real_endpoints: None, caplog: pytest.LogCaptureFixture) -> None:
    out = io.StringIO()
    call_command("verify", stdout=out)
    lines = out.getvalue().splitlines()
    assert [line.split(": ")[0] for line in lines[:-1]] == [f"ok     {name}" for name in NAMES]
    assert lines[-1] == "verify: 5/5"
    assert "12 models priced; house keys: openai" in lines[1]
    assert caplog.messages == []


def test_a_failed_check_is_told_and_counted() -> None:
    LLM.objects.update(is_active=False)
    out = io.StringIO()
    with pytest.raises(SystemExit) as end:
        call_command("verify", stdout=out)
    assert end.value.code == 1
    lines = out.getvalue().splitlines()
    assert "FAILED services: there is no active model; run seed_llms" in lines
    assert lines[-1] == "verify: 4/5"


def test_a_check_that_breaks_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    def explode() -> Any:
        raise RuntimeError("out of order")

    monkeypatch.setattr(verification, "_services", explode)
    assert problems() == {"services": ["RuntimeError: out of order"]}


def test_a_quick_one_looks_at_the_data_in_part_and_at_all_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[bool] = []
    monkeypatch.setattr(verification, "audit", lambda *, is_quick: asked.append(is_quick) or [])
    with CaptureQueriesContext(connection) as queries:
        assert [check.name for check in verify(is_quick=True)] == NAMES
    assert not any("foreign_key_check" in query["sql"] for query in queries.captured_queries)
    verify()
    assert asked == [True, False]


# --- Relationships ----------------------------------------------------------------------------------------------------

TRIGGERS = [
    ("billing_events", "billing_events_append_only" if POSTGRESQL else "billing_events_no_delete"),
    ("usage_logs", "usage_logs_append_only" if POSTGRESQL else "usage_logs_no_update"),
    ("hold_incidents", "hold_incidents_no_truncate" if POSTGRESQL else "hold_incidents_no_delete"),
    ("holds", "holds_frozen"),
    ("wallets", "wallets_bound"),
    ("llm_prices", "llm_prices_no_truncate" if POSTGRESQL else "llm_prices_no_delete"),
]


@pytest.mark.parametrize(("table", "trigger"), TRIGGERS)
def test_a_missing_guard_is_found_by_its_name(table: str, trigger: str) -> None:
    run(f"DROP TRIGGER {trigger} ON {table}" if POSTGRESQL else f"DROP TRIGGER {trigger}")
    assert problems() == {"relationships": [f"trigger {trigger} is missing"]}


@pytest.mark.skipif(not POSTGRESQL, reason="only PostgreSQL can switch a trigger off")
def test_a_guard_that_is_switched_off_is_found() -> None:
    run("ALTER TABLE holds DISABLE TRIGGER holds_frozen")
    assert problems() == {"relationships": ["trigger holds_frozen is missing"]}


@pytest.mark.skipif(not POSTGRESQL, reason="SQLite's keys are part of the table")
def test_a_missing_key_is_found() -> None:
    run("ALTER TABLE usage_logs DROP CONSTRAINT usage_logs_billing_event_id_tenant_fk")
    assert problems() == {"relationships": ["usage_logs.billing_event_id has no composite foreign key"]}


@pytest.mark.skipif(POSTGRESQL, reason="PostgreSQL checks its keys itself")
def test_a_row_that_points_nowhere_is_found(alice: Person) -> None:
    with unguarded():
        run(f"UPDATE wallets SET workspace_id = '{new_id().hex}' WHERE workspace_id = '{alice.workspace.pk.hex}'")
        (said,) = findings("relationships")[:1]
        assert said.startswith("wallets row ")
        assert said.endswith(" points to no row of workspaces")


# --- Services ---------------------------------------------------------------------------------------------------------


def test_a_model_without_a_price_is_found() -> None:
    LLM.objects.create(provider="openai", name="unpriced", display_name="x", context_window=9, max_output_tokens=9)
    said = "openai/unpriced has no price now; give it one or retire it in the back office"
    assert findings("services") == [said]


def test_a_provider_without_an_adapter_is_found() -> None:
    name = LLM.objects.get(provider="grok").name
    LLM.objects.filter(provider="grok").update(provider="unheard-of")
    assert findings("services") == [f"unheard-of/{name} has no adapter; retire it in the back office"]


def test_encryption_that_does_not_work_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crypto, "decrypt", lambda *_, **__: "something else")
    assert problems() == {"services": ["encryption does not give back what it was given"]}


def test_a_spool_that_can_not_be_made_is_found(settings: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    settings.SPOOL_DIR = tmp_path / "file"
    (said,) = problems()["services"]
    assert said.startswith("FileExistsError")


def test_a_spool_that_can_not_be_written_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verification.os, "access", lambda *_: False)
    assert problems() == {"services": ["the spool directory can't be written"]}


# --- Endpoints --------------------------------------------------------------------------------------------------------


def test_an_endpoint_that_answers_strangers_is_found(real_endpoints: None, monkeypatch: pytest.MonkeyPatch) -> None:
    from workspaces.api import views

    view = next(view for view in vars(views).values() if isinstance(view, type) and view.__module__ == views.__name__)
    monkeypatch.setattr(view, "permission_classes", [], raising=False)
    monkeypatch.setattr(view, "initial", lambda *_, **__: None)
    said = problems()["endpoints"]
    assert said
    assert all(line.startswith("GET /api/v1/") and line.endswith(" without a token") for line in said)


def test_a_broken_page_is_found(real_endpoints: None, settings: Any) -> None:
    settings.TEMPLATES = [{**settings.TEMPLATES[0], "APP_DIRS": False, "DIRS": []}]
    assert "GET /admin/login/ answers 500" in problems()["endpoints"]


# --- Data -------------------------------------------------------------------------------------------------------------


def test_cooked_books_are_found(alice: Person) -> None:
    fund(alice.workspace, "1")
    settle_constraints()
    with unguarded():
        workspace = alice.workspace.pk if POSTGRESQL else alice.workspace.pk.hex
        run(f"UPDATE wallets SET held = 1 WHERE workspace_id = '{workspace}'")
        found = findings("data consistency")
    said = "held: 1 rows break “what a wallet holds is the sum of its open holds”; audit_ledger names them"
    assert found == [said]


# --- Migrations -------------------------------------------------------------------------------------------------------


def test_a_migration_that_is_not_applied_is_found() -> None:
    name = max(name for app, name in MigrationLoader(connection).graph.leaf_nodes() if app == "office")
    run(f"DELETE FROM django_migrations WHERE app = 'office' AND name = '{name}'")
    assert problems() == {"migrations": [f"office.{name} is not applied"]}


def test_a_model_changed_without_a_migration_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LLM._meta.get_field("name"), "max_length", 999)
    assert problems() == {"migrations": ["models have changes without a migration"]}
