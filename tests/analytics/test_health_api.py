"""``analytics/health``: each part with a status and since when; figures for staff alone."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from analytics import health, rollups
from analytics.models import HealthState, UsageTail
from billing.models import Hold
from conversations.models import Conversation
from llm.circuits import CIRCUITS
from llm.errors import ProviderUnavailable
from llm.models import LLM, LLMPrice
from llm.types import Credentials
from synapscale.common.metrics import HTTP_REQUESTS
from tests.analytics.usage import Call, write
from tests.catalogue import make_llm
from tests.conversations.calling import ask
from tests.house import house
from tests.people import Cast, Person, fund

__all__ = ["house"]
pytestmark = pytest.mark.django_db(transaction=True)
PARTS = {
    "llm_providers_active",
    "total_models_available",
    "database_connections",
    "api_endpoints_responsive",
    "average_response_time",
    "queue",
    "sweep",
}


@pytest.fixture
def staff(charlie: Person) -> Person:
    charlie.user.is_staff = charlie.user.is_superuser = True
    charlie.user.save(update_fields=["is_staff", "is_superuser"])
    return charlie


def parts(person: Person) -> dict[str, Any]:
    response = person.get("analytics/health")
    assert response.status_code == 200
    return {"all": response.json()["status"], **response.json()["checks"]}


def test_a_look_at_our_own_addresses_is_no_traffic(staff: Person, llm: LLM) -> None:
    def counted() -> set[tuple[str, float]]:
        metric = next(iter(HTTP_REQUESTS.collect()))
        return {(sample.labels["route"], sample.value) for sample in metric.samples if sample.name.endswith("_total")}

    staff.get("analytics/health")
    before = counted()
    staff.get("analytics/health")
    assert {route for route, _ in counted() - before} == {"/api/v1/analytics/health"}


def test_all_is_well(staff: Person, llm: LLM) -> None:
    found = parts(staff)
    assert found.pop("all") == "ok"
    assert {name: part["status"] for name, part in found.items()} == dict.fromkeys(PARTS, "ok")
    assert found["llm_providers_active"]["value"] == {"active": 1, "total": 1, "failing": []}
    assert found["total_models_available"]["value"] == {"available": 1, "active": 1}
    assert found["api_endpoints_responsive"]["value"]["responsive"] == 5
    assert found["database_connections"]["value"]["used"] >= 1
    assert found["average_response_time"]["value"]["average_ms"] is None


def test_looking_at_our_own_addresses_logs_nothing(alice: Person, llm: LLM, caplog: pytest.LogCaptureFixture) -> None:
    parts(alice)
    assert [record.getMessage() for record in caplog.records if record.name == "django.request"] == []
    alice.get("nothing")
    assert [record.getMessage() for record in caplog.records if record.name == "django.request"] == [
        "Not Found: /api/v1/nothing"
    ]


def test_only_staff_see_figures(cast: Cast, llm: LLM) -> None:
    for person in (cast.alice, cast.bob):
        found = parts(person)
        assert found.pop("all") == "ok"
        assert {name: set(part) for name, part in found.items()} == {key: {"status", "since"} for key in PARTS}


def test_since_when_is_kept_until_the_status_changes(staff: Person, llm: LLM) -> None:
    first = parts(staff)["sweep"]
    assert parts(staff)["sweep"]["since"] == first["since"]
    HealthState.objects.filter(name="sweep").update(status="down")
    changed = parts(staff)["sweep"]
    assert changed["status"] == "ok"
    assert changed["since"] > first["since"]


def test_without_models_the_system_is_down(staff: Person, llm: LLM) -> None:
    llm.is_active = False
    llm.save()
    found = parts(staff)
    assert (found["all"], found["total_models_available"]["status"], found["llm_providers_active"]["status"]) == (
        "down",
        "down",
        "down",
    )


def test_a_model_without_a_price_degrades(staff: Person, llm: LLM) -> None:
    LLM.objects.create(provider="google", name="x", display_name="X", context_window=10, max_output_tokens=5)
    assert LLMPrice.objects.count() == 1
    found = parts(staff)
    assert (found["all"], found["total_models_available"]["status"]) == ("degraded", "degraded")


def test_a_provider_that_fails_degrades(staff: Person, alice: Person, llm: LLM) -> None:
    other = make_llm("anthropic")
    now = timezone.now()
    write([Call(now, alice, other, status="error")] * 3 + [Call(now, alice, other)] * 2)
    failing = parts(staff)["llm_providers_active"]
    assert (failing["status"], failing["value"]["failing"]) == ("degraded", ["anthropic"])


def test_an_open_circuit_degrades(staff: Person, llm: LLM, settings: Any) -> None:
    credentials = Credentials(provider="openai", api_key="k", source="global")
    for _ in range(settings.CIRCUIT_FAILURES):
        CIRCUITS.record(credentials, ProviderUnavailable("away"))
    try:
        assert parts(staff)["llm_providers_active"]["status"] == "down"
    finally:
        CIRCUITS.reset()


def test_slow_answers_degrade(staff: Person, alice: Person, llm: LLM) -> None:
    write([Call(timezone.now(), alice, llm, latency_ms=5_000)])
    assert parts(staff)["average_response_time"]["status"] == "ok"
    write([Call(timezone.now(), alice, llm, latency_ms=5_001)])
    assert parts(staff)["average_response_time"]["status"] == "degraded"


def test_sums_that_fall_behind_degrade_the_queue(staff: Person, alice: Person, llm: LLM) -> None:
    write([Call(timezone.now(), alice, llm)])
    assert parts(staff)["queue"]["status"] == "ok"
    UsageTail.objects.filter(workspace=alice.workspace).update(created_at=timezone.now() - timedelta(minutes=6))
    assert parts(staff)["queue"]["status"] == "degraded"
    rollups.roll_up()
    assert parts(staff)["queue"]["status"] == "ok"


def test_holds_past_their_lease_degrade_the_sweep(staff: Person, alice: Person, llm: LLM) -> None:
    fund(alice.workspace, "1")
    ask(alice, Conversation.objects.create(workspace=alice.workspace, user=alice.user))
    assert parts(staff)["sweep"]["status"] == "ok"
    Hold.objects.filter(workspace=alice.workspace).update(lease_until=timezone.now() - timedelta(minutes=3))
    found = parts(staff)["sweep"]
    assert (found["status"], found["value"]["holds_past_lease"]) == ("degraded", 1)


def test_an_address_that_does_not_respond_degrades(staff: Person, llm: LLM, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "_ADDRESSES", (("/healthz", 200), ("/nothing", 200)))
    found = parts(staff)["api_endpoints_responsive"]
    assert (found["status"], found["detail"]) == ("degraded", "Not as they should: /nothing.")
