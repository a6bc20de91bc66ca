"""kill -9 of a real server while a client posts and retries; and malformed events among good ones."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from fastapi.testclient import TestClient
from tests_events import event
from tests_events import play as played

from recsys.engines import open_log
from recsys.home import Home
from recsys.ingest import move
from recsys.lake import Lake
from serving.access.gate import UNGUARDED
from serving.api.app import create_app
from serving.service import Service
from tests.eventlog.crash import run
from tests.eventlog.samples import play
from tests.serving.http_crash import HttpService, copied, outcome

USER, TRACK, NOW = "K" * 22, "T" * 22, 1_767_225_600_000


def kill_and_check(home: Home, kills: int, seed: int) -> None:
    before = rows_of_clients(home)
    service = HttpService(home)
    posted = run(service, kills, play, seed, longest=1.5)
    assert posted.kills == kills
    assert not service.refused
    found = outcome(home, posted)
    assert found.acknowledged > 0
    assert (found.lost, found.doubled) == (0, 0), found
    assert rows_of_clients(home) == before + found.acknowledged + found.arrived


def rows_of_clients(home: Home) -> int:
    """Events in the lake that clients sent, after moving what the log still holds (of other tests, at first)."""
    log, lake = open_log(home), Lake(home.lake)
    move(log, lake)
    log.close()
    events = lake.scan("events").filter(pl.col("kind") != "decision")
    return int(events.select(pl.len()).collect().item())


def test_a_server_killed_while_a_client_posts_loses_and_doubles_nothing(
    tiny_home: Home, tmp_path: Path
) -> None:
    kill_and_check(copied(tiny_home, tmp_path), kills=2, seed=3)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_server_killed_at_twenty_random_points_loses_and_doubles_nothing(
    tiny_home: Home, tmp_path: Path
) -> None:
    kill_and_check(copied(tiny_home, tmp_path), kills=20, seed=4)


def test_malformed_events_are_refused_one_by_one_and_the_good_ones_are_kept(
    tiny_home: Home, tmp_path: Path
) -> None:
    home = copied(tiny_home, tmp_path)
    good = [played(USER, TRACK, NOW + i, 40_000, "trackdone") for i in range(3)]
    bad = {
        "must be a lower-case hyphenated UUID": {**good[0], "event_id": "17"},
        "ms_played": event("play_end", USER, TRACK, NOW),
        "kind": {**event("save", USER, TRACK, NOW), "kind": "applause"},
        "track_id": event("save", USER, None, NOW),
        "mood": {**event("save", USER, TRACK, NOW), "mood": "good"},
        "ts": {**event("save", USER, TRACK, NOW), "ts": "yesterday"},
        "decision is written by the server": event("decision", USER, TRACK, NOW),
        "the server's own": {**event("save", USER, TRACK, NOW), "exposed": '{"version": "x", "arms": []}'},
        "took_ms": {**event("impression", USER, TRACK, NOW), "took_ms": 1.0},
        "user_id": event("save", "me", TRACK, NOW),
        "another body": {**good[0], "ms_played": 1},
    }
    posted = [good[0], *bad.values(), "not an event", *good[1:]]
    with (
        Service.open(home, background=False) as service,
        TestClient(create_app(service, access=UNGUARDED), base_url="http://127.0.0.1") as client,
    ):
        answer = client.post("/v1/events", json={"events": posted}).json()
        again = client.post("/v1/events", json={"events": good}).json()
    assert answer["accepted"] == 3
    assert [r["index"] for r in answer["refused"]] == list(range(1, len(bad) + 2))
    for refusal, part in zip(answer["refused"], [*bad, ""], strict=True):
        assert part in refusal["reason"], refusal
    assert (again["accepted"], again["duplicates"], again["refused"]) == (0, 3, [])
    rows = Lake(home.lake).scan("events").filter(pl.col("user_id") == USER).collect()
    assert sorted(rows["event_id"]) == sorted(body["event_id"] for body in good)
