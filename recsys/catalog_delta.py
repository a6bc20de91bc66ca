"""A catalog that has moved on since a release was built: what differs, and the release's items with it applied.

delta = Delta.of(items, tracks, availability, closed_by)     # closed_by: UTC ms; withdrawals up to then are in force
live = revise(items, delta)                                  # a copy; dense numbers of the release stay

Both are pure functions of the release and the catalog at one revision, however many steps led there: new tracks are
numbered after the release's own, in the order in which the catalog got them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recsys.items import UNKNOWN_DAY, Items, rights
from recsys.plays import I64
from recsys.schemas import AUDIO, TRACKS

Bools = NDArray[np.bool_]

COLUMNS = (*TRACKS, "artist_name")
CONTENT = ("artist_id", "album_id", "genre", "release_date", *AUDIO)
"""What the models read of a track beside its plays."""
_KEPT = ("track_ids", "premium", "moments", "_numbers", "_countries", "_artists", "_albums")
"""Look-ups of Items that rights do not enter."""


@dataclass(frozen=True)
class Delta:
    """m tracks that differ from a release of n: changed ones, ascending, then new ones n, n + 1, ..."""

    frame: pl.DataFrame  # COLUMNS
    row: I64  # (m,) dense numbers
    content: Bools  # (m,) whether the models must look again; true for new tracks
    named: Bools  # (m,) whether any column differs; where not, it is the rights alone
    since: I64  # (m, countries+1) as in Items
    until: I64

    def __len__(self) -> int:
        return len(self.row)

    @classmethod
    def of(cls, base: Items, tracks: pl.DataFrame, availability: pl.DataFrame, closed_by: int) -> Delta:
        """What differs among some of the catalog's tracks; those that are not given count as unchanged.

        Args:
            tracks: COLUMNS with `added` and `withdrawn_at` (UTC microseconds), all new tracks among them.
            availability: their windows in force.
            closed_by: a withdrawal up to this time (UTC ms) closes a track at any time asked for, so that neither
                another machine's clock nor a simulated one opens it again.
        """
        number = base.numbers(tracks["track_id"]).astype(np.int64)
        order = tracks.select(pl.struct(pl.lit(pl.Series(number < 0)), "added", "track_id").arg_sort())
        places = order.to_series().to_numpy()
        tracks, number = tracks[places], number[places]
        new = number < 0
        number[new] = len(base) + np.arange(int(new.sum()))
        since, until = rights(tracks["track_id"], availability, base.countries)
        gone = (tracks["withdrawn_at"].fill_null(np.iinfo(np.int64).max) // 1000).to_numpy() <= closed_by
        since[gone], until[gone] = 0, 0
        content, other = _differs(base, tracks, np.where(new, 0, number))
        changed = (since != base.available_from[np.where(new, 0, number)]).any(axis=1)
        changed |= (until != base.available_until[np.where(new, 0, number)]).any(axis=1)
        kept = np.flatnonzero(new | content | other | changed)
        kept = kept[np.argsort(number[kept], kind="stable")]
        frame = tracks[kept].select(COLUMNS)
        named = new | content | other
        return cls(frame, number[kept], (new | content)[kept], named[kept], since[kept], until[kept])


def _differs(base: Items, tracks: pl.DataFrame, row: I64) -> tuple[Bools, Bools]:
    """(m,) whether the models' columns, and whether others, are not those of the release's rows."""
    before = whole(base.frame)[row]

    def any_of(names: list[str]) -> Bools:
        unlike = [before[name].ne_missing(tracks[name]).to_numpy() for name in names]
        return np.asarray(np.any(unlike, axis=0), bool)

    return any_of(list(CONTENT)), any_of([c for c in COLUMNS if c not in CONTENT])


def whole(frame: pl.DataFrame) -> pl.DataFrame:
    """A release's frame with columns that it is too old to have, null."""
    missing = [pl.lit(None, TRACKS[c]).alias(c) for c in TRACKS if c not in frame.columns]
    return frame.with_columns(missing).select(COLUMNS)


