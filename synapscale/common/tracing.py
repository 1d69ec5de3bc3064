"""OpenTelemetry traces, where an operator asks for them with the standard variables (``OTEL_EXPORTER_OTLP_ENDPOINT``).

One span for each request and one for each call of a model. No span holds what was asked or answered, a key, a user or an
address with its ids. The provider of spans is our own and never OpenTelemetry's global one: libraries that find a global
one make spans of their own, some with contents.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from opentelemetry import context, trace
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

GEN_AI_PROVIDERS = {"google": "gcp.gemini", "grok": "x_ai"}
"""Names of the GenAI semantic conventions, where they differ from ours."""
_W3C = TraceContextTextMapPropagator()
OFF: Span = trace.INVALID_SPAN

_provider: Any = None
_tracer: Tracer | None = None


def is_wanted() -> bool:
    """Whether the environment names somewhere to send traces to, and does not switch them off."""
    if os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true" or os.environ.get("OTEL_TRACES_EXPORTER") == "none":
        return False
    names = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    return any(os.environ.get(name, "").strip() for name in names)


def start() -> None:
    """Begin to make spans in this process, if that is wanted. The SDK is imported only then."""
    global _provider, _tracer
    if _tracer is not None or not is_wanted():
        return
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    named = "OTEL_SERVICE_NAME" in os.environ or "service.name=" in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    resource = Resource.create({} if named else {"service.name": "synapscale"})
    _provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    _provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    _tracer = _provider.get_tracer("synapscale")


def stop() -> None:
    """Send what is left, and make no more. Blocking, for as long as the exporter's time-out."""
    global _provider, _tracer
    provider, _provider, _tracer = _provider, None, None
    if provider is not None:
        provider.shutdown()


def start_request(headers: Any, *, method: str, request_id: str) -> tuple[Span, Any]:
    """The span of a request, below that of its ``traceparent``, and what ``end_request`` needs to step out of it."""
    if _tracer is None:
        return OFF, None
    sent = {name: value for name in ("traceparent", "tracestate") if (value := headers.get(name))}
    attributes = {"http.request.method": method, "synapscale.request_id": request_id}
    span = _tracer.start_span(method, context=_W3C.extract(sent), kind=SpanKind.SERVER, attributes=attributes)
    return span, context.attach(trace.set_span_in_context(span))


def end_request(span: Span, token: Any, *, method: str, route: str, status: int) -> None:
    if token is None:
        return
    context.detach(token)
    span.update_name(f"{method} {route}")
    span.set_attributes({"http.route": route, "http.response.status_code": status})
    if status >= 500:
        _fail(span, str(status))
    span.end()


def start_call(*, provider: str, model: str, max_tokens: int) -> Span:
    """The span of a call of a model with all of its attempts; ``end_call`` ends it."""
    if _tracer is None:
        return OFF
    attributes: dict[str, Any] = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": GEN_AI_PROVIDERS.get(provider, provider),
        "gen_ai.request.model": model,
        "gen_ai.request.max_tokens": max_tokens,
    }
    return _tracer.start_span(f"chat {model}", kind=SpanKind.CLIENT, attributes=attributes)


def end_call(span: Span, *, error: str = "", facts: Mapping[str, Any] | None = None) -> None:
    """``error`` is what kind it was, ``facts`` are attributes of the conventions; those that are None are left out."""
    if not span.is_recording():
        return
    span.set_attributes({name: value for name, value in (facts or {}).items() if value is not None})
    if error:
        _fail(span, error)
    span.end()


def trace_id() -> str:
    """Of the span that this code runs in, as 32 hexadecimal digits; "" where there is none."""
    found = trace.get_current_span().get_span_context()
    return trace.format_trace_id(found.trace_id) if found.is_valid else ""


def _fail(span: Span, kind: str) -> None:
    span.set_attribute("error.type", kind)
    span.set_status(Status(StatusCode.ERROR))
