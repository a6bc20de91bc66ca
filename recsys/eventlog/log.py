"""The log itself: group commit by a leader, a file lock between processes, recovery of a torn tail."""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, BinaryIO, TypeAlias

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from recsys.errors import BadInput, LogUnavailable, RecsysError
from recsys.eventlog.commits import check_commits, read_commit, write_commit
from recsys.eventlog.frame import Entry, entries_of, known_after, pack, read_group
from recsys.eventlog.index import IdIndex
from recsys.eventlog.recent import Recent
from recsys.eventlog.sealing import is_sealed
from recsys.eventlog.segments import Segments, damaged, drop_leftovers, unavailable
from recsys.events import Event
from recsys.files import sync_folder, write_whole
from recsys.ports import Appended, Record
from recsys.schemas import EventKind
from recsys.vault import Vault


class LogSettings(BaseModel):
    """How long ids are remembered (whichever ends first; whole segments) and how large a segment grows."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    segment_bytes: Annotated[int, Field(ge=1024)] = 64 * 1024 * 1024
    horizon_ms: Annotated[int, Field(ge=0)] = 7 * 86_400_000  # by received_at (by ts where it is absent)
    horizon_events: Annotated[int, Field(ge=1)] = 5_000_000


Place: TypeAlias = tuple[int, int]
"""A segment's first offset, and a position in its file."""


@dataclass
class _Request:
    entries: list[Entry]
    outcomes: list[Appended] = field(default_factory=list)
    place: Place = (0, 0)
    error: RecsysError | None = None
    done: bool = False


