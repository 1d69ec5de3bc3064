"""/healthz and /readyz as a load balancer meets them."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.db import OperationalError
from django.test import Client
from django.utils import timezone

from billing.models import Hold
from synapscale import probes
from synapscale.common.models import PeriodicJob
from tests.conversations.calling import ask, make_conversation
from tests.house import house
from tests.people import Person, fund
from workspaces import variables

__all__ = ["house"]


@pytest.fixture(autouse=True)
def _afresh() -> None:
    probes.LOOKS.forget()


def ready(path: str = "/readyz", **headers: str) -> tuple[int, dict[str, tuple[str, str]]]:
    probes.LOOKS.forget()
    response = Client().get(path, headers=headers)
    body = response.json()
    assert (body["status"] == "ready") == (response.status_code == 200)
    return response.status_code, {check["name"]: (check["status"], check["detail"]) for check in body["checks"]}


def test_alive_without_a_database(settings: Any) -> None:
    """The test has no access to one, and would fail with it."""
    settings.SECURE_SSL_REDIRECT = True
    response = Client().get("/healthz", headers={"Host": "10.1.2.3:8000"})
    assert (response.status_code, response.json()) == (200, {"status": "ok"})
    assert Client().head("/healthz").status_code == 200
    assert Client().post("/healthz").status_code == 405


def test_ready(transactional_db: None) -> None:
    status, checks = ready()
    assert status == 200
    assert {name: said for name, (said, _) in checks.items()} == dict.fromkeys(probes.CHECKS, "ok")


def test_whatever_the_host_is_called_and_without_https(transactional_db: None, settings: Any) -> None:
    settings.SECURE_SSL_REDIRECT = True
    assert ready(Host="10.1.2.3:8000")[0] == 200
    assert ready(Host="not a host")[0] == 200


def test_no_token_is_asked_for_or_looked_at(transactional_db: None) -> None:
    assert all(ready(Authorization="Bearer wrong")[0] == 200 for _ in range(30))


def test_without_a_database(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def away() -> str:
        raise OperationalError("host db.internal refused user synapscale")

    monkeypatch.setitem(probes.CHECKS, "database", away)
    status, checks = ready()
    assert status == 503
    assert checks["database"] == ("failed", "The database does not answer.")
    assert {checks[name][0] for name in ("migrations", "keys", "sweep")} == {"skipped"}


def test_with_a_database_that_hangs(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    go, looks = threading.Event(), []

    def hang() -> str:
        looks.append(1)
        go.wait(20)
        return "late"

    monkeypatch.setitem(probes.CHECKS, "database", hang)
    monkeypatch.setattr(probes, "TIME_LIMIT_SECONDS", 0.1)
    assert ready() == (503, {"database": ("failed", "There was no answer within 0.1 s.")})
    assert Client().get("/readyz").status_code == 503
    assert looks == [1]  # the others wait for the same look
    go.set()


def test_with_a_migration_that_is_not_applied(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    known = probes._known_migrations()
    monkeypatch.setattr(probes, "_known_migrations", lambda: known | {("billing", "9999_next")})
    status, checks = ready()
    assert (status, checks["migrations"]) == (503, ("failed", "A migration is not applied."))


def test_with_a_master_key_that_is_gone_or_wrong(transactional_db: None, alice: Person, settings: Any) -> None:
    variables.create(owner=alice.user, category="secret", name="A", value="x")
    assert ready()[0] == 200
    settings.MASTER_KEYS = ["new:another-one-of-no-value-and-long-enough-too"]
    status, checks = ready()
    said = "A stored secret needs a master key that is not configured."
    assert (status, checks["keys"]) == (503, ("failed", said))
    settings.MASTER_KEYS = ["test:another-one-of-no-value-and-long-enough-too"]
    assert ready()[1]["keys"] == ("failed", "Stored secrets can't be decrypted.")


def test_a_single_spoilt_secret_is_no_reason_to_serve_nobody(transactional_db: None, alice: Person) -> None:
    variables.create(owner=alice.user, category="secret", name="A", value="x")
    spoilt = variables.create(owner=alice.user, category="secret", name="B", value="y")
    spoilt.ciphertext = b"x" * 40
    spoilt.save()
    assert ready()[0] == 200


def test_with_holds_that_nobody_sweeps(transactional_db: None, alice: Person, house: Any, llm: Any) -> None:
    fund(alice.workspace, "1")
    hold = ask(alice, make_conversation(alice), llm=str(llm), max_tokens=100).answer.hold
    assert hold is not None
    assert ready()[0] == 200
    Hold.objects.filter(workspace=alice.workspace, pk=hold.pk).update(
        lease_until=timezone.now() - timedelta(minutes=19)
    )
    assert ready()[0] == 200  # the sweeper may still wait for a process that hangs
    Hold.objects.filter(workspace=alice.workspace, pk=hold.pk).update(
        lease_until=timezone.now() - timedelta(minutes=21)
    )
    status, checks = ready()
    assert (status, checks["sweep"]) == (503, ("failed", "Open holds are long past their lease."))
    assert ready("/readyz?exclude=sweep")[0] == 200
    call_command("sweep_holds", "--ignore-leases")
    assert ready()[0] == 200


def test_with_a_sweep_that_does_not_succeed(transactional_db: None, settings: Any) -> None:
    job = PeriodicJob.objects.create(name="sweep", succeeded_at=timezone.now() - timedelta(minutes=11))
    assert ready()[0] == 200  # left to another program
    settings.SWEEP_SECONDS = 5
    status, checks = ready()
    assert (status, checks["sweep"]) == (503, ("failed", "The sweep has not succeeded lately."))
    job.succeeded_at = timezone.now()
    job.save()
    assert ready()[0] == 200
