"""How the embedded event log lays records down on disk: groups, each the unit of one fsync and one checksum.

A group is a fixed header, the (id, body) digests of its events, and one JSON line per event. One that fails
its checksum with nothing valid behind it was torn before it was acknowledged.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import BinaryIO, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from recsys.errors import BadInput
from recsys.events import Event

MAGIC = b"RLG1"
_CHECKED = struct.Struct("<IIqq")  # payload bytes, events, offset of the first event, newest received_at (ms)
_LEAD = struct.Struct("<4sI")  # magic, CRC-32 of everything after it
HEADER_BYTES = _LEAD.size + _CHECKED.size
_DIGEST_BYTES = 16

U64: TypeAlias = NDArray[np.uint64]


@dataclass(frozen=True)
class Entry:
    """One event as it goes to disk; `key` and `body` are 64-bit digests of its id and of what it says."""

    key: int
    body: int
    received_ms: int
    line: bytes
    event: Event  # as a reader will decode the line


@dataclass(frozen=True)
class Group:
    """One group as read back: n events, the first at log offset `base`."""

    base: int
    newest_ms: int
    keys: U64  # (n,)
    bodies: U64  # (n,)
    lines: list[bytes]  # n JSON texts
    stop: int  # file position just after the group

    def __len__(self) -> int:
        return len(self.keys)


def entry(event: Event) -> Entry:
    """What is stored of an event. Its body digest ignores `received_at`: a retry is the same event.

    Raises:
        BadInput: the event was built without validation, and could not be read back.
    """
    body = event.model_dump_json(exclude={"received_at"}, exclude_none=True).encode()
    stamp = event.received_at or event.ts
    line = body
    if event.received_at is not None:  # appended to the JSON object, so that it is serialised once only
        line = body[:-1] + b',"received_at":"' + event.received_at.isoformat().encode() + b'"}'
    try:
        decoded = Event.model_validate_json(line)
    except ValidationError as error:
        raise BadInput(f"event {event.event_id} cannot be logged: {error.errors()[0]['msg']}") from None
    key, received_ms = _digest(event.event_id.encode()), int(stamp.timestamp() * 1000)
    return Entry(key, _digest(body), received_ms, line, decoded)


def _digest(data: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")


def pack(entries: Sequence[Entry], base: int) -> bytes:
    """One group holding `entries` from log offset `base` on."""
    digests = np.array([(e.key, e.body) for e in entries], np.uint64).T.tobytes()
    payload = digests + b"".join(e.line + b"\n" for e in entries)
    checked = _CHECKED.pack(len(payload), len(entries), base, max(e.received_ms for e in entries)) + payload
    return _LEAD.pack(MAGIC, zlib.crc32(checked)) + checked


def read_group(file: BinaryIO, position: int) -> Group | None:
    """The group that starts at `position`; None where no whole, valid group does."""
    file.seek(position)
    header = file.read(HEADER_BYTES)
    if len(header) < HEADER_BYTES:
        return None
    magic, crc = _LEAD.unpack_from(header)
    size, count, base, newest = _CHECKED.unpack_from(header, _LEAD.size)
    if magic != MAGIC or size < count * _DIGEST_BYTES:
        return None
    payload = file.read(size)
    if len(payload) < size or zlib.crc32(payload, zlib.crc32(header[_LEAD.size :])) != crc:
        return None
    digests = np.frombuffer(payload, np.uint64, 2 * count).reshape(2, count)
    lines = payload[count * _DIGEST_BYTES :].split(b"\n")[:-1]
    stop = position + HEADER_BYTES + size
    return Group(base, newest, digests[0], digests[1], lines, stop)


def skim(file: BinaryIO, position: int) -> tuple[int, int]:
    """(offset just after the group, file position just after it), unchecked: for seeking past groups."""
    file.seek(position)
    size, count, base, _ = _CHECKED.unpack_from(file.read(HEADER_BYTES), _LEAD.size)
    return base + count, position + HEADER_BYTES + size


def any_group_after(file: BinaryIO, position: int) -> bool:
    """Whether a whole, valid group starts anywhere after `position`: then what is at `position` is damage."""
    file.seek(position)
    rest = file.read()
    found = rest.find(MAGIC, 1)
    while found >= 0:
        if read_group(file, position + found) is not None:
            return True
        found = rest.find(MAGIC, found + 1)
    return False
