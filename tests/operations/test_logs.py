"""Log lines: JSON that parses, the request they belong to, and never a listener's id, address or own words."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st

from recsys.errors import BadInput, LogUnavailable, StoreUnavailable
from recsys.ids import public_id, uuid7
from serving.access.gate import UNGUARDED
from serving.api.app import create_app
from serving.watch.logs import LogSettings, configure, from_environment, redacted
from serving.watch.watching import Watching
from tests.api.fake_service import LISTENERS, FakeService

ADDRESS = "203.0.113.77"
MAIL = "anna.mueller@example.org"
WORDS = "Anna-Mueller-of-Berlin"


@contextmanager
def logged(form: str = "json", level: str = "INFO") -> Iterator[io.StringIO]:
    """Everything that the process logs meanwhile, as the server would write it."""
    stream, root = io.StringIO(), logging.getLogger()
    handlers, before = list(root.handlers), root.level
    configure(LogSettings(format=form, level=level), stream)  # type: ignore[arg-type]
    try:
        yield stream
    finally:
        root.handlers[:], root.level = handlers, before


class Failing(FakeService):
    """Fails in every way that repeats what it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.error: Exception | None = None

    def recommend(self, ask: Any) -> dict[str, Any]:
        if self.error is not None:
            raise self.error
        return super().recommend(ask)

    def ingest(self, bodies: list[Any]) -> dict[str, Any]:
        if self.error is not None:
            raise self.error
        return super().ingest(bodies)


def session(service: Failing) -> None:
    """Good and failing requests that carry an id, an address, a mail address and free words."""
    app = create_app(service, access=UNGUARDED, watching=Watching(requests=1.0))
    client = TestClient(app, client=(ADDRESS, 5000), raise_server_exceptions=False)
    user = LISTENERS[0]
    event = {"kind": "save", "user_id": user, "ts": "2026-03-01T10:00:00Z", "event_id": uuid7()}
    headers = {"X-Forwarded-For": ADDRESS, "User-Agent": MAIL, "traceparent": f"00-{'a' * 32}-{'b' * 16}-00"}
    raised: list[Exception | None] = [
        None,
        KeyError(WORDS),
        ValueError(f"no user {user} at {ADDRESS}, {WORDS}"),
        StoreUnavailable(f"redis://{ADDRESS}:6379 refused {user}"),
        LogUnavailable(f"cannot write '{WORDS}' of {MAIL}"),
        BadInput(f"unknown seed {WORDS}"),
    ]
    for service.error in raised:
        client.get("/v1/home", params={"user_id": user}, headers=headers)
        client.get("/v1/home", params={"user_id": WORDS}, headers=headers)
        client.get(f"/v1/tracks/{user}", headers=headers)
        client.get(f"/v1/{WORDS}/{MAIL}", headers=headers)
        client.get("/", params={"user_id": user}, headers=headers)
        client.post("/v1/events", json={"events": [event]}, headers=headers)
        client.post("/v1/events", content=f'{{"{WORDS}": ', headers=headers)


@pytest.mark.parametrize("form", ["json", "text"])
def test_no_line_of_a_session_names_a_listener_an_address_or_what_was_sent(form: str) -> None:
    with logged(form) as stream:
        session(Failing())
    text = stream.getvalue()
    assert len(text.splitlines()) > 30
    for private in (LISTENERS[0], ADDRESS, MAIL, WORDS, "Mueller", "user_id"):
        assert private not in text


def test_a_line_says_route_status_duration_and_trace_and_where_the_fault_is() -> None:
    with logged() as stream:
        session(Failing())
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    failed = next(line for line in lines if line.get("status") == 500 and line["route"] == "/v1/home")
    assert {"time", "level", "logger", "message", "ms", "method"} <= set(failed)
    assert failed["trace_id"] == "a" * 32
    assert failed["message"] == "failed: KeyError"
    traced = next(line for line in lines if "raised" in line)
    assert traced["raised"][-1].startswith("KeyError")
    assert any("recommend" in frame for frame in traced["raised"])
    good = next(line for line in lines if line.get("status") == 200 and line["route"] == "/v1/home")
    assert good["rung"] == "full"
    assert good["request_id"]


def test_good_requests_get_no_line_unless_asked_for() -> None:
    app = create_app(FakeService(), access=UNGUARDED)
    with logged() as stream:
        TestClient(app).get("/v1/home")
    assert "answered" not in stream.getvalue()


def test_every_argument_of_a_message_is_redacted_not_only_exceptions() -> None:
    user = public_id("somebody", "1")
    with logged("text") as stream:
        logging.getLogger("any").error("state of %s at %s lost (key %s)", user, "2001:db8::7", "rsk_0123_abc")
        logging.getLogger("any").error("template that fits nothing %d", user)
    text = stream.getvalue()
    assert user not in text
    assert "2001:db8" not in text
    assert "rsk_0123" not in text


@given(st.from_regex(r"[0-9A-Za-z]{22}", fullmatch=True), st.ip_addresses(v=4).map(str))
def test_an_id_or_address_anywhere_in_a_text_is_gone(user: str, address: str) -> None:
    text = redacted(f"a/{user}/b of {user}, from {address}: ({address}) /v1/home?user_id={user}&x=1")
    assert user not in text
    assert address not in text


def test_times_and_versions_are_left_alone() -> None:
    assert redacted("release 12 at 10:15:30, 3 of 4 stages") == "release 12 at 10:15:30, 3 of 4 stages"


def test_a_setting_that_cannot_be_used_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECSYS_LOG_FORMAT", "xml")
    with pytest.raises(BadInput, match="RECSYS_LOG_FORMAT"):
        from_environment()
