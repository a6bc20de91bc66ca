"""Public ids (22-character base62), UUIDv7 event ids, and the types that keep dense ids apart from them."""

from __future__ import annotations

import hashlib
import os
import re
import time
import uuid
from typing import NewType

UserId = NewType("UserId", str)
TrackId = NewType("TrackId", str)
ArtistId = NewType("ArtistId", str)
AlbumId = NewType("AlbumId", str)
TrackIndex = NewType("TrackIndex", int)
"""Dense track number inside one release; never leaves the process."""

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_PUBLIC = re.compile(r"[0-9A-Za-z]{22}")
_EVENT = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[1-8][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def public_id(source: str, foreign_id: str) -> str:
    """The public id of a thing known elsewhere: base62 of a 128-bit hash, the same on every machine."""
    digest = hashlib.blake2b(f"{source}\x1f{foreign_id}".encode(), digest_size=16).digest()
    return base62(int.from_bytes(digest, "big"))


def base62(number: int) -> str:
    """A 128-bit number as 22 base62 characters (62**22 > 2**128)."""
    out = []
    for _ in range(22):
        number, digit = divmod(number, 62)
        out.append(ALPHABET[digit])
    return "".join(reversed(out))


def is_public_id(text: str) -> bool:
    return _PUBLIC.fullmatch(text) is not None


def is_event_id(text: str) -> bool:
    """Whether `text` is a lower-case hyphenated UUID (any RFC 9562 version; we write version 7)."""
    return _EVENT.fullmatch(text) is not None


def uuid7(ms: int | None = None, entropy: int | None = None) -> str:
    """A UUIDv7 (RFC 9562): 48 bits of milliseconds, 74 of entropy (random unless given, for seeded data)."""
    stamp = time.time_ns() // 1_000_000 if ms is None else ms
    bits = int.from_bytes(os.urandom(10), "big") if entropy is None else entropy
    rand_a, rand_b = (bits >> 62) & 0xFFF, bits & ((1 << 62) - 1)
    value = (stamp & ((1 << 48) - 1)) << 80 | 0x7 << 76 | rand_a << 64 | 0b10 << 62 | rand_b
    return str(uuid.UUID(int=value))


def seed_of(text: str) -> int:
    """The seed of the draws that belong to a name: 63 bits of its hash, the same on every machine."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1
