"""The files of the embedded event log: segments named by their first offset, read without a lock."""

from __future__ import annotations

import fcntl
import os
import uuid
from bisect import bisect_right
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from recsys.errors import BadInput, LogUnavailable
from recsys.eventlog.frame import read_group, skim, starts_at
from recsys.eventlog.sealing import ID_END, decoded
from recsys.events import Event
from recsys.files import alone, sync_folder
from recsys.ports import Record
from recsys.schemas import EventKind
from recsys.vault import Vault

_MARK_BYTES = 256 * 1024


def _start(kind: EventKind) -> bytes:
    return f',"kind":"{kind.value}"'.encode()


class Segments:
    """The segments of one folder, with marks (offset, file position) that make seeking cheap."""

    def __init__(self, folder: Path, vault: Vault | None = None) -> None:
        self._folder, self._vault = folder, vault
        self.shredded = 0  # records that were passed over because their listener's key is destroyed
        self._marks: dict[int, tuple[list[int], list[int]]] = {}

    def path(self, base: int) -> Path:
        return self._folder / f"{base:020d}.seg"

    def bases(self) -> list[int]:
        """First offsets of all segments, ascending."""
        return sorted(int(path.stem) for path in self._folder.glob("*.seg"))

    def identity(self) -> str:
        """A name of this log, made when it is first opened (under the file lock)."""
        path = self._folder / "identity"
        if not path.exists() or not path.read_text():
            path.write_text(uuid.uuid4().hex)
            sync_folder(self._folder)
        return path.read_text()

    def create(self, base: int) -> None:
        """A new segment; its name is on disk once somebody waits for what is in it."""
        self.path(base).touch()

    def mark(self, base: int, offset: int, position: int) -> None:
        """Notes that the group with first event `offset` starts at `position` of segment `base`."""
        offsets, positions = self._marks.setdefault(base, ([base], [0]))
        if position - positions[-1] >= _MARK_BYTES:
            offsets.append(offset)
            positions.append(position)

    def records(self, offset: int, stop: int, skip: Collection[EventKind] = ()) -> Iterator[Record]:
        """Records offset..stop-1, all of which must exist, without those of the kinds to skip.

        Raises:
            BadInput: a record is damaged.
        """
        starts = tuple(_start(kind) for kind in skip)
        for at, line in self.lines(offset, stop):
            if line.startswith(starts, ID_END):
                continue
            event = decoded(line, self._vault)
            if event is None:
                self.shredded += 1
            elif event.kind not in skip:  # a sealed line tells the kinds of the server alone
                yield Record(at, event)

    def find(self, event_id: str, offset: int, stop: int) -> Event | None:
        """The event with this id among offset..stop-1; None too where it can no longer be read."""
        start = f'{{"event_id":"{event_id}"'.encode()
        for _, line in self.lines(offset, stop):
            if line.startswith(start):
                return decoded(line, self._vault)
        return None

    def lines(self, offset: int, stop: int) -> Iterator[tuple[int, bytes]]:
        """(offset, JSON text) of records offset..stop-1."""
        bases = self.bases()
        for base in bases[bisect_right(bases, offset) - 1 :]:
            if base >= stop:
                return
            with self.path(base).open("rb") as file:
                yield from self._of_segment(file, base, offset, stop)

    def _of_segment(self, file: BinaryIO, base: int, offset: int, stop: int) -> Iterator[tuple[int, bytes]]:
        at, position = self._seek(file, base, offset)
        size = os.fstat(file.fileno()).st_size
        while at < stop and position < size:
            group = read_group(file, position)
            if group is None or group.base != at:
                raise damaged(self.path(base), position)
            for i in range(max(offset - at, 0), min(len(group), stop - at)):
                yield at + i, group.lines[i]
            at, position = at + len(group), group.stop

    def _seek(self, file: BinaryIO, base: int, offset: int) -> tuple[int, int]:
        """The group that holds `offset`: its first offset and file position."""
        offsets, positions = self._marks.get(base, ([base], [0]))
        nearest = max(bisect_right(offsets, offset) - 1, 0)
        at, position = offsets[nearest], positions[nearest]
        if (
            position and starts_at(file, position) != at
        ):  # the segment was written again (recsys.eventlog.rewrite)
            self._marks.pop(base, None)
            at, position = base, 0
        size = os.fstat(file.fileno()).st_size
        while position < size:
            after, next_position = skim(file, position)
            if after > offset:
                break
            at, position = after, next_position
        return at, position


def begun_copy(path: Path) -> BinaryIO:
    """A file beside a segment, to take its place; as long as it is open nobody takes it for a leftover."""
    with alone(path.parent / "lock"):
        file = path.with_name(f".{path.name}.{os.getpid()}").open("wb")
        fcntl.flock(file, fcntl.LOCK_EX)
    return file


def drop_leftovers(folder: Path) -> None:
    """Removes copies that killed processes began (under the file lock)."""
    for path in folder.glob(".*.seg.*"):
        with suppress(BlockingIOError, FileNotFoundError), path.open("r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # its process number may be another's by now
            path.unlink()


def unavailable(folder: Path, error: OSError) -> LogUnavailable:
    reason = error.strerror or str(error)
    return LogUnavailable(f"event log {folder} cannot be written ({reason}): free space or fix permissions")


def damaged(path: Path, position: int) -> BadInput:
    return BadInput(
        f"event log segment {path} is damaged at byte {position} and acknowledged events follow: "
        "restore it from a backup"
    )
