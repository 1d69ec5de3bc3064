"""Traces as a collector receives them: real OTLP over HTTP, from a server that was asked for them."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx2
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from llm.models import LLM
from synapscale.common import tracing
from tests.api.asking import make_conversation, messages_of
from tests.conftest import Server, wait_for
from tests.people import Person, fund
from tests.providers.standins import StandIn, refusal

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"


class Collector:
    """Where OTLP goes: an HTTP listener that keeps what it gets."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.paths: list[str] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                collector.paths.append(self.path)
                collector.bodies.append(body)
                self.send_response(200)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args: Any) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def spans(self) -> dict[str, tuple[Any, dict[str, Any]]]:
        """By name, with their attributes."""
        found = {}
        for body in self.bodies:
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                names = {a.key: a.value.string_value for a in resource.resource.attributes}
                assert names["service.name"] == "synapscale"
                for scope in resource.scope_spans:
                    for span in scope.spans:
                        found[span.name] = (span, {a.key: plain(a.value) for a in span.attributes})
        return found


def plain(value: Any) -> Any:
    kind = value.WhichOneof("value")
    return [plain(one) for one in value.array_value.values] if kind == "array_value" else getattr(value, kind)


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    collector = Collector()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
    tracing.start()
    yield collector
    tracing.stop()
    collector.http.shutdown()
    collector.http.server_close()


def ask(server: Server, person: Person, llm: LLM, **fields: Any) -> httpx2.Response:
    address = f"{server.url}/api/v1/{messages_of(make_conversation(person))}"
    headers = {**person.headers, "traceparent": f"00-{TRACE}-{PARENT}-01", "X-Request-ID": "trace-me"}
    return httpx2.post(
        address, json={"content": "MySecretQuestion", "llm": str(llm), **fields}, headers=headers, timeout=30
    )


@pytest.mark.parametrize("stream", [False, True])
def test_a_request_and_its_call(
    server: Server, alice: Person, llm: LLM, house_keys: StandIn, collector: Collector, stream: bool
) -> None:
    fund(alice.workspace, "1")
    house_keys.answer(text="MySecretAnswer", usage={"input": 10, "output": 2})
    assert ask(server, alice, llm, stream=stream).status_code in {200, 201}
    tracing.stop()  # flushes
    assert set(collector.paths) == {"/v1/traces"}
    spans = collector.spans()
    route = "/api/v1/conversations/{conversation_pk}/messages"
    request, facts = spans[f"POST {route}"]
    assert request.trace_id.hex() == TRACE
    assert request.parent_span_id.hex() == PARENT
    assert request.kind == 2  # server
    assert facts == {
        "http.request.method": "POST",
        "http.route": route,
        "http.response.status_code": 200 if stream else 201,
        "synapscale.request_id": "trace-me",
    }
    call, facts = spans[f"chat {llm.name}"]
    assert (call.trace_id, call.parent_span_id, call.kind) == (request.trace_id, request.span_id, 3)  # client
    assert facts.pop("gen_ai.response.model")
    assert facts == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": llm.name,
        "gen_ai.request.max_tokens": facts["gen_ai.request.max_tokens"],
        "gen_ai.response.finish_reasons": ["stop"],
        "gen_ai.usage.input_tokens": 10,
        "gen_ai.usage.output_tokens": 2,
        "gen_ai.usage.cache_read.input_tokens": 0,
    }
    everything = b"".join(collector.bodies)
    for secret in ("MySecret", alice.token, "sk-house", str(alice.workspace.pk), alice.user.email):
        assert secret.encode() not in everything


def test_a_call_that_fails(server: Server, alice: Person, llm: LLM, house_keys: StandIn, collector: Collector) -> None:
    fund(alice.workspace, "1")
    house_keys.always(refusal(503, message="MySecretReason"))
    assert ask(server, alice, llm).status_code == 503
    tracing.stop()
    spans = collector.spans()
    call, facts = spans[f"chat {llm.name}"]
    assert (call.status.code, facts["error.type"]) == (2, "provider_unavailable")
    assert facts["http.response.status_code"] == 503
    request, facts = spans["POST /api/v1/conversations/{conversation_pk}/messages"]
    assert (request.status.code, facts["error.type"]) == (2, "503")
    assert b"MySecret" not in b"".join(collector.bodies)


def test_probes_and_unknown_addresses(server: Server, collector: Collector) -> None:
    for path in ("healthz", "metrics", "api/v1/nothing/of/mine"):
        httpx2.get(f"{server.url}/{path}", timeout=30)
    tracing.stop()
    assert set(collector.spans()) == {"GET other"}


def test_a_stopping_server_sends_what_it_has(
    transactional_db: None, collector: Collector, tmp_path: Any, provider: StandIn
) -> None:
    from tests.faults.conftest import ServerProcess

    one = ServerProcess(tmp_path, provider, OTEL_EXPORTER_OTLP_ENDPOINT=collector.url)
    httpx2.get(f"{one.url}/api/v1/wallet", timeout=30)
    one.stop()
    wait_for(lambda: "GET /api/v1/wallet" in collector.spans(), "the spans", seconds=5)


@pytest.mark.parametrize(
    ("name", "value"),
    [("OTEL_SDK_DISABLED", "true"), ("OTEL_TRACES_EXPORTER", "none"), ("OTEL_EXPORTER_OTLP_ENDPOINT", "")],
)
def test_off_unless_asked_for(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setenv(name, value)
    tracing.start()
    span, token = tracing.start_request({}, method="GET", request_id="x")
    assert (span.is_recording(), token) == (False, None)
    assert tracing.start_call(provider="openai", model="x", max_tokens=1) is tracing.OFF
    assert tracing.trace_id() == ""


def test_no_library_finds_a_global_provider(collector: Collector) -> None:
    """Else Anthropic's SDK, and others, would send spans of their own."""
    from opentelemetry import trace

    assert not trace.get_tracer("anthropic").start_span("x").is_recording()


def test_a_collector_that_is_away_is_said_without_its_address(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://127.0.0.1:9/v1/traces?api_key=hunter2")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "3")
    tracing.start()
    span, token = tracing.start_request({}, method="GET", request_id="r")
    tracing.end_request(span, token, method="GET", route="/x", status=200)
    assert tracing._provider.force_flush(10_000)
    tracing.stop()
    said = caplog.text
    assert "Failed to export" in said
    assert "hunter2" not in said
