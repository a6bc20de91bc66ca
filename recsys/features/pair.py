"""The feature row of one (listener, track) pair: the only definition, used by training and by every request.

    x = pair_features(batch, ids, offsets, items, stats, columns)   # (m, f) float32, columns named by `names()`

A pure function of the listener's window, the item matrix and the candidate; a row never depends on which other
candidates are in the batch. Unknown is NaN (LightGBM sends it its own way), never a magic number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from recsys.features.listener import PROFILE, Feature, profile
from recsys.features.stats import ItemStats
from recsys.features.window import F64, Found, Window
from recsys.items import MS_PER_DAY, UNKNOWN_DAY, Items
from recsys.plays import I64, WINDOW
from recsys.types import QueryBatch

Features = NDArray[np.float32]

RECENT_PLAYS = 10
PRIOR = 4.0
"""Plays' worth of prior in a group's skip and finish shares."""

_REPEAT = (
    Feature("track_count", "plays of this track in the window"),
    Feature("track_d1", "the same, decayed with a half-life of 1 day"),
    Feature("track_d7", "half-life 7 days"),
    Feature("track_d30", "half-life 30 days"),
    Feature("track_skip_share", "share of them skipped before 30 s, smoothed"),
    Feature("track_finish_share", "share finished, smoothed"),
    Feature("track_hours_since", "hours since this track was last started; NaN if never"),
    Feature("track_gap", "mean hours between its plays in the window; NaN under two plays"),
    Feature("track_due", "hours since last over that mean gap"),
    Feature("track_session", "plays of it in the current session"),
    Feature("track_near_hour", "plays of it at this part of the day"),
    Feature("artist_count", "plays of this artist in the window"),
    Feature("artist_d1", "decayed, half-life 1 day"),
    Feature("artist_d7", "half-life 7 days"),
    Feature("artist_d30", "half-life 30 days"),
    Feature("artist_skip_share", "share skipped before 30 s, smoothed"),
    Feature("artist_finish_share", "share finished, smoothed"),
    Feature("artist_hours_since", "hours since this artist was last heard; NaN if never"),
    Feature("artist_session", "plays of this artist in the current session"),
    Feature("album_count", "plays of this album in the window"),
    Feature("album_d7", "decayed, half-life 7 days"),
    Feature("album_hours_since", "hours since this album was last heard; NaN if never"),
)
_TASTE = (
    Feature("genre_share", "share of the window in this leaf genre"),
    Feature("genre_share_d1", "the same over decayed counts, half-life 1 day"),
    Feature("genre_share_d7", "half-life 7 days"),
    Feature("genre_skip_share", "share of this genre's plays skipped, smoothed"),
    Feature("genre_near_hour", "share of this genre at this part of the day"),
    Feature("genre_device", "share of this genre on this device"),
    Feature("genre_session", "share of this genre in the current session"),
    Feature("parent_share_d7", "share of the parent genre, half-life 7 days"),
    Feature("parent_skip_share", "share of the parent genre's plays skipped, smoothed"),
    Feature("parent_near_hour", "share of the parent genre at this part of the day"),
    Feature("parent_session", "share of the parent genre in the current session"),
    Feature("audio_far_d7", "distance of the audio features to the mean of the plays, half-life 7 days"),
    Feature("audio_far_recent", f"distance to the mean of the last {RECENT_PLAYS} plays"),
    Feature("same_artist_as_last", "1 if the newest play was by this artist"),
    Feature("same_genre_as_last", "1 if the newest play was of this genre"),
)
_CONTEXT = (
    Feature("hour", "the listener's local hour"),
    Feature("weekday", "day of the week in UTC, Monday 0"),
    Feature("device", "number of the device; -1 unknown"),
    Feature("window_plays", "plays in the window"),
    Feature("hours_since_play", "hours since the newest play started; NaN without any"),
    Feature("session_plays", "plays of the current session so far"),
    Feature("session_skip_share", "share of them skipped, smoothed"),
)
_TRACK = (
    Feature("age_days", "days since release; NaN where unknown"),
    Feature("duration_s", "length in seconds; NaN where unknown"),
    Feature("explicit", "1 if explicit"),
    Feature("popularity_1", "log(1 + plays per million) of the last day"),
    Feature("popularity_7", "of the last 7 days"),
    Feature("popularity_28", "of the last 28 days"),
    Feature("popularity_here", "of the last 28 days in the listener's country"),
    Feature("popularity_trend", "popularity_7 - popularity_28"),
    Feature("crowd_skip_rate", "share of all plays of it skipped before 30 s, smoothed"),
    Feature("crowd_finish_rate", "share finished, smoothed"),
)
FEATURES: tuple[Feature, ...] = _REPEAT + _TASTE + _CONTEXT + PROFILE + _TRACK
"""Every feature that needs no model; model scores and the surface follow them (`names`)."""
SURFACE = Feature("surface", "number of the surface from which the track is played; NaN: left open")


def names(columns: Sequence[str] = ()) -> tuple[str, ...]:
    """Column names of `pair_features` for the given model scores."""
    return (*(f.name for f in FEATURES), *columns, SURFACE.name)


def pair_features(
    batch: QueryBatch,
    ids: I64,
    offsets: I64,
    items: Items,
    stats: ItemStats,
    columns: Mapping[str, NDArray[np.floating]] | None = None,
    surface: NDArray[np.floating] | float = np.nan,
    profiles: NDArray[np.floating] | None = None,
) -> Features:
    """(m, f) features of m candidates of b requests; columns are `names(columns)`.

    Args:
        ids: (m,) dense tracks. offsets: (b+1,) rows of each request.
        columns: model scores, (m,) each, kept in the given order.
        surface: (m,) numbers in SURFACES, or one for all; NaN where it is not asked.
        profiles: (b, len(PROFILE)) from the feature store; computed from the window where absent.
    """
    scores = columns or {}
    owner = np.repeat(np.arange(len(batch)), np.diff(offsets))
    window = Window.of(_clipped(batch))
    if profiles is None:
        profiles = profile(window.plays, batch.now, items.artist)
    out = np.empty((len(ids), len(FEATURES) + len(scores) + 1), np.float32)
    blocks = (
        _repeat(window, owner, ids, items),
        _taste(window, owner, ids, items),
        _context(batch, window)[owner],
        profiles[owner],
        _track(batch, owner, ids, items, stats),
        *(column[:, None] for column in scores.values()),
    )
    start = 0
    for block in blocks:
        out[:, start : start + block.shape[1]] = block
        start += block.shape[1]
    out[:, -1] = surface
    return out


def _clipped(batch: QueryBatch) -> QueryBatch:
    """The batch with at most the last WINDOW plays of each listener."""
    if len(batch) and np.diff(batch.histories.offsets).max() > WINDOW:
        plays = batch.histories.last(WINDOW)
        return QueryBatch(plays, batch.now, batch.hour, batch.country, batch.device, batch.queries)
    return batch


def _repeat(window: Window, owner: I64, ids: I64, items: Items) -> F64:
    """(m, len(_REPEAT)) what the listener did with this track, artist and album."""
    heard = window.plays.track
    track = window.tracks.look_up(owner, ids)
    artist = window.group(_of(items.artist, heard)).look_up(owner, items.artist[ids])
    album = window.group(_of(items.album, heard)).look_up(owner, items.album[ids])
    gap = np.full(len(ids), np.nan)
    again = track["count"] > 1
    gap[again] = (track.first - track.last)[again] / (track["count"][again] - 1)
    return np.stack(
        [
            track["count"],
            track["d1"],
            track["d7"],
            track["d30"],
            _skip_share(track),
            _finish_share(track),
            track.last,
            gap,
            track.last / np.maximum(gap, 0.1),
            track["session"],
            track["near_hour"],
            artist["count"],
            artist["d1"],
            artist["d7"],
            artist["d30"],
            _skip_share(artist),
            _finish_share(artist),
            artist.last,
            artist["session"],
            album["count"],
            album["d7"],
            album.last,
        ],
        axis=1,
    )


def _taste(window: Window, owner: I64, ids: I64, items: Items) -> F64:
    """(m, len(_TASTE)) how this kind of music stands with the listener."""
    heard = window.plays.track
    genre = window.group(_of(items.genre, heard)).look_up(owner, items.genre[ids])
    parent = window.group(_of(items.parent, heard)).look_up(owner, items.parent[ids])
    total = Found(window.totals[owner], genre.first, genre.last)
    newest = np.where(window.last_row >= 0, heard[window.last_row], -1) if len(heard) else window.last_row
    far = _audio_distance(window, owner, ids, items)
    return np.stack(
        [
            *(_share(genre, total, name) for name in ("count", "d1", "d7")),
            _skip_share(genre),
            *(_share(genre, total, name) for name in ("near_hour", "device", "session")),
            _share(parent, total, "d7"),
            _skip_share(parent),
            *(_share(parent, total, name) for name in ("near_hour", "session")),
            *far,
            _same(_of(items.artist, newest)[owner], items.artist[ids]),
            _same(_of(items.genre, newest)[owner], items.genre[ids]),
        ],
        axis=1,
    )


def _context(batch: QueryBatch, window: Window) -> F64:
    """(b, len(_CONTEXT)) the situation of each request."""
    total = window.totals
    count, session, session_skips = total[:, 0], total[:, 6], total[:, 7]
    since = np.full(len(batch), np.nan)
    filled = window.last_row >= 0
    since[filled] = window.age[window.last_row[filled]]
    weekday = (batch.now // MS_PER_DAY + 3) % 7  # 1970-01-01 was a Thursday
    smoothed = (session_skips + 0.3 * PRIOR) / (session + PRIOR)
    return np.stack([batch.hour, weekday, batch.device, count, since, session, smoothed], axis=1)


def _track(batch: QueryBatch, owner: I64, ids: I64, items: Items, stats: ItemStats) -> F64:
    """(m, len(_TRACK)) the track itself and what the crowd did with it."""
    release, duration = items.release_day[ids], items.duration_ms[ids]
    age = np.maximum(batch.now[owner] // MS_PER_DAY - release, 0).astype(np.float64)
    popularity = stats.popularity[ids]
    return np.column_stack(
        [
            np.where(release == UNKNOWN_DAY, np.nan, age),
            np.where(duration > 0, duration / 1000, np.nan),
            items.explicit[ids],
            popularity,
            stats.territory[ids, batch.country[owner]],
            popularity[:, 1] - popularity[:, 2],
            stats.skip_rate[ids],
            stats.finish_rate[ids],
        ]
    )


def _audio_distance(window: Window, owner: I64, ids: I64, items: Items) -> list[F64]:
    """Euclidean distance of each candidate's audio features to two means of the listener's; NaN where unknown."""
    heard, stops = window.plays.track, window.plays.offsets[1:]
    known = (heard >= 0) & items.audio_known[heard]
    recent = stops[window.owner] - np.arange(len(heard)) <= RECENT_PLAYS
    audio, wanted, unknown = items.audio[heard], items.audio[ids], ~items.audio_known[ids]
    out = []
    for weight in (window.values[:, 2] * known, (recent & known).astype(np.float64)):
        weighted = np.empty((len(heard), audio.shape[1] + 1))
        np.multiply(audio, weight[:, None], out=weighted[:, :-1])
        weighted[:, -1] = weight
        sums = window.per_listener(weighted)
        mean = sums[:, :-1] / np.where(sums[:, -1:] > 1e-9, sums[:, -1:], np.nan)
        difference = wanted - mean[owner]
        apart = np.sqrt(np.einsum("md,md->m", difference, difference))
        apart[unknown] = np.nan
        out.append(apart)
    return out


def _of(values: NDArray[np.integer], tracks: NDArray[np.integer]) -> I64:
    """values[track] of each row; -1 where the track is unknown."""
    return np.where(tracks >= 0, values[tracks], -1).astype(np.int64)


def _share(part: Found, whole: Found, name: str) -> F64:
    return np.asarray(part[name] / np.maximum(whole[name], 1e-9))


def _skip_share(found: Found) -> F64:
    return np.asarray((found["skips"] + 0.3 * PRIOR) / (found["count"] + PRIOR))


def _finish_share(found: Found) -> F64:
    return np.asarray((found["finishes"] + 0.5 * PRIOR) / (found["count"] + PRIOR))


def _same(newest: I64, key: NDArray[np.integer]) -> F64:
    return np.asarray((newest == key) & (key >= 0), np.float64)
