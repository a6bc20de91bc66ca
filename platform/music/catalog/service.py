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

from music.catalog import store
from music.catalog.database import connect, upgrade, writing
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

    def write(self, tables: dict[str, pl.DataFrame]) -> None:
        """Inserts or updates rows of `tracks, artists, albums, availability, aliases`, in one transaction.

        A track's windows are replaced as a whole where `availability` names it; a withdrawal stays.

        Raises:
            BadInput: a row breaks a rule or names a thing the catalog does not hold; nothing was written.
        """
        rows = checked(tables)
        with writing(self.engine) as connection:
            revision = store.next_revision(connection)
            for name in TABLES:
                if name in rows:
                    _check_references(connection, name, rows)
                    if name == "availability":
                        store.replace_windows(connection, rows[name])
                    else:
                        store.upsert(connection, name, rows[name])
        self.publish(CatalogUpdated(revision, {name: frame.height for name, frame in rows.items()}))

    def withdraw(self, track_id: str, at: datetime) -> None:
        """From `at` on the track may not be shown anywhere; an earlier withdrawal stands.

        Raises:
            UnknownId: no such track. BadInput: `at` has no time zone.
        """
        if at.tzinfo is None:
            raise BadInput("a withdrawal needs a time with a time zone")
        with writing(self.engine) as connection:
            known = _track(connection, track_id)
            if known.withdrawn_at is not None and known.withdrawn_at <= at:
                return
            store.set_withdrawn(connection, track_id, at)
            revision = store.next_revision(connection)
        self.publish(TrackWithdrawn(revision, track_id, at))

    def restore(self, track_id: str) -> None:
        """Takes a withdrawal back. Raises UnknownId."""
        with writing(self.engine) as connection:
            if _track(connection, track_id).withdrawn_at is None:
                return
            store.set_withdrawn(connection, track_id, None)
            revision = store.next_revision(connection)
        self.publish(TrackRestored(revision, track_id))

    def withdrawn(self) -> dict[str, datetime]:
        """Withdrawn tracks and the time from which they may not be shown: what serving checks at the end."""
        with self.engine.connect() as connection, connection.begin():
            return store.withdrawn(connection)

    def revision(self) -> int:
        """A number that grows with every change; what a Decision records as the catalog's version."""
        with self.engine.connect() as connection, connection.begin():
            return store.revision(connection)

    def tables(self) -> dict[str, pl.DataFrame]:
        """All tables in the columns of recsys.schemas, one snapshot.

        Availability is what is in force: withdrawals have ended the windows.
        """
        with self.engine.connect() as connection, connection.begin():
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
