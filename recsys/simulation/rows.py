"""From a simulated day to rows of the events table (recsys.schemas.EVENTS), as Arrow tables."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from recsys.schemas import EVENTS, SCHEMA_VERSION
from recsys.simulation.catalog import CODES, COUNTRIES, Catalog, track_ids
from recsys.simulation.columns import chosen, flags, numbers, strings, vector
from recsys.simulation.exposure import SLOTS
from recsys.simulation.identify import event_ids, hashed_ids, public_ids
from recsys.simulation.listen import DRAWS, HOME, NEXT, SAME, Played
from recsys.simulation.pages import Pages
from recsys.simulation.population import DEVICES, Listeners
from recsys.simulation.profiles import Profile
from recsys.simulation.rng import U64, keys, stream, uniforms
from recsys.simulation.sessions import Sessions

KINDS = ["play_end", "impression", "save", "follow", "not_interested"]
PLAY, IMPRESSION, SAVE, FOLLOW, NOT_INTERESTED = range(5)
SURFACES = ["home", "radio", "search", "library"]
ON_HOME, ON_RADIO, ON_SEARCH, IN_LIBRARY = range(4)
REASONS_START = ["clickrow", "trackdone", "fwdbtn", "backbtn", "appload"]
REASONS_END = ["trackdone", "fwdbtn", "endplay"]
WHY_SHOWN = ["played before", "popular in a genre you play", "popular now"]
PLATFORMS = ["iOS", "Android", "Windows", "macOS", "Linux", "speaker", "car"]
_PLATFORM_OF = np.array([[0, 1, 1], [2, 3, 4], [5, 5, 5], [6, 6, 6]])
TIME = pa.timestamp("us", "UTC")
Index = NDArray[np.integer]
_BLANK = (
    "track",
    "artist",
    "surface",
    "slot",
    "reason",
    "ms",
    "reason_start",
    "reason_end",
    "shuffle",
    "skipped",
)


@dataclass(frozen=True)
class Names:
    """Public ids of one world, as Arrow strings."""

    profile: Profile
    catalog: Catalog

    @cached_property
    def tracks(self) -> pa.Array:
        return strings(track_ids(self.profile.seed, len(self.catalog)))

    @cached_property
    def artists(self) -> pa.Array:
        seed, n = self.profile.seed, len(self.catalog.artist_leaf)
        return hashed_ids("sim", [f"{seed}:artist:{i}" for i in range(n)])

    def users(self, index: Index) -> pa.Array:
        return hashed_ids("sim", [f"{self.profile.seed}:user:{i}" for i in index])


@dataclass
class Rows:
    """One batch of events of one kind, as numbers; -1 stands for null."""

    kind: int
    session: Index  # into the day's sessions
    key: U64  # of the event
    ts: Index  # UTC ms
    track: Index
    artist: Index
    surface: Index
    page: Index  # whether the row belongs to its session's home page, 0 or 1
    slot: Index
    propensity: NDArray[np.float64]
    reason: Index
    ms: Index
    reason_start: Index
    reason_end: Index
    shuffle: Index
    skipped: Index


def event_rows(
    kind: int, session: Index, key: U64, ts: Index, **columns: Index | NDArray[np.float64]
) -> Rows:
    """Rows of one kind, null in every column that is not given."""
    blank: dict[str, Index | NDArray[np.float64]] = {name: np.full(len(session), -1) for name in _BLANK}
    blank |= {"page": np.zeros(len(session), np.int64), "propensity": np.full(len(session), np.nan)}
    return Rows(kind, session, key, ts, **(blank | columns))  # type: ignore[arg-type]


def day_rows(catalog: Catalog, sessions: Sessions, pages: Pages, played: Played, seed: int) -> list[Rows]:
    """All events of a day, by kind."""
    key = keys(stream(seed, "event"), sessions.key[played.session], played.step)
    u = uniforms(key, 3)
    home = played.source == HOME
    end = played.start + played.ms
    plays = _plays(sessions, played, key)
    track, artist = played.track, catalog.artist[played.track]
    saved = np.flatnonzero(played.saved)
    follows = saved[u[0, saved] < 0.15]
    chance = np.where(home, 0.02, 0.002) * (played.outcome == 0)
    unwanted = np.flatnonzero(u[1] < chance)
    shared = {"page": home.astype(np.int64), "surface": plays.surface}

    def reaction(kind: int, at: Index, ts: Index, **what: Index) -> Rows:
        common = {name: column[at] for name, column in shared.items()}
        return event_rows(kind, played.session[at], key[at] + np.uint64(kind), ts, **common, **what)

    during = played.start + (0.6 * played.ms).astype(np.int64)
    return [
        plays,
        _impressions(sessions, pages, seed),
        reaction(SAVE, saved, during[saved], track=track[saved]),
        reaction(FOLLOW, follows, during[follows] + 1_500, artist=artist[follows]),
        reaction(NOT_INTERESTED, unwanted, end[unwanted] + 200, track=track[unwanted]),
    ]


def _plays(sessions: Sessions, played: Played, key: U64) -> Rows:
    order = np.lexsort((played.step, played.session))
    session = played.session[order]
    first = np.append(True, session[1:] != session[:-1])
    last = np.append(first[1:], True)
    outcome = played.outcome[order]
    before = np.append(2, outcome[:-1])
    started = np.where(first, np.where(played.source[order] == HOME, 0, 4), np.where(before == 2, 1, 2))
    started = np.where((played.source[order] == HOME) & ~first, 0, started)
    ended = np.where(outcome == 2, 0, np.where(last, 2, 1))
    reason_start, reason_end = np.empty(len(order), np.int64), np.empty(len(order), np.int64)
    reason_start[order], reason_end[order] = started, ended
    mode = sessions.mode[played.session]
    home = played.source == HOME
    searched = np.isin(played.source, (NEXT, SAME)) & (played.step == 0)
    surface = np.select([home, searched, mode == 3], [ON_HOME, ON_SEARCH, ON_RADIO], IN_LIBRARY)
    return event_rows(
        PLAY,
        played.session,
        key,
        played.start + played.ms,
        track=played.track,
        surface=surface,
        page=home.astype(np.int64),
        slot=played.slot,
        ms=played.ms,
        reason_start=reason_start,
        reason_end=reason_end,
        shuffle=((mode == 1) | (mode == 2)) & ~home,
        skipped=played.outcome != 2,
    )


def _impressions(sessions: Sessions, pages: Pages, seed: int) -> Rows:
    session = np.repeat(pages.session, SLOTS)
    slot = np.tile(np.arange(SLOTS), len(pages.session))
    return event_rows(
        IMPRESSION,
        session,
        keys(stream(seed, "impression"), sessions.key[session], slot) if len(session) else sessions.key[:0],
        sessions.start[session] - 4_000 + 150 * slot,
        track=pages.track.ravel(),
        surface=np.zeros(len(session), np.int64),
        page=np.ones(len(session), np.int64),
        slot=slot,
        propensity=pages.propensity.ravel(),
        reason=pages.kind.ravel(),
    )


def arrow_table(
    names: Names, users: pa.Array, listeners: Listeners, sessions: Sessions, rows: list[Rows]
) -> pa.Table:
    """The day's rows in the columns of EVENTS, `day` (the partition) left out."""

    def column(name: str) -> NDArray[np.generic]:
        return np.concatenate([np.asarray(getattr(r, name)) for r in rows])

    kind = np.repeat([r.kind for r in rows], [len(r.session) for r in rows])
    session = column("session").astype(np.int64)
    ts, key = column("ts").astype(np.int64), np.concatenate([r.key for r in rows])
    row, u = sessions.row[session], uniforms(mix_key(key), 2)
    offline = sessions.offline[session]
    late = np.where(offline, 3_600_000 * (1 + 9 * u[0]), 150 + 2_000 * u[0] ** 4).astype(np.int64)
    country, device = sessions.country[session], sessions.device[session]
    platform = _PLATFORM_OF[device, listeners.index[row] % 3]
    is_play = kind == PLAY
    chance = column("propensity").astype(np.float64)
    request = public_ids(sessions.key ^ np.uint64(0xA5A5))
    consent = listeners.consent[row]
    columns: dict[str, pa.Array] = {
        "event_id": event_ids(ts, key),
        "kind": chosen(kind, KINDS),
        "user_id": users.take(vector(row, pa.int64())),
        "session_id": public_ids(sessions.key).take(vector(session, pa.int64())),
        "request_id": request.take(numbers(np.where(column("page") == 1, session, -1))),
        "ts": vector(ts * 1000, TIME),
        "received_at": vector((ts + late) * 1000, TIME),
        "track_id": names.tracks.take(numbers(column("track"))),
        "artist_id": names.artists.take(numbers(column("artist"))),
        "surface": chosen(column("surface"), SURFACES),
        "shelf": chosen(np.where(column("page") == 1, 0, -1), ["made_for_you"]),
        "position": numbers(column("slot"), pa.int32()),
        "propensity": vector(chance, pa.float64(), ~np.isnan(chance)),
        "reason": chosen(column("reason"), WHY_SHOWN),
        "schema_version": vector(np.full(len(kind), SCHEMA_VERSION), pa.int16()),
        "consent_personalization": flags(consent[:, 0]),
        "consent_analytics": flags(consent[:, 1]),
        "consent_ads": flags(consent[:, 2]),
        "tz": chosen(country, [tz for tz, _, _ in COUNTRIES.values()]),
        "device": chosen(device, list(DEVICES)),
        "ms_played": numbers(column("ms"), pa.int32()),
        "reason_start": chosen(column("reason_start"), REASONS_START),
        "reason_end": chosen(column("reason_end"), REASONS_END),
        "shuffle": flags(column("shuffle") == 1, is_play),
        "skipped": flags(column("skipped") == 1, is_play),
        "offline": flags(offline),
        "incognito_mode": flags(sessions.incognito[session]),
        "platform": chosen(platform, PLATFORMS),
        "conn_country": chosen(country, CODES),
        "payload": pa.nulls(len(kind), pa.string()),
        "playlist_id": pa.nulls(len(kind), pa.string()),
        "snooze_days": pa.nulls(len(kind), pa.int32()),
        "exposed": pa.nulls(len(kind), pa.string()),
        "took_ms": pa.nulls(len(kind), pa.float64()),
    }
    assert [*columns, "day"] == list(EVENTS)
    return pa.table(columns)


def mix_key(key: U64) -> U64:
    """A second, independent key of each event."""
    return key ^ np.uint64(DRAWS << 40)


def digest(rows: list[Rows], index: Index, sessions: Sessions) -> int:
    """Sum modulo 2**64 of a hash of every row: the same for any order, chunk or worker."""
    total = 0
    for r in rows:
        if not len(r.session):
            continue
        owner = index[sessions.row[r.session]]
        chance = np.nan_to_num(r.propensity).view(np.uint64).astype(np.int64)
        hashed = keys(
            r.key, r.ts, owner, r.track + 1, r.slot + 1, r.ms + 1, chance, r.skipped + 1, r.surface + 1
        )
        total += int(hashed.sum(dtype=np.uint64))
    return total % 2**64
