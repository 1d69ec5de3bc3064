"""/metrics as Prometheus meets it: what is counted, for whom, and that labels stay few."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

import httpx2
import pytest
from django.db import OperationalError
from django.test import Client
from prometheus_client.parser import text_string_to_metric_families

from billing.models import Hold
from llm.circuits import CIRCUITS
from llm.errors import ProviderUnavailable
from llm.models import LLM
from llm.types import Credentials
from synapscale import scrape
from synapscale.common import metrics
from synapscale.common.models import PeriodicJob
from tests.api.asking import make_conversation, messages_of
from tests.conftest import Server, wait_for
from tests.faults.conftest import Chat, ServerProcess, chat, start
from tests.people import Person, fund
from tests.providers.standins import StandIn, refusal

__all__ = ["chat", "start"]
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def samples(text: str) -> Samples:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def told(**headers: str) -> Samples:
    response = Client().get("/metrics", headers=headers)
    assert response.status_code == 200, response.content
    return samples(response.content.decode())


def value(of: Samples, name: str, **labels: str) -> float:
    return of.get((f"synapscale_{name}", tuple(sorted(labels.items()))), 0.0)


def grown(before: Samples, after: Samples, name: str, **labels: str) -> float:
    return round(value(after, name, **labels) - value(before, name, **labels), 12)


# --- Who may ask ------------------------------------------------------------------------------------------------------


def test_without_a_token_only_this_machine_may_ask(transactional_db: None) -> None:
    assert Client().get("/metrics").status_code == 200
    assert Client(REMOTE_ADDR="::1").get("/metrics", headers={"Host": "10.1.2.3"}).status_code == 200
    for address in ("10.1.2.3", "203.0.113.9", ""):
        response = Client(REMOTE_ADDR=address).get("/metrics")
        assert (response.status_code, response.json()["error"]["code"]) == (403, "permission_denied")
    for header in ("X-Forwarded-For", "Forwarded", "Via"):  # a proxy on this machine speaks for strangers
        assert Client().get("/metrics", headers={header: "127.0.0.1"}).status_code == 403


def test_with_a_token_whoever_has_it(transactional_db: None, settings: Any) -> None:
    settings.METRICS_TOKEN = "prometheus-0123456789"
    for given in (
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Bearer é"},
        {"Authorization": "prometheus"},
    ):
        response = Client().get("/metrics", headers=given)
        assert response.status_code == 401
        assert "prometheus-0123456789" not in response.content.decode()
    away = Client(REMOTE_ADDR="203.0.113.9")
    assert away.get("/metrics", headers={"Authorization": "Bearer prometheus-0123456789"}).status_code == 200


def test_an_access_token_of_a_user_is_none_of_it(alice: Person, settings: Any) -> None:
    settings.METRICS_TOKEN = "prometheus-0123456789"
    assert Client().get("/metrics", headers=alice.headers).status_code == 401


# --- What is counted --------------------------------------------------------------------------------------------------


def test_a_call_is_counted(server: Server, alice: Person, llm: LLM, house_keys: StandIn) -> None:
    fund(alice.workspace, "1")
    house_keys.answer(text="Two.", usage={"input": 10, "output": 2})
    chat, before = make_conversation(alice), told()
    asked = {"content": "One and one?", "llm": str(llm), "stream": True}
    response = httpx2.post(f"{server.url}/api/v1/{messages_of(chat)}", json=asked, headers=alice.headers, timeout=30)
    assert "message.completed" in response.text
    wait_for(lambda: value(told(), "calls_in_flight") == 0, "the call to end")
    after = told()
    of = {"provider": "openai", "model": "openai-test"}
    assert grown(before, after, "provider_calls_total", status="success", **of) == 1
    assert grown(before, after, "tokens_total", **{"class": "input"}, **of) == 10
    assert grown(before, after, "tokens_total", **{"class": "output"}, **of) == 2
    assert grown(before, after, "cost_usd_total", **of) == grown(before, after, "charged_usd_total", **of) == 0.000014
    assert grown(before, after, "provider_call_duration_seconds_count", **of) == 1
    assert grown(before, after, "time_to_first_token_seconds_count", **of) == 1
    assert grown(before, after, "holds_opened_total") == 1
    assert grown(before, after, "holds_resolved_total", state="settled") == 1
    route = "/api/v1/conversations/{conversation_pk}/messages"
    assert grown(before, after, "http_requests_total", route=route, method="POST", status="2xx") == 1
    assert grown(before, after, "http_request_duration_seconds_count", route=route, method="POST") == 1


def test_what_fails_and_what_is_refused_is_counted(
    server: Server, alice: Person, llm: LLM, house_keys: StandIn
) -> None:
    chat, before = make_conversation(alice), told()
    address, asked = f"{server.url}/api/v1/{messages_of(chat)}", {"content": "Hello", "llm": str(llm)}
    assert httpx2.post(address, json=asked, headers=alice.headers).status_code == 402
    fund(alice.workspace, "1")
    house_keys.always(refusal(503))
    assert httpx2.post(address, json=asked, headers=alice.headers, timeout=30).status_code == 503
    after = told()
    assert grown(before, after, "refusals_total", code="insufficient_balance") == 1
    assert grown(before, after, "provider_errors_total", provider="openai", code="provider_unavailable") == 1
    of = {"provider": "openai", "model": "openai-test"}
    assert grown(before, after, "provider_calls_total", status="error", **of) == 1
    assert grown(before, after, "holds_resolved_total", state="released") == 1


def test_open_holds_and_jobs_are_read_when_asked(transactional_db: None, alice: Person, llm: LLM) -> None:
    assert (value(told(), "open_holds"), value(told(), "held_usd"), value(told(), "database_up")) == (0, 0, 1)
    fund(alice.workspace, "5")
    for amount in ("0.25", "1.5"):
        Hold.objects.create(
            workspace=alice.workspace,
            wallet=alice.workspace.wallets.get(),
            user=alice.user,
            amount=amount,
            lease_until="2030-01-01T00:00Z",
        )
    PeriodicJob.objects.create(name="sweep", succeeded_at="2026-10-01T00:00Z", runs=7, failures=2)
    PeriodicJob.objects.create(name="gone", runs=7)
    after = told()
    assert (value(after, "open_holds"), value(after, "held_usd")) == (2, 1.75)
    assert value(after, "periodic_job_last_success_timestamp_seconds", job="sweep") == 1790812800
    assert value(after, "periodic_job_runs_total", job="sweep") == 7
    assert value(after, "periodic_job_failures_total", job="sweep") == 2
    assert not [labels for _, labels in after if ("job", "gone") in labels]


def test_without_a_database_the_rest_is_told(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def away() -> None:
        raise OperationalError

    monkeypatch.setattr(scrape, "_read", away)
    after = told()
    assert value(after, "database_up") == 0
    assert ("synapscale_open_holds", ()) not in after
    assert ("synapscale_calls_in_flight", ()) in after


def test_the_state_of_circuits(transactional_db: None, settings: Any) -> None:
    settings.CIRCUIT_FAILURES = 2
    credentials = Credentials("anthropic", "sk-x")
    assert value(told(), "circuit_state", provider="anthropic") == 0
    for _ in range(2):
        CIRCUITS.record(credentials, ProviderUnavailable())
    assert value(told(), "circuit_state", provider="anthropic") == 2
    CIRCUITS.record(credentials, None)
    assert value(told(), "circuit_state", provider="anthropic") == 0


# --- Labels -----------------------------------------------------------------------------------------------------------


def test_labels_stay_few(transactional_db: None, alice: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever clients send: addresses, methods, hosts and names do not become labels."""
    Client().get("/api/v1/nothing/at/all")  # the routes are there
    Client().get(f"/api/v1/conversations/{alice.workspace.pk}", headers=alice.headers)
    Client().generic("BREW", "/healthz")
    before = set(told())
    for number in range(50):
        Client().get(f"/api/v1/nothing-{number}")
        Client().get(f"/nothing-{number}", headers={"Host": f"h{number}.example.org"})
        Client().generic(f"BREW{number}", "/healthz")
        Client().get(f"/api/v1/conversations/01890000-0000-7000-8000-0000000000{number:02}", headers=alice.headers)
        alice.post("conversations", {f"field{number}": 1})
    new = {labels for _, labels in set(told()) - before}
    assert len({dict(labels).get("route") for labels in new}) <= 3
    assert not any(str(number) in str(labels) for labels in new for number in range(10, 50) if "le" not in dict(labels))
    everything = str(set(told()))
    for secret in (alice.user.email, str(alice.workspace.pk), alice.workspace.slug, alice.token):
        assert secret not in everything


