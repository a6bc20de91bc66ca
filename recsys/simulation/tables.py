"""The public side of the catalog and the accounts, as lake tables: what a service would know, factors left out."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recsys.schemas import AUDIO
from recsys.simulation.catalog import CODES, COUNTRIES, EVER, Catalog, leaf_names, track_ids
from recsys.simulation.identify import hashed_ids
from recsys.simulation.names import artist_names, titles
from recsys.simulation.population import OFFSET_H, Listeners
from recsys.simulation.profiles import Profile
from recsys.simulation.sessions import DAY_STARTS


def catalog_tables(profile: Profile, catalog: Catalog) -> dict[str, pl.DataFrame]:
    """Frames of tracks, artists, albums, availability and aliases."""
    rng = np.random.Generator(np.random.Philox([profile.seed, 2]))
    seed, n = profile.seed, len(catalog)
    genres = np.array(leaf_names(profile))
    albums = int(catalog.album[-1]) + 1
    first = np.flatnonzero(np.diff(catalog.album, prepend=-1))
    track_id = np.array(track_ids(seed, n))
    artist_id = _ids(seed, "artist", len(catalog.artist_leaf))
    album_id = _ids(seed, "album", albums)
    released = pl.Series(catalog.release + _epoch_day(profile)).cast(pl.Int32).cast(pl.Date)
    isrc = [
        f"QZ{'SIM' if i < 100_000 else f'S{i // 100_000:02d}'}{day.year % 100:02d}{i % 100_000:05d}"
        for i, day in enumerate(released)
    ]
    tracks = pl.DataFrame(
        {
            "track_id": track_id,
            "title": titles(n, rng),
            "artist_id": artist_id[catalog.artist],
            "album_id": album_id[catalog.album],
            "genre": genres[catalog.leaf],
            "release_date": released,
            "duration_ms": catalog.duration_ms,
            "explicit": catalog.explicit,
            "isrc": isrc,
            "key": catalog.key,
            "mode": catalog.mode,
            **{name: catalog.audio[:, j] for j, name in enumerate(AUDIO)},
        }
    )
    names = artist_names(len(artist_id), rng)
    return {
        "tracks": tracks,
        "artists": pl.DataFrame(
            {"artist_id": artist_id, "name": names, "genre": genres[catalog.artist_leaf]}
        ),
        "albums": pl.DataFrame(
            {
                "album_id": album_id,
                "title": titles(albums, rng),
                "artist_id": artist_id[catalog.artist[first]],
                "release_date": released.gather(first),
            }
        ),
        "availability": availability(profile, catalog, track_id),
        "aliases": pl.DataFrame({"entity": "track", "id": track_id, "source": "isrc", "foreign_id": isrc}),
    }


def availability(profile: Profile, catalog: Catalog, track_id: NDArray[np.generic]) -> pl.DataFrame:
    """One row per open window; a track that is free everywhere since ever has none."""
    alike = (catalog.since == catalog.since[:, :1]).all(1) & (catalog.until == catalog.until[:, :1]).all(1)
    free = alike & (catalog.since[:, 0] == -EVER) & (catalog.until[:, 0] == EVER)
    one = np.flatnonzero(alike & ~free)
    track, country = np.nonzero((~alike)[:, None] & (catalog.since < catalog.until))
    track, country = np.concatenate([one, track]), np.concatenate([np.full(len(one), -1), country])
    day = _epoch_day(profile)
    since, until = catalog.since[track, country], catalog.until[track, country]
    codes = np.array([*CODES, None], object)[country]
    return pl.DataFrame(
        {
            "track_id": track_id[track],
            "country": pl.Series(codes.tolist(), dtype=pl.String),
            "available_from": _midnight(since, since > -EVER, day),
            "available_until": _midnight(until, until < EVER, day),
        }
    )


def listener_table(profile: Profile, listeners: Listeners) -> pl.DataFrame:
    """Accounts; everyone of the first day joined some time in the three years before."""
    before = 1 + (listeners.index * 7919) % 1095
    day = np.where(listeners.join_day > 0, listeners.join_day, -before) + _epoch_day(profile)
    offset = OFFSET_H[listeners.country]
    ms = day * 86_400_000 + ((DAY_STARTS - offset) * 3_600_000).astype(np.int64)
    zones = np.array([tz for tz, _, _ in COUNTRIES.values()])
    return pl.DataFrame(
        {
            "user_id": hashed_ids("sim", [f"{profile.seed}:user:{i}" for i in listeners.index]).to_pylist(),
            "country": np.array(CODES)[listeners.country],
            "tz": zones[listeners.country],
            "joined_at": pl.Series(ms).cast(pl.Datetime("ms", "UTC")),
        }
    )


def _ids(seed: int, what: str, n: int) -> NDArray[np.str_]:
    return np.array(hashed_ids("sim", [f"{seed}:{what}:{i}" for i in range(n)]).to_pylist())


def _epoch_day(profile: Profile) -> int:
    return profile.start.toordinal() - 719_163


def _midnight(day: NDArray[np.generic], known: NDArray[np.generic], epoch_day: int) -> pl.Series:
    ms = (day.astype(np.int64) + epoch_day) * 86_400_000
    return pl.Series([int(m) if k else None for m, k in zip(ms, known, strict=True)], dtype=pl.Int64).cast(
        pl.Datetime("ms", "UTC")
    )
