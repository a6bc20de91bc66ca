"""The batch endpoint for players that were offline: chunks, gzip, bounds, true counts whatever happens."""

from __future__ import annotations

import contextlib
import gzip
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import pytest
from fastapi.testclient import TestClient
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.errors import BadInput, LogUnavailable
from recsys.ids import uuid7
from serving.access.gate import UNGUARDED
from serving.api import batch
from serving.api.app import create_app
from serving.api.batch import MAX_LINE, MAX_LINES, Intake
from serving.api.schemas import MAX_EVENTS, BatchReceipt
from tests.api.fake_service import LISTENERS, TRACK_IDS, FakeService

if TYPE_CHECKING:
    from serving.service import Service

NDJSON = {"Content-Type": "application/x-ndjson"}
GZIP = NDJSON | {"Content-Encoding": "gzip"}


def play(**more: Any) -> dict[str, Any]:
    base = {"event_id": uuid7(), "kind": "play_end", "user_id": LISTENERS[0], "ts": "2026-03-01T10:00:00Z"}
    return base | {"track_id": TRACK_IDS[0], "ms_played": 200_000, "offline": True} | more


def body(events: list[Any]) -> bytes:
    return b"".join(orjson.dumps(event) + b"\n" for event in events)


def client(service: Any) -> TestClient:
    return TestClient(create_app(service, access=UNGUARDED), raise_server_exceptions=False)


def post(app: TestClient, content: bytes, headers: dict[str, str] = NDJSON) -> BatchReceipt:
    answer = app.post("/v1/events/batch", content=content, headers=headers)
    assert answer.status_code == 200, answer.text
    return BatchReceipt.model_validate(answer.json())


def test_a_batch_is_logged_once_plain_or_gzipped_and_sent_again() -> None:
    service = FakeService()
    app, events = client(service), [play() for _ in range(2 * MAX_EVENTS + 7)]
    first = post(app, gzip.compress(body(events)), GZIP)
    again = post(app, body(events)[:-1])  # without the last line's end
    assert (first.accepted, first.duplicates, first.lines) == (len(events), 0, len(events))
    assert (again.accepted, again.duplicates, again.lines) == (0, len(events), len(events))
    assert len(service.log) == len(events)


def test_late_events_are_welcome_and_refused_lines_are_named(tiny_service: Service) -> None:
    good = [play(ts="2019-05-01T00:00:00Z"), play()]
    bad = [b"{", b'"text"', b'{"a": 1, "a": 2}', orjson.dumps(play(kind="dance")), orjson.dumps(play(mood=1))]
    future, unset = (
        orjson.dumps(play(ts="2099-01-01T00:00:00Z")),
        orjson.dumps(play(ts="2001-01-01T00:00:00Z")),
    )
    lines = [orjson.dumps(good[0]), b"", *bad, future, unset, b"  ", orjson.dumps(good[1])]
    receipt = post(client(tiny_service), b"\n".join(lines))
    assert (receipt.accepted, receipt.refused, receipt.lines) == (2, 7, 11)
    assert [r.line for r in receipt.reasons] == [3, 4, 5, 6, 7, 8, 9]
    assert "48 hours ahead" in receipt.reasons[5].reason
    assert "before 2005" in receipt.reasons[6].reason


def test_the_clock_rule_holds_for_small_batches_too(tiny_service: Service) -> None:
    events = [play(ts="2099-01-01T00:00:00Z"), play(ts="2004-12-31T23:59:59Z"), play()]
    told = client(tiny_service).post("/v1/events", json={"events": events}).json()
    assert told["accepted"] == 1
    assert [r["index"] for r in told["refused"]] == [0, 1]


def test_of_many_refusals_the_first_hundred_are_named() -> None:
    receipt = post(client(FakeService()), b"nonsense\n" * 5_000)
    assert (receipt.refused, len(receipt.reasons), receipt.lines) == (5_000, 100, 5_000)


class FillingService(FakeService):
    """A service whose log's disk fills up after some chunks."""

    def __init__(self, chunks: int) -> None:
        super().__init__()
        self.left = chunks

    def ingest(self, bodies: list[Any]) -> dict[str, Any]:
        if not self.left:
            raise LogUnavailable("the event log's disk is full; free some space")
        self.left -= 1
        return super().ingest(bodies)


