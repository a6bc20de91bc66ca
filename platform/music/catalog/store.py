"""Reads and writes the catalog's tables: functions over a connection, the only place that speaks SQL."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
from sqlalchemy import Connection, Table, bindparam, delete, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from music.catalog.model import Album, Alias, Artist, Entity, Track, Window
from music.catalog.rules import KEYS, TABLES
from music.catalog.tables import AlbumRow, AliasRow, ArtistRow, AvailabilityRow, Base, RevisionRow, TrackRow
from recsys.schemas import AUDIO
from recsys.schemas import TABLES as SCHEMAS

_CHUNK = 20_000  # rows of one statement
_MANY = 5_000  # values of one IN list; both databases allow at least 32,000 parameters
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TIMES = ("available_from", "available_until")


def table(name: str) -> Table:
    return Base.metadata.tables[name]


def upsert(connection: Connection, name: str, rows: pl.DataFrame, fixed: Sequence[str] = ()) -> None:
    """Inserts rows, or updates them where the key exists; columns that are not given, and `fixed` ones, stay."""
    target, keys = table(name), [*KEYS[name], *fixed]
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    statement = dialect.insert(target)
    changed = {c: statement.excluded[c] for c in rows.columns if c not in keys}
    statement = statement.on_conflict_do_update(index_elements=KEYS[name], set_=changed)
    for chunk in rows.iter_slices(_CHUNK):
        connection.execute(statement, chunk.to_dicts())


def replace_windows(connection: Connection, rows: pl.DataFrame) -> None:
    """Sets the windows of every track named in `rows` to exactly those rows; other tracks keep theirs."""
    clear_windows(connection, rows["track_id"].unique(maintain_order=True).to_list())
    numbered = rows.with_columns(
        *(pl.col(c).dt.epoch("us") for c in _TIMES),
        number=pl.int_range(pl.len(), dtype=pl.Int32).over("track_id"),
    )
    for chunk in numbered.iter_slices(_CHUNK):
        connection.execute(insert(AvailabilityRow), chunk.to_dicts())


def clear_windows(connection: Connection, track_ids: Sequence[str]) -> None:
    """Takes all windows of some tracks away."""
    clear = delete(AvailabilityRow).where(AvailabilityRow.track_id == bindparam("id"))
    for part in parts(track_ids):
        connection.execute(clear, [{"id": track_id} for track_id in part])


def missing(connection: Connection, name: str, ids: Sequence[str]) -> list[str]:
    """Those of `ids` that are no key of table `name`."""
    column = table(name).c[KEYS[name][0]]
    known = {i for part in parts(ids) for i in connection.scalars(select(column).where(column.in_(part)))}
    return [i for i in ids if i not in known]


def renamed(connection: Connection, artists: pl.DataFrame) -> list[str]:
    """Those of some artists that the catalog knows under another name than the given."""
    given = dict(zip(artists["artist_id"], artists["name"], strict=True))
    query = select(ArtistRow.artist_id, ArtistRow.name)
    known = [
        row
        for part in parts(list(given))
        for row in connection.execute(query.where(ArtistRow.artist_id.in_(part)))
    ]
    return [artist_id for artist_id, name in known if given[artist_id] != name]


def next_revision(connection: Connection) -> int:
    """Counts one change; until the transaction ends, no other writer passes here."""
    number = connection.scalar(
        update(RevisionRow).values(number=RevisionRow.number + 1).returning(RevisionRow.number)
    )
    return int(number or 0)


def revision(connection: Connection) -> int:
    return int(connection.scalar(select(RevisionRow.number)) or 0)


def frame(connection: Connection, name: str) -> pl.DataFrame:
    """A whole table in the columns of recsys.schemas, in order of its key; windows as they were written."""
    schema = SCHEMAS[name]
    target = table(name)
    stored = {c: pl.Int64() if c in _TIMES else kind for c, kind in schema.items()}
    rows = connection.execute(select(*(target.c[c] for c in schema)).order_by(*target.primary_key.columns))
    out = pl.DataFrame([tuple(row) for row in rows], schema=stored, orient="row")
    return out.with_columns(
        pl.from_epoch(pl.col(c), "us").dt.replace_time_zone("UTC") for c in _TIMES if c in schema
    )


def frames(connection: Connection) -> dict[str, pl.DataFrame]:
    return {name: frame(connection, name) for name in TABLES}


def withdrawn(connection: Connection) -> dict[str, datetime]:
    """Withdrawn tracks and the time from which they may not be shown."""
    rows = connection.execute(
        select(TrackRow.track_id, TrackRow.withdrawn_at).where(TrackRow.withdrawn_at.is_not(None))
    )
    return {track_id: from_micros(at) for track_id, at in rows}


def set_withdrawn(connection: Connection, track_id: str, at: datetime | None) -> None:
    connection.execute(
        update(TrackRow)
        .where(TrackRow.track_id == track_id)
        .values(withdrawn_at=None if at is None else micros(at))
    )


def resolve(connection: Connection, source: str, foreign_ids: Sequence[str], entity: str) -> dict[str, str]:
    """Public ids by alias; an ISRC is also looked up in the tracks' own column (aliases come first)."""
    found: dict[str, str] = {}
    for part in parts(foreign_ids):
        if source == "isrc" and entity == Entity.TRACK:
            own = select(TrackRow.isrc, func.min(TrackRow.track_id)).where(TrackRow.isrc.in_(part))
            found |= {str(isrc): i for isrc, i in connection.execute(own.group_by(TrackRow.isrc))}
        query = select(AliasRow.foreign_id, AliasRow.id).where(
            AliasRow.entity == entity, AliasRow.source == source, AliasRow.foreign_id.in_(part)
        )
        found |= dict(connection.execute(query).tuples().all())
    return found


