"""What can be done with the catalog; implements recsys.ports.CatalogReader and CatalogWriter.

catalog = Catalog.open(home.catalog_url, publish=facts.append)
catalog.write({"tracks": frame, "artists": frame})
catalog.withdraw(track_id, at=now)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl
from sqlalchemy import Connection, Engine

from music.catalog import history, store
from music.catalog.database import connect, durable, reading, upgrade
from music.catalog.model import (
    CatalogUpdated,
    Entity,
    Fact,
    Track,
    TrackRestored,
    TrackWithdrawn,
    canonical,
)
from music.catalog.rules import KEYS, TABLES, checked
from music.catalog.views import album_view, artist_view, track_view
from recsys.errors import BadInput, UnknownId
from recsys.ids import is_public_id
from recsys.schemas import TIME

_ARTIST_TRACKS = 50
_REFERENCES = (
    ("albums", "artist_id", "artists"),
    ("tracks", "artist_id", "artists"),
    ("tracks", "album_id", "albums"),
    ("availability", "track_id", "tracks"),
)


def _unheard(_fact: Fact) -> None:
    """Where nobody listens, facts are lost."""


@dataclass(frozen=True)
class Catalog:
    """The catalog in one database; safe for several threads and processes at once.

    Facts are published after the change is durable, at most once.
    """

    engine: Engine
    publish: Callable[[Fact], None] = _unheard

    @classmethod
    def open(cls, url: str, publish: Callable[[Fact], None] = _unheard) -> Catalog:
        """Opens (and, where needed, creates or migrates) the catalog at a database URL.

        Raises:
            BadInput: not a usable database URL.
            NotReady: the tables are from a newer version.
        """
        engine = connect(url)
        upgrade(engine)
        return cls(engine, publish)

    def close(self) -> None:
        self.engine.dispose()

    def write(self, tables: dict[str, pl.DataFrame], windows_of: Sequence[str] = ()) -> int:
        """Inserts or updates rows of `tracks, artists, albums, availability, aliases`, in one transaction.

        A track's windows are replaced as a whole where `availability` or `windows_of` names it; a withdrawal stays.
        Returns the new revision.

        Raises:
            BadInput: a row breaks a rule or names a thing the catalog does not hold; nothing was written.
            StoreUnavailable: the database cannot be written now; nothing was written.
        """
        rows = checked(tables)
        with durable(self.engine) as connection:
            revision = store.next_revision(connection)
            affected = [*_affected(connection, rows), *windows_of]
            before = history.states(connection, affected)
            store.clear_windows(connection, windows_of)
            for name in TABLES:
                if name in rows:
                    _check_references(connection, name, rows)
                    _write(connection, name, rows[name], revision)
            if before.height:
                after = history.states(connection, before["track_id"].to_list())
                history.record(connection, revision, before, after)
        self.publish(CatalogUpdated(revision, {name: frame.height for name, frame in rows.items()}))
        return revision

    def withdraw(self, track_id: str, at: datetime) -> int:
        """From `at` on the track may not be shown anywhere; an earlier withdrawal stands. Returns the revision.

        Raises:
            UnknownId: no such track. BadInput: `at` has no time zone.
        """
        if at.tzinfo is None:
            raise BadInput("a withdrawal needs a time with a time zone")
        with durable(self.engine) as connection:
            known = _track(connection, track_id)
            if known.withdrawn_at is not None and known.withdrawn_at <= at:
                return store.revision(connection)
            revision = _set_withdrawn(connection, track_id, at)
        self.publish(TrackWithdrawn(revision, track_id, at))
        return revision

    def restore(self, track_id: str) -> int:
        """Takes a withdrawal back; returns the revision. Raises UnknownId."""
        with durable(self.engine) as connection:
            if _track(connection, track_id).withdrawn_at is None:
                return store.revision(connection)
            revision = _set_withdrawn(connection, track_id, None)
        self.publish(TrackRestored(revision, track_id))
        return revision

    def withdrawn(self) -> dict[str, datetime]:
        """Withdrawn tracks and the time from which they may not be shown: what serving checks at the end."""
        with self.engine.connect() as connection, connection.begin():
            return store.withdrawn(connection)

    def revision(self) -> int:
        """A number that grows with every change; what a Decision records as the catalog's version."""
        with self.engine.connect() as connection, connection.begin():
            return store.revision(connection)

    def changes(self, since: int) -> Changes:
        """Every track added or changed after a revision, as it is now."""
        with reading(self.engine) as connection:
            found = history.touched(connection, since)
            return _changes(store.revision(connection), history.states(connection, found))

    def snapshot(self, at: int | None = None) -> Changes:
        """Every track, as it is now or as it was at a revision.

        Raises:
            BadInput: a revision that has not been reached.
        """
        with reading(self.engine) as connection:
            newest = store.revision(connection)
            if at is not None and not 0 <= at <= newest:
                raise BadInput(f"the catalog is at revision {newest}: it has no revision {at}")
            state = history.states(connection) if at is None else history.states_at(connection, at)
            return _changes(newest if at is None else at, state)

    def tables(self) -> dict[str, pl.DataFrame]:
        """All tables in the columns of recsys.schemas, one snapshot.

        Availability is what is in force: withdrawals have ended the windows.
        """
        with reading(self.engine) as connection:
            frames, withdrawn = store.frames(connection), store.withdrawn(connection)
        return frames | {"availability": _in_force(frames["availability"], withdrawn)}

    def resolve(self, source: str, foreign_ids: Sequence[str], entity: str = "track") -> dict[str, str]:
        """Public ids of those foreign ids that are known, keyed by the spelling that was asked for.

        Raises:
            BadInput: `entity` is none of track, artist, album.
        """
        if entity not in list(Entity):
            raise BadInput(f"no entity {entity!r}: one of {', '.join(Entity)}")
        plain = {foreign_id: canonical(source, foreign_id) for foreign_id in foreign_ids}
        with self.engine.connect() as connection, connection.begin():
            found = store.resolve(connection, source, list(dict.fromkeys(plain.values())), entity)
        return {foreign_id: found[p] for foreign_id, p in plain.items() if p in found}

    def entity(self, track_id: str) -> Track:
        """One track as the domain knows it. Raises UnknownId, BadInput (malformed)."""
        with self.engine.connect() as connection, connection.begin():
            return _track(connection, track_id)

    def track(self, track_id: str) -> dict[str, Any]:
        """One track as JSON-able fields (api.TrackOut). Raises UnknownId, BadInput (malformed)."""
        return track_view(self.entity(track_id))

    def artist(self, artist_id: str) -> dict[str, Any]:
        """One artist with the newest tracks, JSON-able (api.ArtistOut). Raises UnknownId, BadInput."""
        _well_formed("artist", artist_id)
        with self.engine.connect() as connection, connection.begin():
            known = store.artist(connection, artist_id)
            if known is None:
                raise UnknownId(f"unknown artist {artist_id!r}: the catalog does not hold it")
            return artist_view(known, store.tracks_of(connection, artist_id, _ARTIST_TRACKS))

    def albums(self, album_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Title and release date of those of some albums that are known, by id; JSON-able (api.AlbumRef)."""
        with self.engine.connect() as connection, connection.begin():
            known = store.albums(connection, list(dict.fromkeys(album_ids)))
        return {album.album_id: album_view(album) for album in known}


@dataclass(frozen=True)
class Changes:
    """Some tracks as of one revision: their columns, `artist_name`, `added`, `withdrawn_at` (UTC microseconds), and
    their rights in force, in which a withdrawal has ended every window."""

    revision: int
    tracks: pl.DataFrame
    availability: pl.DataFrame


def _changes(revision: int, state: pl.DataFrame) -> Changes:
    gone = state.filter(pl.col("withdrawn_at").is_not_null())
    ends = [store.from_micros(at) for at in gone["withdrawn_at"]]
    withdrawn = dict(zip(gone["track_id"], ends, strict=True))
    return Changes(
        revision,
        state.drop("windows"),
        _in_force(history.availability(state), withdrawn),
    )


def _affected(connection: Connection, rows: dict[str, pl.DataFrame]) -> list[str]:
    """Tracks that a write may change: those it names, and those of the artists that it names otherwise."""
    named = [rows[name]["track_id"] for name in ("tracks", "availability") if name in rows]
    found = pl.concat(named).unique().to_list() if named else []
    if "artists" in rows:
        found += history.of_artists(connection, store.renamed(connection, rows["artists"]))
    return found


def _write(connection: Connection, name: str, rows: pl.DataFrame, revision: int) -> None:
    if name == "availability":
        store.replace_windows(connection, rows)
    elif name == "tracks":
        store.upsert(connection, name, rows.with_columns(added=pl.lit(revision)), fixed=("added",))
    else:
        store.upsert(connection, name, rows)


def _set_withdrawn(connection: Connection, track_id: str, at: datetime | None) -> int:
    """Marks or unmarks a track; the new revision."""
    revision, before = store.next_revision(connection), history.states(connection, [track_id])
    store.set_withdrawn(connection, track_id, at)
    history.record(connection, revision, before, history.states(connection, [track_id]))
    return revision


def _track(connection: Connection, track_id: str) -> Track:
    _well_formed("track", track_id)
    known = store.track(connection, track_id)
    if known is None:
        raise UnknownId(f"unknown track {track_id!r}: the catalog does not hold it")
    return known


def _well_formed(what: str, public_id: str) -> None:
    if not is_public_id(public_id):
        raise BadInput(f"{public_id!r} is no {what} id: 22 characters of 0-9A-Za-z")


def _check_references(connection: Connection, name: str, rows: dict[str, pl.DataFrame]) -> None:
    for child, column, parent in _REFERENCES:
        if child != name:
            continue
        named = rows[name][column].drop_nulls().unique(maintain_order=True)
        if parent in rows:
            named = named.filter(~named.is_in(rows[parent][KEYS[parent][0]].implode()))
        unknown = store.missing(connection, parent, named.to_list())
        if unknown:
            raise BadInput(
                f"{name}: {column} {unknown[0]!r} is in no row of {parent} ({len(unknown)} such ids): "
                f"write {parent} first, or in the same call"
            )


def _in_force(availability: pl.DataFrame, withdrawn: dict[str, datetime]) -> pl.DataFrame:
    """Track.rights as a table: windows of withdrawn tracks end; one that had none gets one."""
    if not withdrawn:
        return availability
    ends = pl.DataFrame(
        {"track_id": list(withdrawn), "end": list(withdrawn.values())},
        schema={"track_id": pl.String(), "end": TIME},
    )
    listed = availability.join(ends, on="track_id", how="left", maintain_order="left")
    free = ends.join(availability, on="track_id", how="anti")
    return pl.concat([listed, free], how="diagonal").select(
        "track_id",
        "country",
        available_from=pl.when(pl.col("available_from").is_not_null()).then(
            pl.min_horizontal("available_from", "end")
        ),
        available_until=pl.min_horizontal("available_until", "end"),
    )