def test_a_log_that_fills_up_half_way_says_what_is_durable_and_the_rest_can_follow() -> None:
    service = FillingService(2)
    app, events = client(service), [play() for _ in range(3 * MAX_EVENTS)]
    answer = app.post("/v1/events/batch", content=body(events), headers=NDJSON)
    told = answer.json()
    assert answer.status_code == 503
    assert answer.headers["retry-after"]
    assert (told["accepted"], told["lines"]) == (2 * MAX_EVENTS, 2 * MAX_EVENTS)
    assert len(service.log) == 2 * MAX_EVENTS
    service.left = 9
    again = post(app, body(events))
    assert (again.accepted, again.duplicates) == (MAX_EVENTS, 2 * MAX_EVENTS)


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"", 400),
        (b"\n\n \n", 400),
        (gzip.compress(body([play()]))[:-9], 400),
        (b"\x1f\x8b" + b"\0" * 50, 400),
        (b"not gzip at all", 400),
        (gzip.compress(body([play()])) + b"junk", 400),
        (gzip.compress(b"x" * (MAX_LINE + 1)), 413),
    ],
)
def test_a_gzip_body_that_is_cut_off_empty_or_something_else_is_refused(content: bytes, status: int) -> None:
    answer = client(FakeService()).post("/v1/events/batch", content=content, headers=GZIP)
    assert answer.status_code == status
    assert answer.json()["accepted"] == 0


def test_other_media_and_codings_are_refused() -> None:
    app, content = client(FakeService()), body([play()])
    for headers in ({"Content-Type": "application/json"}, {}, NDJSON | {"Content-Encoding": "br"}):
        assert app.post("/v1/events/batch", content=content, headers=headers).status_code == 415
    zipped = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    assert app.post("/v1/events", content=gzip.compress(b"{}"), headers=zipped).status_code == 415


def bomb(unpacked: int) -> bytes:
    """A gzip body of `unpacked` bytes of empty lines, made without holding them."""
    squeeze = zlib.compressobj(9, wbits=16 + zlib.MAX_WBITS)
    pieces = [squeeze.compress(b"\n" * 40 + b" " * (2**16 - 40)) for _ in range(unpacked >> 16)]
    return b"".join([*pieces, squeeze.flush()])


def test_a_decompression_bomb_is_refused_while_only_a_little_of_it_is_unpacked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    packed = bomb(1 << 27)  # 128 MiB in 0.2 MB
    assert len(packed) < 1 << 20
    longest = 0

    class Watched(Intake):
        def _take_in(self, piece: bytes) -> None:
            nonlocal longest
            longest = max(longest, len(piece) + len(self._rest))
            super()._take_in(piece)

    intake = Watched(FakeService().ingest, gzipped=True)
    with pytest.raises(BadInput, match=r"64 MiB|lines"):
        intake.feed(packed)
    assert longest <= batch._PIECE + MAX_LINE


def test_too_many_lines_are_refused_and_what_came_before_is_kept() -> None:
    answer = client(FakeService()).post(
        "/v1/events/batch", content=b"nonsense\n" * (MAX_LINES + 5), headers=NDJSON
    )
    assert answer.status_code == 413
    assert answer.json()["refused"] == MAX_LINES


@given(st.lists(st.integers(0, 3), min_size=1, max_size=40), st.integers(0, 2**32), st.booleans())
@settings(max_examples=40, deadline=None)
def test_how_a_body_is_cut_into_packets_makes_no_difference(
    kinds: list[int], seed: int, gzipped: bool
) -> None:
    """Law: counts and logged ids depend on the bytes alone, also over two gzip members."""
    known = play()
    lines = [(orjson.dumps(play()), b"", b"broken", orjson.dumps(known))[kind] + b"\n" for kind in kinds]
    half = len(lines) // 2
    parts = [b"".join(lines[:half]), b"".join(lines[half:])]
    content = b"".join(gzip.compress(part) for part in parts) if gzipped else b"".join(parts)
    found = []
    for cuts in (np.zeros(0, int), np.sort(np.random.default_rng(seed).integers(0, len(content), 9))):
        service = FakeService()
        intake = Intake(service.ingest, gzipped)
        for packet in np.split(np.frombuffer(content, np.uint8), cuts):
            intake.feed(packet.tobytes())
        with contextlib.suppress(BadInput):  # only empty lines
            intake.finish()
        found.append((intake.counts(), list(service.log)))
    assert found[0] == found[1]
    assert found[0][0]["lines"] == len(kinds)