def revise(base: Items, delta: Delta) -> Items:
    """The items of a release with a delta applied, in arrays of their own."""
    size = max(len(base), int(delta.row.max(initial=-1)) + 1)
    place = np.arange(size)
    place[delta.row] = len(base) + np.arange(len(delta))
    artists, artist = _numbers(base.artist_ids, base._artists, delta.frame["artist_id"].fill_null(""))
    _, album = _numbers([], base._albums, delta.frame["album_id"].fill_null(""), 1 + int(base.album.max()))
    genre_names = delta.frame["genre"].fill_null("")
    genres, genre = _numbers(base.genres, None, genre_names)
    parent_names = genre_names.str.split("/").list.first()
    parents, parent = _numbers(base.parents, None, parent_names)
    audio = delta.frame.select(AUDIO).to_numpy().astype(np.float32)
    known = np.isfinite(audio).all(axis=1)
    center, scale = base.moments
    audio = np.where(known[:, None], (audio - center) / scale, 0)
    new: dict[str, NDArray[Any]] = {
        "artist": artist,
        "album": album,
        "genre": np.where((genre_names == "").to_numpy(), -1, genre),
        "parent": np.where((parent_names == "").to_numpy(), -1, parent),
        "release_day": delta.frame["release_date"].cast(pl.Int32).fill_null(UNKNOWN_DAY).to_numpy(),
        "duration_ms": delta.frame["duration_ms"].fill_null(0).to_numpy(),
        "explicit": delta.frame["explicit"].fill_null(False).to_numpy(),
        "audio": audio,
        "audio_known": known,
        "available_from": delta.since,
        "available_until": delta.until,
    }
    arrays: dict[str, Any] = {
        name: patched(getattr(base, name), delta.row, values, size) for name, values in new.items()
    }
    frame = pl.concat([whole(base.frame), delta.frame])
    if len(frame) > size:  # else all are new, and in their places
        frame = frame[place]
    items = replace(base, frame=frame, artist_ids=artists, genres=genres, parents=parents, **arrays)
    return _with_names(items, base, delta.frame["track_id"][int((delta.row < len(base)).sum()) :].to_list())


def with_rights(items: Items, base: Items, delta: Delta) -> Items:
    """`items`, revised from `base` before, under a delta that differs from that one in rights alone."""
    live = replace(
        items,
        available_from=patched(base.available_from, delta.row, delta.since, len(items)),
        available_until=patched(base.available_until, delta.row, delta.until, len(items)),
    )
    vars(live).update({name: value for name, value in vars(items).items() if name in _KEPT})
    return live


def patched(base: NDArray[Any], row: I64, values: NDArray[Any], size: int) -> NDArray[Any]:
    """A copy of `base`, `size` long, with some rows set; rows beyond the base that are not set are zero."""
    out = np.empty((size, *base.shape[1:]), base.dtype)
    out[: len(base)] = base
    out[len(base) :] = 0
    out[row] = values
    return out


def _with_names(items: Items, base: Items, new: list[str]) -> Items:
    """Fills the look-ups that hang from an Items, from those of the base."""
    filled = vars(items)
    filled["track_ids"] = [*base.track_ids, *new]
    filled["_numbers"] = {**base._numbers, **{name: len(base) + i for i, name in enumerate(new)}}
    return items


def _numbers(
    names: list[str], known: dict[str, int] | None, values: pl.Series, start: int | None = None
) -> tuple[list[str], I64]:
    """Dense numbers of some values; those that are not known are numbered on, in the order of coming."""
    known = {name: i for i, name in enumerate(names)} if known is None else known
    fresh: dict[str, int] = {}
    start, out = len(names) if start is None else start, np.empty(len(values), np.int64)
    for i, value in enumerate(values.to_list()):
        number = known.get(value)
        out[i] = fresh.setdefault(value, start + len(fresh)) if number is None else number
    return [*names, *fresh], out
