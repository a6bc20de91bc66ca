"""Bodies and headers that mean harm, or were cut off: always a 4xx problem, never a fault."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import socket
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import httpx
import orjson
import pytest
import uvicorn
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from recsys.errors import BadInput
from recsys.ids import uuid7
from serving.access.gate import UNGUARDED
from serving.api.app import create_app
from serving.api.strict import loads
from tests.api.fake_service import LISTENERS, TRACK_IDS, FakeService

if TYPE_CHECKING:
    from serving.service import Service

JSON = {"Content-Type": "application/json"}
CLIENT = TestClient(create_app(FakeService(), access=UNGUARDED), raise_server_exceptions=False)
EVENT = {"event_id": uuid7(), "kind": "save", "user_id": LISTENERS[0], "ts": "2026-03-01T10:00:00Z"}
GOOD = orjson.dumps({"events": [EVENT | {"track_id": TRACK_IDS[0]}]})
BOUNDED = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))

HOSTILE = {
    "truncated": GOOD[:-20],
    "empty": b"",
    "deep lists": b'{"events": ' + b"[" * 50_000 + b"]" * 50_000 + b"}",
    "deep objects": b'{"events": [' + b'{"a":' * 50_000 + b"1" + b"}" * 50_000 + b"]}",
    "a million brackets": b"[" * 1_000_000,
    "NaN": b'{"events": [{"propensity": NaN}]}',
    "Infinity": b'{"events": [{"ms_played": -Infinity}]}',
    "a huge integer": b'{"events": [{"ms_played": ' + b"9" * 100_000 + b"}]}",
    "a key twice": b'{"events": [], "events": [1]}',
    "a key of an event twice": GOOD.replace(b'"kind":"save"', b'"kind":"save","kind":"share"'),
    "not UTF-8": b'{"events": ["\xff\xfe"]}',
    "a lone surrogate": b'{"events": [{"\\ud800": 1}]}',
    "a raw surrogate": b'{"events": ["\xed\xa0\x80"]}',
    "UTF-16": '{"events": []}'.encode("utf-16"),
    "a byte order mark": b"\xef\xbb\xbf" + GOOD,
    "two documents": GOOD + GOOD,
    "gzip without saying so": gzip.compress(GOOD),
}


def is_refused(answer: Any, *statuses: int) -> None:
    assert answer.status_code in (statuses or range(400, 500)), answer.text[:300]
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == answer.status_code
    assert len(answer.content) < 5_000


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_body_is_a_bad_request(body: bytes) -> None:
    is_refused(CLIENT.post("/v1/events", content=body, headers=JSON), 400, 422)


@given(st.binary(max_size=300), st.integers(0, len(GOOD)), st.integers(0, len(GOOD)))
@BOUNDED
def test_any_bytes_put_into_a_batch_are_answered_without_a_fault(junk: bytes, begin: int, end: int) -> None:
    body = GOOD[:begin] + junk + GOOD[end:]
    answer = CLIENT.post("/v1/events", content=body, headers=JSON)
    assert answer.status_code < 500
    if answer.status_code != 200:
        is_refused(answer)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=4,
)
FIELDS = st.sampled_from([*EVENT, "track_id", "payload", "ms_played", "propensity", "\x00", "é" * 300])


@given(
    st.lists(
        st.dictionaries(FIELDS, JSON_VALUES, max_size=6).map(lambda d: EVENT | d), min_size=1, max_size=4
    )
)
@example([EVENT | {"user_id": "a\x00" * 11}])
@example([EVENT | {"ms_played": 10**400}])
@example([EVENT | {"ts": 1e308}])
@example([EVENT | {"x" * 100_000: 1}])
@BOUNDED
def test_any_fields_of_events_are_taken_or_refused_one_by_one(events: list[dict[str, Any]]) -> None:
    body = json.dumps({"events": events}).encode()
    answer = CLIENT.post("/v1/events", content=body, headers=JSON)
    assert answer.status_code in (200, 400), answer.text
    if answer.status_code == 200:
        told = answer.json()
        assert told["accepted"] + told["duplicates"] + len(told["refused"]) == len(events)
        assert all(len(refusal["reason"]) <= 300 for refusal in told["refused"])


def test_the_real_service_meets_the_same_bodies(tiny_service: Service) -> None:
    client = TestClient(create_app(tiny_service, access=UNGUARDED), raise_server_exceptions=False)
    end = tiny_service.log.end
    for body in HOSTILE.values():
        is_refused(client.post("/v1/events", content=body, headers=JSON), 400, 422)
    hostile = [
        EVENT | {"user_id": "a\x00" * 11},
        EVENT | {"ts": 1e308},
        EVENT | {"ts": "1e400"},
        None,
        [],
        1e999,
    ]
    told = client.post("/v1/events", content=json.dumps({"events": hostile[:5]}), headers=JSON).json()
    assert len(told["refused"]) == 5
    assert tiny_service.log.end == end


@given(
    st.text(max_size=40), st.sampled_from(["user_id", "tz", "country", "device", "limit", "seed", "cursor"])
)
@BOUNDED
def test_any_text_as_a_parameter_is_answered_without_a_fault(text: str, name: str) -> None:
    path = "/v1/radio" if name in ("seed", "cursor") else "/v1/home"
    text = text.encode("utf-8", "replace").decode()
    assert CLIENT.get(path, params={name: text}).status_code < 500


def raw(
    method: str, path: str, headers: list[tuple[bytes, bytes]], body: list[dict[str, Any]]
) -> dict[str, Any]:
    """The start of the answer to a request that no client library would send."""
    scope = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "scheme": "http"}
    scope |= {"method": method, "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": ""}
    scope |= {"headers": headers, "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80)}  # type: ignore[dict-item]
    messages, sent = iter(body), []

    async def receive() -> dict[str, Any]:
        return next(messages, {"type": "http.disconnect"})

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    app = create_app(FakeService(), access=UNGUARDED)
    asyncio.run(app(scope, receive, send))  # type: ignore[arg-type]
    return sent[0]


@pytest.mark.parametrize("length", [b"abc", b"-1", b"1e3", b"9" * 30, b"\xb2", b"+5", b" 7"])
def test_a_content_length_that_is_no_number_is_refused(length: bytes) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", length)]
    assert raw("POST", "/v1/events", headers, [])["status"] in (400, 413)


@pytest.mark.parametrize("path", ["/v1/events", "/v1/events/batch"])
def test_a_body_that_is_longer_than_it_says_is_cut_off_at_the_limit(path: str) -> None:
    media = b"application/json" if path == "/v1/events" else b"application/x-ndjson"
    headers = [(b"content-type", media), (b"content-length", b"10")]
    chunk = {"type": "http.request", "body": b"x" * 262_143 + b"\n", "more_body": True}
    assert raw("POST", path, headers, [chunk] * 100)["status"] == 413


@pytest.mark.parametrize("path", ["/v1/events", "/v1/events/batch"])
def test_a_client_that_goes_away_in_the_middle_is_no_fault(path: str) -> None:
    media = b"application/json" if path == "/v1/events" else b"application/x-ndjson"
    headers = [(b"content-type", media), (b"content-length", b"500")]
    half = {"type": "http.request", "body": GOOD[:40], "more_body": True}
    assert raw("POST", path, headers, [half])["status"] == 400


@pytest.mark.parametrize(
    "headers",
    [
        {f"X-{i}": "y" * 1000 for i in range(40)},
        {"Authorization": "Bearer " + "x" * 40_000},
        {"Cookie": "a=" + "b" * 40_000},
    ],
)
def test_header_bombs_are_refused(headers: dict[str, str]) -> None:
    is_refused(CLIENT.get("/v1/home", headers=headers), 431)


def test_an_endless_address_is_refused() -> None:
    is_refused(CLIENT.get("/v1/home?user_id=" + "a" * 40_000), 431)


@pytest.mark.parametrize(
    "authorization", ["Bearer", "Bearer ", "Basic YTpi", "bearer \x7f", "Bearer é", "Bearer rsk__", "x" * 900]
)
def test_any_authorization_header_is_read_without_a_fault(authorization: str) -> None:
    guarded = TestClient(create_app(FakeService()), raise_server_exceptions=False)
    header = {"Authorization": authorization.encode("latin-1")}
    is_refused(guarded.get("/v1/decisions/x", headers=header), 401)


@given(JSON_VALUES | st.dictionaries(st.text(), st.text()))
def test_strict_json_reads_what_was_written(value: Any) -> None:
    text = json.dumps(value)
    if "NaN" in text or "Infinity" in text:
        with pytest.raises(BadInput):
            loads(json.dumps([float("nan")]).encode())
    else:
        assert loads(text.encode()) == value


@given(st.binary())
def test_strict_json_raises_nothing_but_bad_input(body: bytes) -> None:
    with contextlib.suppress(BadInput):
        assert orjson.dumps(loads(body), default=str)


@pytest.fixture(scope="module")
def address() -> Iterator[tuple[str, int]]:
    """A real server of the same app."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = uvicorn.Server(uvicorn.Config(CLIENT.app, host="127.0.0.1", port=port, log_level="critical"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    yield "127.0.0.1", port
    server.should_exit = True
    thread.join(10)


