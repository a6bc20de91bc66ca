"""W3C trace context and OpenTelemetry spans; off, and nothing is imported, unless OTEL_TRACES_EXPORTER is set.

OTEL_TRACES_EXPORTER=console|otlp, OTEL_TRACES_SAMPLER_ARG=0.01 (share of requests that start a trace here),
OTEL_EXPORTER_OTLP_ENDPOINT=http://collector:4318, OTEL_SERVICE_NAME. A caller's sampled trace is always followed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from recsys.errors import BadInput
from serving.watch.facts import Facts, Timed

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import Span, Tracer

_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
RATIO = "0.01"


def trace_id_of(traceparent: str) -> str:
    """The trace id of a `traceparent` header; empty where it is not a valid one (W3C Trace Context, 3.2)."""
    found = _TRACEPARENT.fullmatch(traceparent)
    if found is None or found[1] == "ff" or (found[1] == "00" and found[5]):
        return ""
    return "" if set(found[2]) == {"0"} or set(found[3]) == {"0"} else found[2]


class Tracing:
    """Makes the spans of requests; one a server."""

    def __init__(self, tracer: Tracer) -> None:
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._tracer = tracer
        self._propagator = TraceContextTextMapPropagator()

    def begin(self, method: str, headers: Mapping[bytes, bytes], facts: Facts) -> Span:
        """The span of a request, below its caller's where that says so; `facts` learns whether to time parts."""
        from opentelemetry.trace import SpanKind

        names = {
            name: headers[name.encode()].decode("latin-1") for name in _HEADERS if name.encode() in headers
        }
        span = self._tracer.start_span(method, self._propagator.extract(names), SpanKind.SERVER)
        if span.is_recording():
            facts.parts = []
            facts.trace_id = f"{span.get_span_context().trace_id:032x}"
        return span

    def end(self, span: Span, method: str, status: int, facts: Facts) -> None:
        """Names the span by its route, adds its parts as spans of their own, and hands all to the exporter."""
        from opentelemetry.trace import Status, StatusCode

        if not span.is_recording():
            return
        span.update_name(f"{method} {facts.route}")
        known = {"surface": facts.surface, "rung": facts.rung, "release": facts.release}
        span.set_attributes({f"recsys.{name}": value for name, value in known.items() if value})
        span.set_attribute("http.request.method", method)
        span.set_attribute("http.route", facts.route)
        span.set_attribute("http.response.status_code", status)
        if status >= 500:
            span.set_status(Status(StatusCode.ERROR))
            span.set_attribute("error.type", facts.failure or str(status))
        self._children(span, facts.parts or [])
        span.end()

    def _children(self, span: Span, parts: list[Timed]) -> None:
        from opentelemetry.trace import set_span_in_context

        made: dict[str, Span] = {}
        for timed in sorted(parts, key=lambda p: p.inside != ""):
            context = set_span_in_context(made.get(timed.inside, span))
            child = self._tracer.start_span(timed.name, context, start_time=timed.begin)
            made[timed.name] = child
        for timed in parts:
            made[timed.name].end(timed.end)


_HEADERS = ("traceparent", "tracestate")


def header(span: Span) -> bytes:
    """The `Server-Timing` entry that tells a client which trace its request belongs to."""
    own = span.get_span_context()
    return f'traceparent;desc="00-{own.trace_id:032x}-{own.span_id:016x}-{own.trace_flags:02x}"'.encode()


def tracing(exporter: SpanExporter, ratio: float, batched: bool = True) -> Tracing:
    """Traces to an exporter; `ratio` of the requests whose caller says nothing, and all whose caller samples."""
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
    from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

    name = os.environ.get("OTEL_SERVICE_NAME", "recsys")
    provider = TracerProvider(ParentBased(TraceIdRatioBased(ratio)), Resource.create({"service.name": name}))
    provider.add_span_processor(BatchSpanProcessor(exporter) if batched else SimpleSpanProcessor(exporter))
    return Tracing(provider.get_tracer("recsys"))


def from_environment(environment: Mapping[str, str] = os.environ) -> Tracing | None:
    """What the OTEL_* variables ask for; None where they name no exporter.

    Raises:
        BadInput: an exporter that is not known or not installed, or a ratio that is none.
    """
    name = environment.get("OTEL_TRACES_EXPORTER", "none")
    if name in ("", "none") or environment.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return None
    text = environment.get("OTEL_TRACES_SAMPLER_ARG", RATIO)
    try:
        ratio = float(text)
    except ValueError:
        ratio = -1.0
    if not 0 <= ratio <= 1:
        raise BadInput(f"OTEL_TRACES_SAMPLER_ARG is {text!r}: give a share from 0 to 1")
    return tracing(_exporter(name), ratio)


def _exporter(name: str) -> SpanExporter:
    if name == "console":
        import sys

        from opentelemetry.sdk.trace.export import ConsoleSpanExporter

        return ConsoleSpanExporter(out=sys.stderr)
    if name != "otlp":
        raise BadInput(f"OTEL_TRACES_EXPORTER is {name!r}: use otlp, console or none")
    try:
        from importlib import import_module

        module: Any = import_module("opentelemetry.exporter.otlp.proto.http.trace_exporter")
    except ImportError:
        raise BadInput("OTEL_TRACES_EXPORTER=otlp needs the extra: pip install 'recsys[tracing]'") from None
    exporter: SpanExporter = module.OTLPSpanExporter()
    return exporter
