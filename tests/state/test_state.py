"""The listener state: the same for any order, repetition and grouping of events; stream equals backfill."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.errors import BadInput
from recsys.events import Event, to_frame
from recsys.features.state import apply, backfill, decode, encode, merge
from recsys.ids import public_id, uuid7
from recsys.lake import Lake
from recsys.plays import WINDOW, Outcome
from recsys.types import UserState

START = datetime(2026, 3, 28, 22, tzinfo=UTC)
USERS = [public_id("test", f"user {i}") for i in range(3)]
TRACKS = [public_id("test", f"track {i}") for i in range(4)]
ARTISTS = [public_id("test", f"artist {i}") for i in range(2)]
PLAYLIST = public_id("test", "playlist")
SESSIONS = ["morning", "night"]
KINDS = [
    *["play_end"] * 6,
    *["save", "unsave", "impression"],
    *["follow", "unfollow", "not_interested", "undo_not_interested", "snooze_artist", "unsnooze_artist"],
    *["exclude_from_taste", "include_in_taste"],
]


@st.composite
def events(draw: st.DrawFn) -> Event:
    kind = draw(st.sampled_from(KINDS))
    return Event.model_validate(
        {
            "event_id": uuid7(0, entropy=draw(st.integers(0, 2**60))),
            "kind": kind,
            "user_id": draw(st.sampled_from(USERS)),
            "ts": START + timedelta(milliseconds=250, minutes=draw(st.integers(0, 300))),
            **_subject(draw, kind),
            "ms_played": draw(st.sampled_from([0, 29_999, 30_000, 60_000])) if kind == "play_end" else None,
            "reason_end": draw(st.sampled_from([None, "trackdone", "fwdbtn"])),
            "tz": draw(st.sampled_from([None, "Europe/Paris", "America/New_York", "Not/AZone"])),
            "device": draw(st.sampled_from([None, "mobile", "toaster"])),
            "surface": draw(st.sampled_from([None, "home", "radio"])),
            "incognito_mode": draw(st.sampled_from([False, False, False, True])),
            "consent_personalization": draw(st.sampled_from([True, True, True, False])),
        }
    )


def _subject(draw: st.DrawFn, kind: str) -> dict[str, object]:
    """What the event is about, with the ids that a client may send along."""
    artist, session = draw(st.sampled_from(ARTISTS)), draw(st.sampled_from(SESSIONS))
    if kind in ("follow", "unfollow", "snooze_artist", "unsnooze_artist"):
        return {"artist_id": artist, "snooze_days": draw(st.sampled_from([None, 1, 400]))}
    if kind.endswith("_taste"):
        return {"session_id": session, "playlist_id": draw(st.sampled_from([None, PLAYLIST]))}
    if kind.endswith("not_interested") and draw(st.booleans()):
        return {"artist_id": artist}
    known = draw(st.booleans())
    return {
        "track_id": draw(st.sampled_from(TRACKS)),
        "session_id": session if known else None,
        "playlist_id": draw(st.sampled_from([None, PLAYLIST])) if known else None,
    }


batches = st.lists(events(), max_size=30)


def fold(given_events: list[Event]) -> dict[str, UserState]:
    """One event at a time, as a stream would."""
    states: dict[str, UserState] = {}
    for event in given_events:
        state = states.get(event.user_id, UserState(event.user_id))
        states[event.user_id] = apply(state, [event])
    return states


@settings(max_examples=60, deadline=None)
@given(batches, st.randoms(use_true_random=False))
def test_order_and_repetition_of_events_do_not_matter(some: list[Event], random: object) -> None:
    again = [*some, *some[: len(some) // 2]]
    random.shuffle(again)  # type: ignore[attr-defined]
    assert fold(again) == fold(some)


@settings(max_examples=60, deadline=None)
@given(batches, batches)
def test_batches_and_merges_give_what_single_events_give(first: list[Event], second: list[Event]) -> None:
    for user in USERS:
        blank = UserState(user)
        a = apply(blank, [e for e in first if e.user_id == user])
        b = apply(blank, [e for e in second if e.user_id == user])
        whole = fold([*first, *second]).get(user, blank)
        assert merge(a, b) == merge(b, a) == whole
        assert apply(a, [e for e in second if e.user_id == user]) == whole


@settings(max_examples=25, deadline=None)
@given(batches)
def test_a_backfill_from_the_lake_equals_the_fold_of_the_stream(
    tmp_path_factory: pytest.TempPathFactory, some: list[Event]
) -> None:
    lake = Lake(tmp_path_factory.mktemp("lake"))
    lake.append("events", to_frame(some))
    streamed = fold(some)
    touched = {e.user_id for e in some if not e.incognito_mode}
    assert {s.user_id: s for s in backfill(lake)} == {u: streamed[u] for u in touched}
    only = list(backfill(lake, users=USERS[:1]))
    assert only == [streamed[u] for u in USERS[:1] if u in touched]


@settings(max_examples=25, deadline=None)
@given(batches)
def test_decoding_gives_back_what_was_encoded(some: list[Event]) -> None:
    for state in fold(some).values():
        assert decode(encode(replace(state, offset=7))) == replace(state, offset=7)


def play(minute: int, **changes: object) -> Event:
    body = {
        "event_id": uuid7(minute, entropy=minute),
        "kind": "play_end",
        "user_id": USERS[0],
        "ts": START + timedelta(minutes=minute),
        "track_id": TRACKS[minute % 4],
        "ms_played": 20_000,
    }
    return Event.model_validate({**body, **changes})


def test_the_window_keeps_the_last_plays_also_when_late_ones_arrive() -> None:
    many = [play(i) for i in range(WINDOW + 20)]
    state = apply(UserState(USERS[0]), many[::-1])
    assert len(state.start) == WINDOW
    assert state.start[0] == int(many[20].ts.timestamp() * 1000) - 20_000
    assert apply(state, [many[0]]) == state


def test_outcomes_and_local_hours_are_those_of_the_training_log() -> None:
    state = apply(
        UserState(USERS[0]),
        [
            play(0, reason_end="trackdone", tz="Europe/Paris"),  # 22:59:40 UTC+1
            play(1, ms_played=29_999, reason_end="fwdbtn"),
            play(2, ms_played=30_000),
        ],
    )
    assert state.outcome == (Outcome.FINISH, Outcome.SKIP, Outcome.PARTIAL)
    assert state.hour == (22, 22, 22)
    assert apply(state, [play(180, tz="Europe/Paris")]).hour[-1] == 1  # after the clock change at 01:00 UTC


def test_consent_follows_the_newest_word_of_the_listener_and_not_the_server() -> None:
    refusal = play(5, consent_personalization=False)
    state = apply(UserState(USERS[0]), [play(4), refusal])
    assert not state.personalized
    assert len(state.start) == 1
    assert not apply(state, [play(3)]).personalized, "an older event does not undo it"
    decision = Event.model_validate(
        {"event_id": uuid7(1, entropy=1), "kind": "decision", "user_id": USERS[0], "ts": play(9).ts}
    )
    assert not apply(state, [decision]).personalized
    assert apply(state, [play(6)]).personalized


def test_a_damaged_state_is_refused_with_the_way_out() -> None:
    for data in (b"", b"{}", b"[9]", encode(UserState(USERS[0]))[:-3]):
        with pytest.raises(BadInput, match="rebuild the states"):
            decode(data)


def test_a_full_window_decodes_in_well_under_a_millisecond() -> None:
    data = encode(apply(UserState(USERS[0]), [play(i) for i in range(WINDOW)]))
    best = 1.0
    for _ in range(50):
        begin = time.perf_counter()
        decode(data)
        best = min(best, time.perf_counter() - begin)
    assert best < 0.0005  # about 80 µs alone; the bound leaves room for a busy machine