POST = b"POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
WIRE = {
    "a body cut off": POST + b"Content-Length: 500\r\n\r\n" + GOOD[:40],
    "a body longer than it says": POST + b"Content-Length: 5\r\n\r\n" + GOOD,
    "two lengths": POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n" + GOOD,
    "a length and chunks": POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "chunks that are none": POST + b"Transfer-Encoding: chunked\r\n\r\nnonsense\r\n",
    "chunks cut off": POST + b"Transfer-Encoding: chunked\r\n\r\nff\r\n{",
    "a header bomb": POST + b"X: " + b"y" * 300_000 + b"\r\n\r\n",
    "many headers": POST + b"".join(b"X%d: y\r\n" % i for i in range(20_000)) + b"\r\n",
    "no HTTP at all": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc" * 50,
    "an endless address": b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "a null in the path": b"GET /v1/tracks/%00 HTTP/1.1\r\nHost: x\r\n\r\n",
    "bytes that are no UTF-8": b"GET /v1/tracks/%ff%fe?x=%ff HTTP/1.1\r\nHost: x\r\n\r\n",
}


@pytest.mark.parametrize("sent", WIRE.values(), ids=WIRE)
def test_on_the_wire_harm_is_refused_or_hung_up_on_and_the_server_lives(
    address: tuple[str, int], sent: bytes
) -> None:
    with socket.create_connection(address, 10) as wire, contextlib.suppress(ConnectionError):
        wire.sendall(sent)
        wire.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: wire.recv(65_536), b""))
        assert answer == b"" or answer.startswith(b"HTTP/1.1 4"), answer[:200]
    assert httpx.get(f"http://{address[0]}:{address[1]}/healthz").status_code == 200
