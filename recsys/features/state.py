"""The listener state, defined once: folded from a stream (`apply`), or built from the lake (`backfill`).

A state is a pure function of the set of a listener's events: plays are the last plays.WINDOW by (start, track_id),
everything else goes by the newest time stamp (last-writer-wins registers, recsys.features.registers). So neither
order of arrival nor repetition matters, and batch, stream and request agree.

Plays of an excluded session or playlist stay in the window, so that they count again once that is taken back;
`recsys.types.history` leaves them out of what models read.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

import orjson

from recsys.errors import BadInput
from recsys.events import Event
from recsys.features.backfill import backfill
from recsys.features.registers import Mark, Register, join, mark, standing
from recsys.plays import WINDOW, Outcome
from recsys.schemas import OF_THE_SERVER, STREAM_MS, EventKind
from recsys.types import DEVICES, SURFACES, UserState, local_hour

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)
_DEVICE = {name: i for i, name in enumerate(DEVICES)}
_SURFACE = {name: i for i, name in enumerate(SURFACES)}
_FORMAT = 2

_COLUMNS = ("track_id", "start", "ms_played", "outcome", "hour", "device", "surface", "origin")
_PlayKey: TypeAlias = tuple[int, str]  # start (UTC ms), track id
_PlayValue: TypeAlias = tuple[
    int, int, int, int, int, tuple[str, str]
]  # ms_played, outcome, hour, ..., origin
_Saves: TypeAlias = dict[str, tuple[int, bool]]  # track id -> (UTC ms, unsaved): the greatest wins


def apply(state: UserState, events: Iterable[Event], offset: int = -1) -> UserState:
    """The state after some more events of the same listener; `offset` is the log offset of the last one.

    Incognito events change nothing. Events without the personalization consent change the consent and the
    listener's wishes (not interested, snoozed, excluded) alone; that of `decision` events, which the server writes
    itself, is not the listener's word and is ignored.
    Two ends of plays of one track with one start are one play: the longer one.
    """
    return merge(state, _state_of(state.user_id, events, offset))


def merge(a: UserState, b: UserState) -> UserState:
    """The state of all events that went into either of two states of one listener."""
    consent = max((a.consent_at, not a.personalized), (b.consent_at, not b.personalized))
    saves: _Saves = {track: (at, not saved) for track, at, saved in a.saves}
    for track, at, saved in b.saves:
        saves[track] = max(saves.get(track, (at, not saved)), (at, not saved))
    return replace(
        a,
        **_joined_window(a, b),
        saved=frozenset(track for track, (_, unsaved) in saves.items() if not unsaved),
        saves=tuple((track, at, not unsaved) for track, (at, unsaved) in sorted(saves.items())),
        personalized=not consent[1],
        consent_at=consent[0],
        offset=max(a.offset, b.offset),
        **_standing(a, b),
    )


def _joined_window(a: UserState, b: UserState) -> dict[str, Any]:
    if b.is_new:
        return {}
    if a.is_new:
        return {name: getattr(b, name) for name in _COLUMNS}
    older, newer = (a, b) if a.start[-1] < b.start[0] else (b, a)
    if older.start[-1] < newer.start[0]:  # the usual case, a tenth of the cost: events mostly come in order
        return {name: (getattr(older, name) + getattr(newer, name))[-WINDOW:] for name in _COLUMNS}
    return _window([*_rows(a), *_rows(b)])


def _state_of(user_id: str, events: Iterable[Event], offset: int) -> UserState:
    plays: list[tuple[_PlayKey, _PlayValue]] = []
    saves: _Saves = {}
    marks: list[Mark] = []
    consent = (-1, False)
    for event in events:
        if event.incognito_mode or event.kind in OF_THE_SERVER:
            continue
        ts = (event.ts - _EPOCH) // _MS
        consent = max(consent, (ts, not event.consent_personalization))
        said = mark(event, ts)
        if said is not None:
            marks.append(said)
        if not event.consent_personalization:
            continue
        if event.kind == EventKind.PLAY_END:
            plays.append(_play(event, ts))
        elif event.kind in (EventKind.SAVE, EventKind.UNSAVE):
            newest = (ts, event.kind == EventKind.UNSAVE)
            saves[str(event.track_id)] = max(saves.get(str(event.track_id), newest), newest)
    return UserState(
        user_id,
        **(_window(plays) if plays else {}),
        saved=frozenset(track for track, (_, unsaved) in saves.items() if not unsaved),
        saves=tuple((track, at, not unsaved) for track, (at, unsaved) in saves.items()),
        personalized=not consent[1],
        consent_at=consent[0],
        offset=offset,
        **standing(join(marks)),
    )


def _standing(a: UserState, b: UserState) -> dict[str, Any]:
    """The fields that follow from the marks of two states."""
    return standing(join(a.marks, b.marks) if a.marks and b.marks else a.marks or b.marks)


def _play(event: Event, ts: int) -> tuple[_PlayKey, _PlayValue]:
    ms_played = event.ms_played or 0
    start = ts - ms_played
    if event.reason_end == "trackdone":
        outcome = Outcome.FINISH
    else:
        outcome = Outcome.SKIP if ms_played < STREAM_MS else Outcome.PARTIAL
    device, surface = _DEVICE.get(event.device or "", -1), _SURFACE.get(event.surface or "", -1)
    hour = local_hour(start, event.tz or "UTC")
    origin = (event.session_id or "", event.playlist_id or "")
    return (start, str(event.track_id)), (ms_played, int(outcome), hour, device, surface, origin)


def _rows(state: UserState) -> Iterable[tuple[_PlayKey, _PlayValue]]:
    keys = zip(state.start, state.track_id, strict=True)
    columns = (state.ms_played, state.outcome, state.hour, state.device, state.surface, state.origin)
    values = zip(*columns, strict=True)
    return zip(keys, values, strict=True)


def _window(rows: list[tuple[_PlayKey, _PlayValue]]) -> dict[str, Any]:
    """The play columns that these plays give (in sorted order, the last of equal keys is the longest)."""
    if len(rows) == 1:
        (((start, track_id), values),) = rows
        return dict(zip(_COLUMNS, ((track_id,), (start,), *((v,) for v in values)), strict=True))
    window = sorted(dict(sorted(rows)).items())[-WINDOW:]
    starts, track_ids = zip(*(key for key, _ in window), strict=True)
    columns = zip(*(value for _, value in window), strict=True)
    return dict(zip(_COLUMNS, (track_ids, starts, *columns), strict=True))


def encode(state: UserState) -> bytes:
    """A state as JSON, for an online store; `decode(encode(state)) == state`."""
    places: dict[tuple[str, str], int] = {}  # sessions hold many plays: each is written once
    rows = [places.setdefault(origin, len(places)) for origin in state.origin]
    return orjson.dumps(
        (
            _FORMAT,
            state.user_id,
            "".join(state.track_id),  # ids are 22 characters each
            state.start,
            state.ms_played,
            state.outcome,
            state.hour,
            state.device,
            state.surface,
            rows,
            [*places],
            state.saves,
            state.marks,
            state.personalized,
            state.consent_at,
            state.offset,
        )
    )


def decode(data: bytes) -> UserState:
    """The state that `encode` wrote.

    Raises:
        BadInput: the data is damaged, or of a format this version does not read.
    """
    try:
        version, *body = orjson.loads(data)
        if version == 1:
            body = _from_first_format(body)
        elif version != _FORMAT:
            raise ValueError(f"format {version}")
        user_id, ids, *columns, rows, places, saves, marks, personalized, at, offset = body
        start, ms_played, outcome, hour, device, surface = map(tuple, columns)
        origins = [(session, playlist) for session, playlist in places]
        origin = tuple([origins[row] for row in rows])
        said = tuple([(register, subject, ts, value) for register, subject, ts, value in marks])
    except (ValueError, TypeError, IndexError) as error:
        raise BadInput(f"an unreadable listener state ({error}): rebuild the states from the lake") from None
    return UserState(
        user_id=user_id,
        track_id=tuple([ids[i : i + 22] for i in range(0, len(ids), 22)]),
        start=start,
        ms_played=ms_played,
        outcome=outcome,
        hour=hour,
        device=device,
        surface=surface,
        origin=origin,
        saved=frozenset([track for track, _, saved in saves if saved]),
        personalized=personalized,
        consent_at=at,
        saves=tuple([(track, ts, saved) for track, ts, saved in saves]),
        offset=offset,
        **standing(said),
    )


def _from_first_format(body: list[Any]) -> list[Any]:
    """The body of a state written before there were origins and marks; its wishes are older than any event."""
    *head, saves, disliked, followed, personalized, at, offset = body
    unknown = [0] * len(head[2])
    marks = [(Register.FOLLOW.value, artist, -1, 1) for artist in followed]
    marks += [(Register.TRACK.value, track, -1, 1) for track in disliked]
    return [*head, unknown, [("", "")], saves, marks, personalized, at, offset]


__all__ = ["apply", "backfill", "decode", "encode", "merge"]
