"""What a listener has said about tracks, artists, sessions and playlists, and may take back: one register each.

A register (name, id) holds (UTC ms, value) and the greatest pair wins, so neither order of arrival nor repetition
matters (last-writer-wins registers: Shapiro et al. 2011, "A comprehensive study of convergent and commutative
replicated data types"). `mark` reads one event of a stream, `newest` a whole lake, by the same rule.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Any, TypeAlias

import polars as pl

from recsys.events import Event
from recsys.schemas import EventKind

SNOOZE_DAYS = 30
"""How long a snooze lasts that does not say so."""
_DAY_MS = 86_400_000

Mark: TypeAlias = tuple[str, str, int, int]
"""(register, id, UTC ms, value)."""


class Register(StrEnum):
    """What an id is marked as; the value is 1 or 0 unless said."""

    TRACK = "track"  # not interested in it
    ARTIST = "artist"  # not interested in any track of theirs
    SNOOZE = "snooze"  # artist who shall not come before this UTC ms; 0: taken back
    FOLLOW = "follow"  # artist
    SESSION = "session"  # its plays are not taste
    PLAYLIST = "playlist"  # plays from it are not taste


_INTEREST = (EventKind.NOT_INTERESTED, EventKind.UNDO_NOT_INTERESTED)
_SNOOZE = (EventKind.SNOOZE_ARTIST, EventKind.UNSNOOZE_ARTIST)
_FOLLOW = (EventKind.FOLLOW, EventKind.UNFOLLOW)
TASTE = (EventKind.EXCLUDE_FROM_TASTE, EventKind.INCLUDE_IN_TASTE)
MARKING = frozenset((*_INTEREST, *_SNOOZE, *_FOLLOW, *TASTE))
"""Kinds of events that write a register; the first of each pair sets it, the second takes it back."""
_SETS = frozenset((_INTEREST[0], _SNOOZE[0], _FOLLOW[0], TASTE[0]))


def mark(event: Event, ts: int) -> Mark | None:
    """What an event at `ts` (UTC ms) says; None where it says nothing of the kind.

    A wish counts whatever the personalization consent is; a follow is taste, and needs it. A track or playlist id
    goes before the artist or session id that a client may send along.
    """
    kind = event.kind
    if kind not in MARKING or (kind in _FOLLOW and not event.consent_personalization):
        return None
    value = int(kind in _SETS)
    if kind in _SNOOZE and value:
        value = ts + (event.snooze_days or SNOOZE_DAYS) * _DAY_MS
    register, subject = _subject(event)
    return register, subject, ts, value


def _subject(event: Event) -> tuple[str, str]:
    if event.kind in _INTEREST:
        if event.track_id is not None:
            return Register.TRACK.value, event.track_id
        return Register.ARTIST.value, str(event.artist_id)
    if event.kind in TASTE:
        if event.playlist_id is not None:
            return Register.PLAYLIST.value, event.playlist_id
        return Register.SESSION.value, str(event.session_id)
    register = Register.SNOOZE if event.kind in _SNOOZE else Register.FOLLOW
    return register.value, str(event.artist_id)


def join(*some: Iterable[Mark]) -> tuple[Mark, ...]:
    """The winners of some marks, in order of (register, id)."""
    winners: dict[tuple[str, str], tuple[int, int]] = {}
    for marks in some:
        for register, subject, ts, value in marks:
            key = register, subject
            winners[key] = max(winners.get(key, (ts, value)), (ts, value))
    return tuple((register, subject, *won) for (register, subject), won in sorted(winners.items()))


def newest(events: pl.LazyFrame) -> pl.DataFrame:
    """user_id, register, id, at (UTC ms), value: the winners, sorted; `events` hold nothing incognito."""
    kind, one = pl.col("kind"), pl.lit(1, pl.Int64)
    at = pl.col("ts").dt.epoch("ms")
    until = at + pl.col("snooze_days").cast(pl.Int64).fill_null(SNOOZE_DAYS) * _DAY_MS
    of_track, of_playlist = pl.col("track_id").is_not_null(), pl.col("playlist_id").is_not_null()
    consented = pl.col("consent_personalization").fill_null(True)
    register = (
        pl.when(_is(kind, _INTEREST))
        .then(pl.when(of_track).then(_name(Register.TRACK)).otherwise(_name(Register.ARTIST)))
        .when(_is(kind, TASTE))
        .then(pl.when(of_playlist).then(_name(Register.PLAYLIST)).otherwise(_name(Register.SESSION)))
        .when(_is(kind, _SNOOZE))
        .then(_name(Register.SNOOZE))
        .otherwise(_name(Register.FOLLOW))
    )
    subject = (
        pl.when(_is(kind, _INTEREST))
        .then(pl.coalesce("track_id", "artist_id"))
        .when(_is(kind, TASTE))
        .then(pl.coalesce("playlist_id", "session_id"))
        .otherwise(pl.col("artist_id"))
    )
    value = pl.when(kind == EventKind.SNOOZE_ARTIST.value).then(until).otherwise(one)
    return (
        events.filter(_is(kind, MARKING), ~_is(kind, _FOLLOW) | consented)
        .select(
            "user_id",
            register=register,
            id=subject,
            at=at,
            value=pl.when(_is(kind, _SETS)).then(value).otherwise(0),
        )
        .filter(pl.col("id").is_not_null())
        .collect()
        .sort("user_id", "register", "id", "at", "value")
        .unique(["user_id", "register", "id"], keep="last", maintain_order=True)
    )


def _is(kind: pl.Expr, kinds: Iterable[EventKind]) -> pl.Expr:
    return kind.is_in([k.value for k in kinds])


def _name(register: Register) -> pl.Expr:
    return pl.lit(register.value)


def standing(marks: tuple[Mark, ...]) -> dict[str, Any]:
    """The fields of recsys.types.UserState that follow from the marks."""
    held: dict[str, list[str]] = {register.value: [] for register in Register}
    snoozed = []
    for register, subject, _, value in marks:
        if register == Register.SNOOZE.value:
            snoozed += [(subject, value)] if value else []
        elif value:
            held[register].append(subject)
    return {
        "marks": marks,
        "not_interested": frozenset(held[Register.TRACK]),
        "not_interested_artists": frozenset(held[Register.ARTIST]),
        "snoozed": tuple(snoozed),
        "followed": frozenset(held[Register.FOLLOW]),
        "excluded_sessions": frozenset(held[Register.SESSION]),
        "excluded_playlists": frozenset(held[Register.PLAYLIST]),
    }


def in_taste(events: pl.LazyFrame) -> pl.LazyFrame:
    """Without what happened in sessions and playlists that their listener has excluded from the taste profile."""
    open_ = events.filter(~pl.col("incognito_mode").fill_null(False))
    excluded = newest(open_.filter(_is(pl.col("kind"), TASTE))).filter(pl.col("value") > 0)
    for register, column in ((Register.SESSION, "session_id"), (Register.PLAYLIST, "playlist_id")):
        mine = excluded.filter(pl.col("register") == register.value).select(
            "user_id", pl.col("id").alias(column)
        )
        if not mine.is_empty():
            events = events.join(mine.lazy(), on=["user_id", column], how="anti")
    return events


__all__ = [
    "MARKING",
    "SNOOZE_DAYS",
    "TASTE",
    "Mark",
    "Register",
    "in_taste",
    "join",
    "mark",
    "newest",
    "standing",
]