def track(connection: Connection, track_id: str) -> Track | None:
    """One track with its artist, album, windows and aliases."""
    tracks, artists, albums = table("tracks"), table("artists"), table("albums")
    query = (
        select(
            tracks,
            artists.c.name,
            albums.c.title.label("album_title"),
            albums.c.release_date.label("album_date"),
        )
        .outerjoin(artists, tracks.c.artist_id == artists.c.artist_id)
        .outerjoin(albums, tracks.c.album_id == albums.c.album_id)
        .where(tracks.c.track_id == track_id)
    )
    row = connection.execute(query).mappings().one_or_none()
    if row is None:
        return None
    return Track(
        track_id=track_id,
        title=row["title"],
        artist=Artist(row["artist_id"], row["name"]) if row["artist_id"] else None,
        album=Album(row["album_id"], row["album_title"], row["album_date"]) if row["album_id"] else None,
        genre=row["genre"],
        release_date=row["release_date"],
        duration_ms=row["duration_ms"],
        explicit=row["explicit"],
        premium=row["premium"],
        isrc=row["isrc"],
        audio={name: row[name] for name in AUDIO if row[name] is not None},
        windows=_windows(connection, track_id),
        aliases=_aliases(connection, Entity.TRACK, track_id),
        withdrawn_at=from_micros(row["withdrawn_at"]),
    )


def artist(connection: Connection, artist_id: str) -> Artist | None:
    """One artist with aliases."""
    row = connection.execute(
        select(ArtistRow.name, ArtistRow.genre).where(ArtistRow.artist_id == artist_id)
    ).one_or_none()
    if row is None:
        return None
    return Artist(artist_id, row.name, row.genre, _aliases(connection, Entity.ARTIST, artist_id))


def albums(connection: Connection, album_ids: Sequence[str]) -> list[Album]:
    """Those of some albums that are known."""
    row = AlbumRow
    query = select(row.album_id, row.title, row.release_date)
    return [
        Album(*found)
        for part in parts(album_ids)
        for found in connection.execute(query.where(row.album_id.in_(part)))
    ]


def tracks_of(connection: Connection, artist_id: str, limit: int) -> list[tuple[str, str | None]]:
    """(track_id, title) of an artist's newest tracks."""
    query = (
        select(TrackRow.track_id, TrackRow.title)
        .where(TrackRow.artist_id == artist_id)
        .order_by(TrackRow.release_date.desc().nulls_last(), TrackRow.track_id)
        .limit(limit)
    )
    return [(track_id, title) for track_id, title in connection.execute(query)]


def _windows(connection: Connection, track_id: str) -> tuple[Window, ...]:
    row = AvailabilityRow
    query = select(row.country, row.available_from, row.available_until)
    rows = connection.execute(query.where(row.track_id == track_id).order_by(row.number))
    return tuple(Window(c, from_micros(since), from_micros(until)) for c, since, until in rows)


def _aliases(connection: Connection, entity: Entity, public_id: str) -> tuple[Alias, ...]:
    # Sorted here: with ORDER BY, SQLite walks the primary key instead of the index (55 ms at 300,000 tracks).
    query = select(AliasRow.source, AliasRow.foreign_id)
    rows = connection.execute(query.where(AliasRow.entity == entity.value, AliasRow.id == public_id))
    return tuple(Alias(source, foreign_id) for source, foreign_id in sorted(rows.tuples()))


def micros(at: datetime) -> int:
    """UTC microseconds since 1970 of an aware time, exactly."""
    return (at - _EPOCH) // timedelta(microseconds=1)


def from_micros(at: int | None) -> Any:
    return None if at is None else _EPOCH + timedelta(microseconds=at)


def parts(values: Sequence[str]) -> Iterator[Sequence[str]]:
    """The values in pieces that fit one IN list."""
    for start in range(0, len(values), _MANY):
        yield values[start : start + _MANY]
