"""Seals what a log held before there were keys: whole segments are written again, offsets and ids stay.

seal_old(log, vault)      # lines sealed; beside writers and readers, and safe to repeat after a crash
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

import numpy as np

from recsys.errors import Erased
from recsys.eventlog.frame import Group, entry, packed, read_group
from recsys.eventlog.log import LocalEventLog
from recsys.eventlog.sealing import is_sealed, seal
from recsys.eventlog.segments import begun_copy, damaged
from recsys.events import Event
from recsys.files import sync_folder
from recsys.vault import ListenerKey, Vault


def seal_old(log: LocalEventLog, vault: Vault) -> int:
    """Seals every line that stands in clear; returns how many. Lines of erased listeners become unreadable.

    The segment that is written to is ended first; ended ones change no more, so a sealed copy can take the place of
    each in one step. Readers that have the old file open read it to its end.

    Raises:
        BadInput: a segment is damaged.
        LogUnavailable: the folder cannot be written.
    """
    if not any(_clear(path) for path in log.segments()):
        return 0
    log.end_segment()
    return sum(_sealed_copy(path, vault) for path in log.segments()[:-1] if _clear(path))


def _clear(path: Path) -> bool:
    """Whether a segment holds a line in clear."""
    with path.open("rb") as file:
        position = 0
        while (group := read_group(file, position)) is not None:
            if not all(map(is_sealed, group.lines)):
                return True
            position = group.stop
    return False


def _sealed_copy(path: Path, vault: Vault) -> int:
    position = count = 0
    with path.open("rb") as old, begun_copy(path) as new:
        size = os.fstat(old.fileno()).st_size
        while position < size:
            group = read_group(old, position)
            if group is None:
                raise damaged(path, position)
            count += _write(new, group, vault)
            position = group.stop
        new.flush()
        os.fsync(new.fileno())
        Path(new.name).replace(path)
    sync_folder(path.parent)
    return count


def _write(new: BinaryIO, group: Group, vault: Vault) -> int:
    bodies, lines = group.bodies.copy(), list(group.lines)
    clear = [i for i, line in enumerate(lines) if not is_sealed(line)]
    for i in clear:
        bodies[i], lines[i] = _sealed(lines[i], vault)
    new.write(packed(group.keys, np.asarray(bodies), lines, group.base, group.newest_ms, new.tell()))
    return len(clear)


def _sealed(line: bytes, vault: Vault) -> tuple[int, bytes]:
    """The digest of the body and the line, under its listener's key; under one that nobody keeps if erased."""
    event = Event.model_validate_json(line)
    try:
        made = entry(event, vault)
        return made.body, made.line
    except Erased:
        nobody = ListenerKey(os.urandom(12), os.urandom(32))
        return nobody.digest(line), seal(line, event.kind, nobody, vault)
