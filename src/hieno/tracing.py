"""OpenTelemetry traces of what is asked, for whoever sets its standard variables.

Nothing is sent, and nothing of OpenTelemetry imported, unless `OTEL_EXPORTER_OTLP_ENDPOINT` or
`OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` names a collector (OTLP over HTTP). Sampling, headers and
resource follow the other `OTEL_` variables. A span says what a log line says and never holds what
anybody wrote: no prompt, no answer, no key, no query.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span, Tracer

Headers = list[tuple[bytes, bytes]]
Value = str | int | float | bool

PARENT = b"traceparent"  # W3C Trace Context
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")


class Trace(Protocol):
    """One request while it is being answered."""

    def parent(self) -> Headers:
        """Return the headers that make the next server's span a child of this one."""

    def end(self, *, failed: bool, attributes: Mapping[str, Value]) -> None:
        """Say how it went."""


class Traces(Protocol):
    """Where a server's traces go."""

    def begin(self, name: str, headers: Headers) -> Trace:
        """Begin a request's span, below the one that its headers name."""

    def close(self) -> None:
        """Send what has not been sent yet."""


def open_traces(service: str, environment: Mapping[str, str] = os.environ) -> Traces:
    """Return where a server's traces go: to a collector if one is named, else nowhere."""
    named = any(environment.get(name) for name in _ENDPOINTS)
    off = environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    chosen = environment.get("OTEL_TRACES_EXPORTER", "otlp").strip()
    return _Sent(service) if named and not off and chosen == "otlp" else _Unsent()


@dataclass(frozen=True)
class _NoTrace:
    def parent(self) -> Headers:
        return []

    def end(self, *, failed: bool, attributes: Mapping[str, Value]) -> None:
        return


@dataclass(frozen=True)
class _Unsent:
    _nothing: _NoTrace = field(default_factory=_NoTrace)

    def begin(self, name: str, headers: Headers) -> Trace:
        return self._nothing

    def close(self) -> None:
        return


class _Sent:
    """Spans that a thread of its own sends in batches; a collector that is away costs no answer."""

    def __init__(self, service: str) -> None:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import SERVICE_NAME, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        named = os.environ.get("OTEL_SERVICE_NAME") or service
        resource = Resource.create({SERVICE_NAME: named})
        self._provider: TracerProvider = TracerProvider(resource=resource)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer: Tracer = self._provider.get_tracer("hieno")

    def begin(self, name: str, headers: Headers) -> Trace:
        from opentelemetry.trace import SpanKind
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        carrier = {
            key.decode("ascii"): value.decode("latin-1")
            for key, value in headers
            if key in (PARENT, b"tracestate")
        }
        context = TraceContextTextMapPropagator().extract(carrier)
        return _SentTrace(self._tracer.start_span(name, context, kind=SpanKind.SERVER))

    def close(self) -> None:
        self._provider.shutdown()


class _SentTrace:
    def __init__(self, span: Span) -> None:
        self._span = span

    def parent(self) -> Headers:
        from opentelemetry.trace import set_span_in_context
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        carrier: dict[str, str] = {}
        TraceContextTextMapPropagator().inject(carrier, set_span_in_context(self._span))
        return [(name.encode(), value.encode()) for name, value in carrier.items()]

    def end(self, *, failed: bool, attributes: Mapping[str, Value]) -> None:
        from opentelemetry.trace import StatusCode

        self._span.set_attributes(dict(attributes))
        if failed:
            self._span.set_status(StatusCode.ERROR)
        self._span.end()