def test_models_beyond_a_number_are_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "_models", {})
    names = {metrics.provider_and_model(f"private/lab/model-{number}") for number in range(500)}
    assert len(names) == metrics.MAX_MODELS + 1
    assert ("private", "other") in names
    assert metrics.provider_and_model("private/lab/model-0") == ("private", "lab/model-0")
    assert metrics.provider_and_model("new/model") == ("other", "other")
    assert metrics.provider_and_model("nonsense") == ("other", "other")
    assert metrics.code("no such thing “x”") == "other"
    assert metrics.template("") == "other"


def test_names_and_units() -> None:
    for family in metrics.REGISTRY.collect():
        assert family.name.startswith("synapscale_")
        assert family.documentation
        assert not family.name.endswith(("_ms", "_milliseconds"))


# --- Several processes ------------------------------------------------------------------------------------------------


def test_one_process_tells_what_all_have_counted(
    start: Callable[..., ServerProcess], chat: Chat, provider: StandIn, tmp_path: Any
) -> None:
    fund(chat.person.workspace, "1")
    provider.answer(text="Yes.", usage={"input": 10, "output": 2})
    servers = [start(PROMETHEUS_MULTIPROC_DIR=tmp_path / "prometheus") for _ in range(2)]
    for one in servers:
        assert chat.post(one).status_code == 201
        assert chat.post(one, llm="openai/gone").status_code == 400
    for one in servers:
        after = samples(httpx2.get(f"{one.url}/metrics", timeout=30).text)
        of = {"provider": "openai", "model": "openai-test"}
        assert value(after, "provider_calls_total", status="success", **of) == 2
        assert value(after, "charged_usd_total", **of) == pytest.approx(0.000028)
        assert value(after, "holds_opened_total") == 2
        assert value(after, "calls_in_flight") == 0
    provider.answer(text="Late.", wait=20)
    with chat.half_open(servers[0]):
        wait_for(
            lambda: value(samples(httpx2.get(f"{servers[1].url}/metrics").text), "calls_in_flight") == 1,
            "the other to tell of it",
        )
        servers[0].send(signal.SIGKILL)
        servers[0].process.wait()
    assert value(samples(httpx2.get(f"{servers[1].url}/metrics").text), "calls_in_flight") == 0
    assert os.listdir(tmp_path / "prometheus")
