"""How the embedded event log lays records down on disk: groups, each the unit of one fsync and one checksum.

A group is a fixed header, the (id, body) digests of its events, and one JSON line per event. It also says how far
its writer knew the segment to be on disk: one that fails its checksum, with nothing behind it that knows it to be
there, was torn before it was acknowledged.

With a vault each line is sealed with its listener's key (recsys.eventlog.sealing); lines from before there was one
read as they are.
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
from recsys.eventlog.sealing import seal
from recsys.events import Event
from recsys.vault import Vault

MAGIC = b"RLG2"
_LEAD = struct.Struct("<4sI")  # magic, CRC-32 of everything after it
# Payload bytes, events, offset of the first event, newest received_at (ms), and since RLG2 the synced position.
_CHECKED = {MAGIC: struct.Struct("<IIqqq"), b"RLG1": struct.Struct("<IIqq")}
_MOST_BYTES = _LEAD.size + _CHECKED[MAGIC].size
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
    plain: int = 0  # the body's digest in a log from before lines were sealed; the same where they are not

    def says(self, body: int) -> bool:
        """Whether a stored digest is of the same body."""
        return body in (self.body, self.plain)


@dataclass(frozen=True)
class Group:
    """One group as read back: n events, the first at log offset `base`."""

    base: int
    newest_ms: int
    keys: U64  # (n,)
    bodies: U64  # (n,)
    lines: list[bytes]  # n JSON texts
    stop: int  # file position just after the group
    synced: int  # file position before which all was known to be on disk when the group was written

    def __len__(self) -> int:
        return len(self.keys)


def entries_of(events: Sequence[Event], vault: Vault | None) -> list[Entry]:
    """What is stored of events; new listeners get their keys together. Raises BadInput, Erased."""
    if vault is not None:
        vault.prepare({event.user_id for event in events})
    return [entry(event, vault) for event in events]


def entry(event: Event, vault: Vault | None = None) -> Entry:
    """What is stored of an event. Its body digest ignores `received_at`: a retry is the same event.

    Raises:
        BadInput: the event was built without validation, and could not be read back.
        Erased: its listener was erased.
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
    plain = _digest(body)
    if vault is None:
        return Entry(key, plain, received_ms, line, decoded, plain)
    own = vault.key(event.user_id)
    return Entry(key, own.digest(body), received_ms, seal(line, event.kind, own, vault), decoded, plain)


def _digest(data: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")


def pack(entries: Sequence[Entry], base: int, synced: int = 0) -> bytes:
    """One group holding `entries` from log offset `base` on; `synced` as in Group."""
    keys = np.array([e.key for e in entries], np.uint64)
    bodies = np.array([e.body for e in entries], np.uint64)
    newest = max(e.received_ms for e in entries)
    return packed(keys, bodies, [e.line for e in entries], base, newest, synced)


def packed(keys: U64, bodies: U64, lines: Sequence[bytes], base: int, newest: int, synced: int) -> bytes:
    """One group from its parts, as `read_group` gives them."""
    payload = keys.tobytes() + bodies.tobytes() + b"".join(line + b"\n" for line in lines)
    checked = _CHECKED[MAGIC].pack(len(payload), len(lines), base, newest, synced) + payload
    return _LEAD.pack(MAGIC, zlib.crc32(checked)) + checked


def read_group(file: BinaryIO, position: int) -> Group | None:
    """The group that starts at `position`; None where no whole, valid group does."""
    head = _head(file, position)
    if head is None:
        return None
    crc, checked, (size, count, base, newest, *synced) = head
    if size < count * _DIGEST_BYTES:
        return None
    begin = position + _LEAD.size + len(checked)
    file.seek(begin)
    payload = file.read(size)
    if len(payload) < size or zlib.crc32(payload, zlib.crc32(checked)) != crc:
        return None
    digests = np.frombuffer(payload, np.uint64, 2 * count).reshape(2, count)
    lines = payload[count * _DIGEST_BYTES :].split(b"\n")[:-1]
    return Group(base, newest, digests[0], digests[1], lines, begin + size, *synced or [0])


def skim(file: BinaryIO, position: int) -> tuple[int, int]:
    """(offset just after the group, file position just after it), unchecked: for seeking past groups."""
    head = _head(file, position)
    if head is None:
        raise BadInput("no group of events begins here")
    _, checked, (size, count, base, *_) = head
    return base + count, position + _LEAD.size + len(checked) + size


def starts_at(file: BinaryIO, position: int) -> int | None:
    """The offset of the group that begins at a position, unchecked; None where none does."""
    head = _head(file, position)
    return None if head is None else head[2][2]


def _head(file: BinaryIO, position: int) -> tuple[int, bytes, tuple[int, ...]] | None:
    """The checksum of a group, the checked bytes of its header and their fields; None where no header is."""
    file.seek(position)
    header = file.read(_MOST_BYTES)
    if len(header) < _LEAD.size:
        return None
    magic, crc = _LEAD.unpack_from(header)
    form = _CHECKED.get(magic)
    if form is None or len(header) < _LEAD.size + form.size:
        return None
    checked = header[_LEAD.size : _LEAD.size + form.size]
    return crc, checked, form.unpack(checked)


def known_after(file: BinaryIO, position: int) -> bool:
    """Whether a whole group somewhere after `position` knows what stood there to be on disk: then it is damaged."""
    file.seek(position)
    rest = file.read()
    return any(_knows(file, rest, position, magic) for magic in _CHECKED)


def _knows(file: BinaryIO, rest: bytes, position: int, magic: bytes) -> bool:
    found = rest.find(magic, 1)
    while found >= 0:
        group = read_group(file, position + found)
        if group is not None and (magic != MAGIC or group.synced > position):
            return True
        found = rest.find(magic, found + 1)
    return False
