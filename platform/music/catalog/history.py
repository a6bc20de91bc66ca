"""Tracks as readers see them, now and at any earlier revision; what changed since one. SQL over a connection.

A state is one row a track: the columns of recsys.schemas, the artist's name, `added`, `withdrawn_at`, and the windows
as text. What a track was before each change is kept as an undo log, so first imports cost nothing and any revision
since can be read again.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import orjson
import polars as pl
from sqlalchemy import Connection, func, insert, select

from music.catalog import store
from music.catalog.tables import ArtistRow, AvailabilityRow, HistoryRow, TrackRow
from recsys.schemas import TIME, TRACKS

STATE: dict[str, pl.DataType] = {
    **TRACKS,
    "artist_name": pl.String(),
    "added": pl.Int64(),  # revision that first wrote it; 0: before revisions were kept
    "withdrawn_at": pl.Int64(),  # UTC microseconds
    "windows": pl.String(),  # "country,from,until;..." in UTC microseconds, empty where open
}


def states(connection: Connection, ids: Sequence[str] | None = None) -> pl.DataFrame:
    """The current state of some tracks (of all where None), in order of track_id."""
    tracks = store.table("tracks")
    query = select(
        *(tracks.c[name] for name in TRACKS),
        ArtistRow.name,
        func.coalesce(tracks.c.added, 0),
        tracks.c.withdrawn_at,
    ).outerjoin(ArtistRow, tracks.c.artist_id == ArtistRow.artist_id)
    rows = []
    for part in [None] if ids is None else store.parts(sorted(set(ids))):
        some = query if part is None else query.where(tracks.c.track_id.in_(part))
        rows += [tuple(row) for row in connection.execute(some)]
    schema = {name: kind for name, kind in STATE.items() if name != "windows"}
    frame = pl.DataFrame(rows, schema=schema, orient="row")
    return (
        frame.join(_windows(connection, ids), on="track_id", how="left")
        .with_columns(pl.col("windows").fill_null(""))
        .select(list(STATE))
        .sort("track_id")
    )


def _windows(connection: Connection, ids: Sequence[str] | None) -> pl.DataFrame:
    """(track_id, windows) of the tracks that have any."""
    row = AvailabilityRow
    query = select(row.track_id, row.country, row.available_from, row.available_until)
    query = query.order_by(row.track_id, row.number)
    rows: list[tuple[str, str]] = []
    for part in [None] if ids is None else store.parts(sorted(set(ids))):
        some = query if part is None else query.where(row.track_id.in_(part))
        for track_id, *window in connection.execute(some):
            rows.append((track_id, ",".join("" if value is None else str(value) for value in window)))
    frame = pl.DataFrame(rows, schema={"track_id": pl.String(), "windows": pl.String()}, orient="row")
    return frame.group_by("track_id", maintain_order=True).agg(pl.col("windows").str.join(";"))


def availability(state: pl.DataFrame) -> pl.DataFrame:
    """The windows of some states as a table, as they were written."""
    parts = (
        state.filter(pl.col("windows") != "")
        .select("track_id", pl.col("windows").str.split(";"))
        .explode("windows")
        .with_columns(pl.col("windows").str.split_exact(",", 2).struct.rename_fields(["a", "b", "c"]))
        .unnest("windows")
    )

    def time(name: str) -> pl.Expr:
        micros = pl.when(pl.col(name) != "").then(pl.col(name)).cast(pl.Int64)
        return pl.from_epoch(micros, "us").dt.replace_time_zone("UTC").cast(TIME)

    return parts.select(
        "track_id",
        country=pl.when(pl.col("a") != "").then(pl.col("a")),
        available_from=time("b"),
        available_until=time("c"),
    )


def record(connection: Connection, revision: int, before: pl.DataFrame, after: pl.DataFrame) -> int:
    """Keeps what was there before of the tracks that differ afterwards; how many did."""
    both = before.join(after, on="track_id", suffix="/after", maintain_order="left")
    differs = [pl.col(c).ne_missing(pl.col(f"{c}/after")) for c in STATE if c != "track_id"]
    changed = both.filter(pl.any_horizontal(differs)).select(list(STATE))
    rows = [
        {"revision": revision, "track_id": row["track_id"], "before": orjson.dumps(row).decode()}
        for row in changed.iter_rows(named=True)
    ]
    if rows:
        connection.execute(insert(HistoryRow), rows)
    return len(rows)


def touched(connection: Connection, since: int) -> list[str]:
    """Tracks added or changed after a revision."""
    added = connection.scalars(select(TrackRow.track_id).where(TrackRow.added > since))
    changed = connection.scalars(select(HistoryRow.track_id).where(HistoryRow.revision > since).distinct())
    return sorted({*added, *changed})


def states_at(connection: Connection, revision: int) -> pl.DataFrame:
    """The state of every track that there was at a revision: the current one with later changes undone."""
    now = states(connection)
    query = select(HistoryRow.track_id, HistoryRow.before).where(HistoryRow.revision > revision)
    first: dict[str, str] = {}
    for track_id, body in connection.execute(query.order_by(HistoryRow.revision)):
        first.setdefault(track_id, body)
    undone = pl.DataFrame([_row(body) for body in first.values()], schema=STATE)
    kept = now.filter(~pl.col("track_id").is_in(list(first)))
    return pl.concat([kept, undone]).filter(pl.col("added") <= revision).sort("track_id")


def _row(body: str) -> dict[str, object]:
    row = orjson.loads(body)
    if row["release_date"] is not None:
        row["release_date"] = date.fromisoformat(row["release_date"])
    return {name: row.get(name) for name in STATE}  # a column added since is null in an older body


def of_artists(connection: Connection, artist_ids: Sequence[str]) -> list[str]:
    """The tracks of some artists."""
    found: list[str] = []
    for part in store.parts(artist_ids):
        found += connection.scalars(select(TrackRow.track_id).where(TrackRow.artist_id.in_(part)))
    return found
