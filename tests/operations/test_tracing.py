"""Traces: a caller's trace goes on, stages are spans of the right length, and nothing is done when nobody asks."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from recsys.errors import BadInput, NotReady
from serving.access.gate import UNGUARDED
from serving.api.app import create_app
from serving.service import Service
from serving.watch.facts import FACTS, part
from serving.watch.tracing import from_environment, trace_id_of, tracing
from serving.watch.watching import Watching
from tests.api.fake_service import LISTENERS, FakeService

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def client(service: Any, exporter: InMemorySpanExporter, ratio: float = 0.0) -> TestClient:
    watching = Watching(tracing(exporter, ratio, batched=False))
    app = create_app(service, access=UNGUARDED, watching=watching)
    return TestClient(app, raise_server_exceptions=False)


def test_a_sampled_caller_gets_its_trace_continued_with_a_span_for_every_part(tiny_service: Service) -> None:
    exporter = InMemorySpanExporter()
    before = list(tiny_service.observers)
    try:
        answer = client(tiny_service, exporter).get(
            "/v1/home", params={"user_id": "7" * 22}, headers={"traceparent": f"00-{TRACE}-{PARENT}-01"}
        )
    finally:
        tiny_service.observers[:] = before
    spans = {span.name: span for span in exporter.get_finished_spans()}
    root = spans["GET /v1/home"]
    assert f"{root.context.trace_id:032x}" == TRACE
    assert f"{root.parent.span_id:016x}" == PARENT
    assert {s.context.trace_id for s in spans.values()} == {root.context.trace_id}
    assert {"query", "ladder", "log.append", "union", "rank", "select", "source:popular"} <= set(spans)
    inside = [s for s in spans.values() if s.parent.span_id == spans["ladder"].context.span_id]
    assert (
        sum(s.end_time - s.start_time for s in inside)
        <= spans["ladder"].end_time - spans["ladder"].start_time
    )
    assert all(root.start_time <= s.start_time <= s.end_time <= root.end_time for s in spans.values())
    assert root.attributes["recsys.rung"] == "full"
    assert root.attributes["http.response.status_code"] == 200
    assert f"00-{TRACE}-{root.context.span_id:016x}-01" in answer.headers["server-timing"]


def test_spans_name_no_listener(tiny_service: Service) -> None:
    exporter = InMemorySpanExporter()
    before = list(tiny_service.observers)
    try:
        client(tiny_service, exporter, 1.0).get("/v1/home", params={"user_id": LISTENERS[0]})
    finally:
        tiny_service.observers[:] = before
    spans = exporter.get_finished_spans()
    assert len(spans) > 10
    assert LISTENERS[0] not in "".join(span.to_json() for span in spans)


@pytest.mark.parametrize("flags", ["00", None])
def test_a_caller_that_does_not_sample_is_not_traced(flags: str | None) -> None:
    exporter = InMemorySpanExporter()
    headers = {} if flags is None else {"traceparent": f"00-{TRACE}-{PARENT}-{flags}"}
    answer = client(FakeService(), exporter).get("/v1/home", headers=headers)
    assert exporter.get_finished_spans() == ()
    assert "server-timing" not in answer.headers


def test_a_failure_marks_its_span_with_the_type_of_the_error() -> None:
    exporter, service = InMemorySpanExporter(), FakeService()
    service.is_ready = False
    assert client(service, exporter, 1.0).get("/v1/home").status_code == 503
    (span,) = exporter.get_finished_spans()
    assert not span.status.is_ok
    assert span.attributes["error.type"] == NotReady.__name__


@pytest.mark.parametrize(
    "header",
    [
        "",
        "00-" + "0" * 32 + f"-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"ff-{TRACE}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}-01-more",
        f"00-{TRACE.upper()}-{PARENT}-01",
        "x" * 5000,
    ],
)
def test_a_header_that_is_no_traceparent_starts_nothing(header: str) -> None:
    assert trace_id_of(header) == ""
    exporter = InMemorySpanExporter()
    assert client(FakeService(), exporter).get("/v1/home", headers={"traceparent": header}).is_success
    assert exporter.get_finished_spans() == ()


def test_a_later_version_of_the_header_is_read_as_far_as_it_is_known() -> None:
    assert trace_id_of(f"01-{TRACE}-{PARENT}-01-more") == TRACE


def test_a_part_outside_of_a_traced_request_is_not_kept() -> None:
    assert FACTS.get() is None
    with part("anything"):
        pass
    assert FACTS.get() is None


def test_tracing_is_off_unless_an_exporter_is_named_and_says_what_is_wrong_with_one() -> None:
    assert from_environment({}) is None
    assert from_environment({"OTEL_TRACES_EXPORTER": "none"}) is None
    assert from_environment({"OTEL_TRACES_EXPORTER": "console"}) is not None
    with pytest.raises(BadInput, match="OTEL_TRACES_EXPORTER is 'smoke'"):
        from_environment({"OTEL_TRACES_EXPORTER": "smoke"})
    with pytest.raises(BadInput, match="OTEL_TRACES_SAMPLER_ARG"):
        from_environment({"OTEL_TRACES_EXPORTER": "console", "OTEL_TRACES_SAMPLER_ARG": "2"})