class LocalEventLog:
    """recsys.ports.EventLog on a local folder.

    Whoever holds the leader lock writes everything that is waiting, under one checksum. Across processes a file
    lock orders the groups, and each process reads the others' groups before it decides whether an id is new. Syncing
    comes after, without these locks: those who wait for it share one fsync, those who do not are not held up by a
    slow disk. A reader sees durable records only.
    """

    def __init__(self, folder: Path, settings: LogSettings | None = None, vault: Vault | None = None) -> None:
        """Opens or creates the log; cuts off a torn tail (it was never acknowledged).

        Args:
            vault: seals what is appended, and opens what is read.

        Raises:
            LogUnavailable: the folder cannot be written.
            BadInput: acknowledged records are damaged or missing.
        """
        self._folder = folder
        self._commits = folder / "commits"
        self._settings = settings or LogSettings()
        self._segments, self._vault = Segments(folder, vault), vault
        self._epoch = vault.epoch if vault is not None else 0
        self._index = IdIndex()
        self._recent = Recent()
        self._queue: list[_Request] = []
        self._queue_lock = threading.Lock()
        self._leader = threading.Lock()
        self._syncing = threading.Lock()  # taken before the leader lock, never inside it
        self._synced: Place = (-1, 0)
        self._named = -1  # the newest segment whose name is known to be on disk
        self._unusable = ""
        try:
            self._commits.mkdir(parents=True, exist_ok=True)
            self._lock_file = (folder / "lock").open("ab")
            with self._exclusive():
                self.identity = self._segments.identity()
                drop_leftovers(folder)
                if vault is not None:
                    _same_vault(folder, vault)
                self._enter(self._first_needed())
            self._catch_up(alone=False)  # the long way, without holding up those who write
            with self._exclusive():
                self._catch_up()
        except OSError as error:
            raise unavailable(folder, error) from error
        check_commits(self._commits, self._end)

    def append(self, events: Sequence[Event], wait: bool = True) -> list[Appended]:
        """See recsys.ports.EventLog. Raises Erased, where there is a vault."""
        request = _Request(entries_of(events, self._vault))
        with self._queue_lock:
            self._queue.append(request)
        with self._leader:
            if not request.done:
                self._serve()
        if request.error is not None:
            raise type(request.error)(str(request.error))
        if wait:
            self._settle(request.place)
        return request.outcomes

    @property
    def start(self) -> int:
        """The oldest offset that is held."""
        return self._segments.bases()[0]

    @property
    def end(self) -> int:
        """The offset that the next event will get.

        Without the file lock: a reader at low priority, stopped while it holds that, would hold up every writer.
        """
        with self._leader:
            try:
                self._catch_up(alone=False)
            except OSError as error:
                raise unavailable(self._folder, error) from error
            end, place = self._end, (self._base, self._position)
        self._settle(place)
        return end

    def _settle(self, place: Place) -> None:
        """Makes everything before a place durable.

        Raises:
            LogUnavailable: the disk failed; after that the page cache may show what it lacks, so nothing of it is
                trusted any more.
        """
        with self._syncing:
            if self._synced >= place:
                return
            with self._leader:
                place, handle = (self._base, self._position), os.dup(self._file.fileno())
            try:
                os.fdatasync(handle)
                if self._named < place[0]:
                    sync_folder(self._folder)
                    self._named = place[0]
            except OSError as error:
                self._unusable = f"a write did not reach the disk ({error}): restart on a working disk"
                raise unavailable(self._folder, error) from error
            finally:
                os.close(handle)
            self._synced = max(self._synced, place)

    def read(
        self, offset: int = 0, limit: int | None = None, skip: Collection[EventKind] = ()
    ) -> Iterator[Record]:
        """Durable records from `offset` on, up to the end as of the call; see recsys.ports.EventLog.

        Raises:
            BadInput: the log no longer (or not yet) reaches back to `offset`, or a record is damaged.
        """
        end = self._reach(offset)
        stop = end if limit is None else min(end, offset + limit)
        self._forget_erased()
        recent = self._recent.read(offset, max(offset, stop), skip)
        return self._segments.records(offset, stop, skip) if recent is None else iter(recent)

    def find(self, event_id: str, offset: int = 0) -> Event | None:
        """See recsys.ports.EventLog."""
        return self._segments.find(event_id, offset, self._reach(offset))

    @property
    def shredded(self) -> int:
        """Records that reads of this process passed over, because their listener's key is destroyed."""
        return self._segments.shredded

    def segments(self) -> list[Path]:
        """The files, oldest first; the last one is written to, the others change no more."""
        return [self._segments.path(base) for base in self._segments.bases()]

    def end_segment(self) -> None:
        """Begins a new segment, where the current one holds anything. Raises LogUnavailable."""
        try:
            with self._leader, self._exclusive():
                self._catch_up()
                if self._position:
                    self._segments.create(self._end)
                    self._next_segment()
        except OSError as error:
            raise unavailable(self._folder, error) from error

    def in_clear(self, text: str) -> int:
        """Records from before there were keys that hold a text: what `recsys privacy seal` has still to do."""
        wanted = text.encode()
        lines = self._segments.lines(self.start, self.end)
        return sum(wanted in line for _, line in lines if not is_sealed(line))

    def _forget_erased(self) -> None:
        if self._vault is not None and self._vault.epoch != self._epoch:
            self._epoch = self._vault.epoch
            self._recent.clear()

    def _reach(self, offset: int) -> int:
        """The log's end, where it reaches back to `offset`."""
        first, end = self.start, self.end
        if not first <= offset <= end:
            raise BadInput(f"offset {offset} is not in the log, which spans {first} to {end}")
        return end

    def committed(self, group: str) -> int:
        """Where a consumer group goes on; 0 at first."""
        return read_commit(self._commits, group)

    def commit(self, group: str, offset: int) -> None:
        """Durably records that a group has processed everything before `offset`."""
        try:
            write_commit(self._commits, group, offset)
        except OSError as error:
            raise unavailable(self._folder, error) from error

    def close(self) -> None:
        """Closes the files, with everything on disk; the log can be opened again."""
        with suppress(LogUnavailable):
            self._settle((self._base, self._position))
        with self._leader:
            self._file.close()
            self._lock_file.close()

    # Writing: everything below needs the leader lock and the file lock.

    def _serve(self) -> None:
        """Writes all waiting requests as one group; every one of them is answered, or fails, together."""
        with self._queue_lock:
            waiting, self._queue = self._queue, []
        outcomes: list[Appended] = []
        error: RecsysError | None = LogUnavailable("the append was interrupted: send the batch again")
        try:
            if self._position >= self._settings.segment_bytes:
                os.fdatasync(self._file.fileno())  # most of it before others have to wait for it
            with self._exclusive():
                self._catch_up()
                outcomes = self._write([e for request in waiting for e in request.entries])
            error = None
        except OSError as problem:
            error = unavailable(self._folder, problem)
        except RecsysError as problem:
            error = problem
        finally:
            at = 0
            for request in waiting:
                request.outcomes = outcomes[at : at + len(request.entries)]
                at += len(request.entries)
                request.place = (self._base, self._position)
                request.error, request.done = error, True

    def _write(self, entries: list[Entry]) -> list[Appended]:
        outcomes, fresh = self._judge(entries)
        if fresh:
            if self._position >= self._settings.segment_bytes:
                self._segments.create(self._end)
                self._next_segment()
            base, synced = self._synced
            group = pack(fresh, self._end, synced if base == self._base else 0)
            self._store(group)
            keys = np.array([e.key for e in fresh], np.uint64)
            bodies = np.array([e.body for e in fresh], np.uint64)
            self._index.add(keys, bodies, max(e.received_ms for e in fresh))
            self._recent.add(self._end, [e.event for e in fresh])
            self._advance(self._position + len(group), self._end + len(fresh))
        return outcomes

    def _judge(self, entries: list[Entry]) -> tuple[list[Appended], list[Entry]]:
        """What becomes of each entry, and those that are new."""
        bodies, known = self._index.find(np.array([e.key for e in entries], np.uint64))
        seen = {e.key: int(b) for e, b, k in zip(entries, bodies, known, strict=True) if k}
        outcomes: list[Appended] = []
        fresh: list[Entry] = []
        for e in entries:
            if e.key not in seen:
                seen[e.key] = e.body
                fresh.append(e)
                outcomes.append(Appended.ACCEPTED)
            else:
                outcomes.append(Appended.DUPLICATE if e.says(seen[e.key]) else Appended.CONFLICT)
        return outcomes, fresh

    def _store(self, group: bytes) -> None:
        """Writes one group at the end; on failure nothing of it stays."""
        handle = self._file.fileno()
        try:
            done = 0
            while done < len(group):
                done += os.pwrite(handle, group[done:], self._position + done)
        except OSError:
            try:
                os.ftruncate(handle, self._position)
                os.fdatasync(handle)
            except OSError as error:
                self._unusable = f"could not undo a failed write ({error}): restart on a working disk"
            raise

    def _advance(self, position: int, end: int) -> None:
        self._position, self._end = position, end
        self._segments.mark(self._base, end, position)

    def _first_needed(self) -> int:
        """The oldest segment that the id horizon may need; creates the first one of an empty log."""
        bases = self._segments.bases()
        if not bases:
            self._segments.create(0)
            return 0
        older = [b for b in bases if b <= bases[-1] - self._settings.horizon_events]
        return older[-1] if older else bases[0]

    def _enter(self, base: int) -> None:
        self._base, self._position, self._end = base, 0, base
        self._file: BinaryIO = self._segments.path(base).open("r+b", buffering=0)

    def _next_segment(self) -> None:
        self._index.seal(self._settings.horizon_ms, self._settings.horizon_events)
        os.fdatasync(self._file.fileno())  # later syncs are of the next file
        self._file.close()
        self._enter(self._end)

    def _catch_up(self, alone: bool = True) -> None:
        """Reads what was written since: by other processes, or before this one started.

        Only `alone`, under the file lock, is a piece of a group known to be torn; else it may be growing.
        """
        if self._unusable:
            raise LogUnavailable(f"event log {self._folder}: {self._unusable}")
        while True:
            size = os.fstat(self._file.fileno()).st_size
            if size < self._position:
                raise LogUnavailable(f"event log {self._folder} was cut from outside: restart this process")
            while self._position < size and self._take_group():
                pass
            if self._position < size:
                if not alone:
                    break
                self._cut_tail()
            if self._position == 0 or not self._segments.path(self._end).exists():
                break
            self._next_segment()

    def _take_group(self) -> bool:
        group = read_group(self._file, self._position)
        if group is None or group.base != self._end:
            return False
        self._index.add(group.keys, group.bodies, group.newest_ms)
        self._synced = max(self._synced, (self._base, group.synced))
        self._advance(group.stop, group.base + len(group))
        return True

    def _cut_tail(self) -> None:
        if known_after(self._file, self._position) or self._segments.bases()[-1] > self._base:
            raise damaged(self._segments.path(self._base), self._position)
        os.ftruncate(self._file.fileno(), self._position)
        os.fdatasync(self._file.fileno())

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        fcntl.flock(self._lock_file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._lock_file, fcntl.LOCK_UN)


def _same_vault(folder: Path, vault: Vault) -> None:
    """Notes whose keys seal a log. Under others every record would look like one of somebody who was erased.

    Raises:
        BadInput: it was sealed with the keys of another vault.
    """
    note = folder / "vault"
    noted = note.read_text() if note.exists() else ""
    if noted and not vault.is_noted(noted):
        raise BadInput(f"{folder} was sealed with another vault: restore the home's vault/ and master key")
    if noted != vault.note:
        write_whole(note, vault.note.encode())
