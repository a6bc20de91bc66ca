"""What listeners say and take back: wishes in the state, plays that are not taste, states and lakes of before."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
import polars as pl
import pytest
from deltalake import DeltaTable, write_deltalake
from pydantic import ValidationError

from recsys.events import Event, to_frame
from recsys.features.registers import SNOOZE_DAYS, in_taste
from recsys.features.state import apply, backfill, decode, encode
from recsys.ids import public_id, uuid7
from recsys.lake import Lake
from recsys.schemas import EVENTS
from recsys.types import UserState

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
USER, TRACK, ARTIST, PLAYLIST = (public_id("controls", name) for name in ("user", "track", "artist", "list"))
DAY_MS = 86_400_000


def event(kind: str, minute: int = 0, **more: object) -> Event:
    body = {"event_id": uuid7(), "kind": kind, "user_id": USER, "ts": NOON + timedelta(minutes=minute)}
    return Event.model_validate({**body, **more})


def play(minute: int, session: str | None = None, playlist: str | None = None) -> Event:
    origin = {"session_id": session, "playlist_id": playlist}
    return event("play_end", minute, track_id=TRACK, ms_played=40_000, reason_end="trackdone", **origin)


def fold(*events: Event) -> UserState:
    return apply(UserState(USER), events)


def ms(minute: int) -> int:
    return int((NOON + timedelta(minutes=minute)).timestamp() * 1000)


def test_every_wish_can_be_taken_back_and_the_newest_word_wins() -> None:
    about = {"not_interested": {"track_id": TRACK}, "snooze_artist": {"artist_id": ARTIST}}
    no, maybe = (
        event("not_interested", 1, **about["not_interested"]),
        event("not_interested", artist_id=ARTIST),
    )
    back = event("undo_not_interested", 2, track_id=TRACK)
    assert fold(no).not_interested == {TRACK}
    assert fold(maybe).not_interested_artists == {ARTIST}
    assert fold(back, no).not_interested == frozenset()
    assert fold(back, no, event("not_interested", 3, track_id=TRACK)).not_interested == {TRACK}
    snooze = event("snooze_artist", 1, artist_id=ARTIST)
    assert fold(snooze).snoozed == ((ARTIST, ms(1) + SNOOZE_DAYS * DAY_MS),)
    assert fold(snooze, event("snooze_artist", 2, artist_id=ARTIST, snooze_days=3)).snoozed == (
        (ARTIST, ms(2) + 3 * DAY_MS),
    )
    assert fold(event("unsnooze_artist", 2, artist_id=ARTIST), snooze).snoozed == ()
    follow = event("follow", 1, artist_id=ARTIST)
    assert fold(follow).followed == {ARTIST}
    assert fold(event("unfollow", 2, artist_id=ARTIST), follow).followed == frozenset()


def test_a_wish_counts_without_the_consent_a_follow_does_not_and_incognito_leaves_nothing() -> None:
    refused = {"consent_personalization": False}
    said = fold(
        event("not_interested", track_id=TRACK, **refused),
        event("follow", artist_id=ARTIST, **refused),
        event("not_interested", artist_id=ARTIST, incognito_mode=True),
    )
    assert said.not_interested == {TRACK}
    assert not said.followed | said.not_interested_artists


def test_plays_of_an_excluded_session_or_playlist_are_kept_but_are_not_taste() -> None:
    plays = [play(0, "sleep"), play(1, "walk"), play(2, "walk", PLAYLIST), play(3)]
    night = event("exclude_from_taste", 5, session_id="sleep")
    both = event("exclude_from_taste", 6, session_id="whatever the client sends along", playlist_id=PLAYLIST)
    state = fold(night, *plays, both)
    assert len(state.track_id) == 4
    assert state.taste == [1, 3]
    assert fold(*plays).taste == slice(None)
    assert fold(*plays, night, both, event("include_in_taste", 7, session_id="sleep")).taste == [0, 1, 3]
    assert fold(*plays, event("play_start", 8, track_id=TRACK, consent_personalization=False)).taste == slice(
        0
    )


def test_training_reads_no_play_that_is_excluded() -> None:
    other = public_id("controls", "somebody else")
    events = [
        play(0, "sleep"),
        play(1, "walk", PLAYLIST),
        play(2),
        play(3, "sleep").model_copy(update={"user_id": other}),
        event("exclude_from_taste", 5, session_id="sleep"),
        event("exclude_from_taste", 5, playlist_id=PLAYLIST),
        event("include_in_taste", 4, playlist_id=PLAYLIST),
        event("exclude_from_taste", 5, session_id="walk", incognito_mode=True),
    ]
    kept = in_taste(to_frame(events).lazy()).filter(pl.col("kind") == "play_end").collect()
    assert sorted(kept["event_id"]) == sorted([events[2].event_id, events[3].event_id])


def test_a_state_of_the_first_format_reads_and_its_wishes_can_be_taken_back() -> None:
    columns = [[ms(0) - 40_000], [40_000], [2], [11], [-1], [-1]]
    old = orjson.dumps([1, USER, TRACK, *columns, [[TRACK, ms(0), True]], [TRACK], [ARTIST], True, ms(0), 5])
    state = decode(old)
    assert (state.track_id, state.origin, state.offset) == ((TRACK,), (("", ""),), 5)
    assert (state.saved, state.not_interested, state.followed) == ({TRACK}, {TRACK}, {ARTIST})
    assert decode(encode(state)) == state
    after = apply(state, [event("undo_not_interested", track_id=TRACK), event("unfollow", artist_id=ARTIST)])
    assert not after.not_interested | after.followed
    assert apply(state, [play(0, "late news")]).origin == (("late news", ""),), "it is the same play"


def test_a_lake_from_before_the_new_columns_reads_and_takes_new_rows(tmp_path: Path) -> None:
    lake, new = Lake(tmp_path), {"playlist_id", "snooze_days"}
    old = to_frame([play(0, "walk")]).select([name for name in EVENTS if name not in new])
    write_deltalake(lake.uri("events"), old.to_arrow(), partition_by=["day"])
    assert lake.scan("events").select(new).collect().rows() == [(None, None)]
    lake.append("events", to_frame([play(1, "walk", PLAYLIST)]))
    lake.append("events", to_frame([event("snooze_artist", 2, artist_id=ARTIST)]))
    assert sorted(DeltaTable(lake.uri("events")).to_pyarrow_table().column_names) == sorted(EVENTS)
    assert lake.scan("events", version=0).select(new).collect().height == 1
    assert list(backfill(lake)) == [
        fold(play(0, "walk"), play(1, "walk", PLAYLIST), event("snooze_artist", 2, artist_id=ARTIST))
    ]


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("snooze_artist", {"track_id": TRACK}),
        ("unfollow", {}),
        ("not_interested", {}),
        ("exclude_from_taste", {"track_id": TRACK}),
        ("snooze_artist", {"artist_id": ARTIST, "snooze_days": 0}),
        ("play_start", {"track_id": TRACK, "playlist_id": "not an id"}),
    ],
)
def test_a_wish_that_does_not_say_about_what_is_refused(kind: str, more: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        event(kind, **more)
