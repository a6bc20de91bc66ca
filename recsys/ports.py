"""The few protocols that let packages meet without importing each other; the composition root wires them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

import polars as pl

from recsys.events import Event
from recsys.schemas import EventKind


class Appended(StrEnum):
    """What became of one event offered to the log."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"  # the same id and body is already there; acknowledged again
    CONFLICT = "conflict"  # the same id with another body; refused


@dataclass(frozen=True)
class Record:
    """One durable event at its place in the log."""

    offset: int
    event: Event


class EventLog(Protocol):
    """Append-only, durable on return, idempotent by event id over a stated horizon."""

    def append(self, events: Sequence[Event], wait: bool = True) -> list[Appended]:
        """Durable once this returns. Safe from several threads; concurrent calls share one fsync.

        With `wait` False it may return earlier: what was appended outlives this process, and is durable no later than
        the next append that waits, or the next look at `end`.

        Raises:
            LogUnavailable: nothing of the batch was made durable (disk full, read-only).
        """
        ...

    def read(
        self, offset: int = 0, limit: int | None = None, skip: Collection[EventKind] = ()
    ) -> Iterator[Record]:
        """Records from `offset` on, in order, up to the end as of the call, `limit` of them at most.

        Those of the kinds in `skip` are counted but not given (nor decoded: what a reader leaves out is cheap).
        Neither are those of erased listeners: offsets stay, so a reader goes on by offsets, not by what it was given.
        """
        ...

    def find(self, event_id: str, offset: int = 0) -> Event | None:
        """The event with this id at or after `offset`, None where there is none; for the few newest records."""
        ...

    @property
    def shredded(self) -> int:
        """Records that reads of this process passed over: their listener's key is destroyed (recsys.vault)."""
        ...

    def in_clear(self, text: str) -> int:
        """Records that stand in clear, from before there were keys, and hold a text."""
        ...

    @property
    def start(self) -> int:
        """The oldest offset that is held; what was before, retention has taken."""
        ...

    @property
    def end(self) -> int:
        """The offset that the next event will get."""
        ...

    @property
    def identity(self) -> str:
        """Which log this is: one that was deleted and made anew has another identity, so offsets never mix."""
        ...

    def committed(self, group: str) -> int:
        """Where a consumer group goes on; 0 at first."""
        ...

    def commit(self, group: str, offset: int) -> None:
        """Durably records that a group has processed everything before `offset`."""
        ...

    def close(self) -> None:
        """Lets go of files and connections."""
        ...


class OnlineStore(Protocol):
    """Listener states by key; safe for several processes at once."""

    def get(self, key: str) -> bytes | None: ...

    def put(self, values: Sequence[tuple[str, bytes]]) -> None: ...


class CatalogReader(Protocol):
    """What serving reads of the catalog domain."""

    def track(self, track_id: str) -> dict[str, Any]:
        """Raises UnknownId."""
        ...

    def artist(self, artist_id: str) -> dict[str, Any]:
        """Raises UnknownId."""
        ...

    def albums(self, album_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        """`album_id, title, release_date` of those that are known, by id."""
        ...

    def tables(self) -> dict[str, pl.DataFrame]:
        """Frames `tracks, artists, albums, availability, aliases` in the schemas of recsys.schemas."""
        ...

    def resolve(self, source: str, foreign_ids: Sequence[str], entity: str = "track") -> dict[str, str]:
        """Public ids of those foreign ids that are known."""
        ...


class CatalogWriter(Protocol):
    """How simulation and importers fill the catalog."""

    def write(self, tables: dict[str, pl.DataFrame]) -> int | None:
        """Inserts or updates rows of `tracks, artists, albums, availability, aliases`, in one transaction.

        Returns the new revision where revisions are counted.
        """
        ...


class Recommender(Protocol):
    """Personalization as the platform's domains and live listeners see it; JSON-able answers."""

    def home(self, user_id: str, limit: int = 10, **context: Any) -> dict[str, Any]: ...

    def radio(self, seed: str, user_id: str | None = None, cursor: str | None = None) -> dict[str, Any]: ...

    def similar(self, track_id: str, limit: int = 20) -> dict[str, Any]: ...
