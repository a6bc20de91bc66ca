"""Attribution of plays and saves to what was shown: late, repeated, foreign and early events."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from recsys.events import Event, to_frame
from recsys.ids import public_id, uuid7
from recsys.rewards import WINDOW_MS, RewardWeights, attribute

SHOWN = datetime(2026, 5, 1, 12, tzinfo=UTC)
USER, OTHER = public_id("test", "user"), public_id("test", "other")
TRACK = public_id("test", "track")


def event(kind: str, minutes: float = 0.0, **changes: Any) -> Event:
    body = {
        "event_id": uuid7(),
        "kind": kind,
        "user_id": USER,
        "request_id": "request",
        "track_id": TRACK,
        "ts": SHOWN + timedelta(minutes=minutes),
    }
    return Event.model_validate({**body, **changes})


def play(minutes: float, ms_played: int = 20_000, **changes: Any) -> Event:
    """Ends that many minutes after the impression."""
    return event("play_end", minutes, ms_played=ms_played, **changes)


def outcome(*events: Event) -> dict[str, Any]:
    rows = attribute(to_frame([event("impression", surface="home", position=3), *events]).lazy())
    assert rows.height == 1
    return rows.row(0, named=True)


def test_an_impression_without_reaction_is_worth_nothing() -> None:
    row = outcome()
    assert row["position"] == 3
    assert [row[c] for c in ("played", "finished", "skipped", "streamed", "saved")] == [False] * 5
    assert (row["ms_played"], row["reward"]) == (0, 0.0)


@pytest.mark.parametrize(
    ("ms_played", "reason_end", "flags", "reward"),
    [
        (200_000, "trackdone", ["finished", "streamed"], 1.0),
        (20_000, "trackdone", ["finished"], 1.0),
        (20_000, "fwdbtn", ["skipped"], -0.5),
        (30_000, None, ["streamed"], 0.3),
    ],
)
def test_a_play_is_finished_streamed_or_skipped(
    ms_played: int, reason_end: str | None, flags: list[str], reward: float
) -> None:
    row = outcome(play(5, ms_played, reason_end=reason_end))
    assert [c for c in ("finished", "skipped", "streamed") if row[c]] == flags
    assert (row["played"], row["ms_played"], row["reward"]) == (True, ms_played, reward)


def test_the_first_play_decides_whatever_the_order_of_arrival() -> None:
    first, second = play(5), play(9, 60_000, reason_end="trackdone")
    assert outcome(second, first)["skipped"]
    assert outcome(first, first, second)["ms_played"] == 20_000


def test_a_play_counts_by_when_it_began_not_by_when_it_arrived() -> None:
    late = play(23 * 60, received_at=SHOWN + timedelta(days=3))
    assert outcome(late)["played"]
    last_moment = WINDOW_MS / 60_000
    assert outcome(play(last_moment, 1))["played"], "it began just inside"
    assert not outcome(play(last_moment, 0))["played"]
    assert not outcome(play(0.1, 20_000))["played"], "it began before the impression"


def test_events_of_other_listeners_requests_and_tracks_are_not_attributed() -> None:
    strangers = [
        play(5, user_id=OTHER),
        play(5, request_id="another"),
        play(5, request_id=None),
        play(5, track_id=public_id("test", "another")),
        event("save", 5, request_id=None),
    ]
    assert not outcome(*strangers)["played"]
    assert not outcome(*strangers)["saved"]


def test_a_save_counts_until_it_is_taken_back() -> None:
    assert outcome(event("save", 1))["reward"] == 1.0
    assert outcome(play(5, 60_000, reason_end="trackdone"), event("save", 1))["reward"] == 2.0
    assert not outcome(event("unsave", 2), event("save", 1))["saved"]
    assert outcome(event("unsave", 2), event("save", 1), event("save", 3))["saved"]


def test_a_track_shown_twice_is_one_impression_and_repeated_rows_change_nothing() -> None:
    again = event("impression", 1, position=7, surface="home")
    row = outcome(again, again, play(5))
    assert row["position"] == 3
    assert row["skipped"]


def test_each_slot_of_a_request_gets_its_own_outcome_and_weights_are_settings() -> None:
    other = public_id("test", "other track")
    events = [
        event("impression", position=1, track_id=other),
        event("impression", position=0),
        play(5, track_id=other),
        event("save", 1),
    ]
    rows = attribute(to_frame(events).lazy(), weights=RewardWeights(skipped=-2.0))
    assert rows.select("position", "reward").rows() == [(0, 1.0), (1, -2.0)]
    assert attribute(to_frame([]).lazy()).height == 0
    assert rows.schema["reward"] == pl.Float64
