"""Ids by the hundred thousand: UUIDv7 event ids and base62 ids from hash keys, as Arrow strings, without a loop."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from recsys.ids import ALPHABET
from recsys.simulation.rng import U64, mix

_HEX = np.frombuffer("".join(f"{i:02x}" for i in range(256)).encode(), np.uint16)
_BASE62 = np.frombuffer(ALPHABET.encode(), np.uint8)
_HYPHENS = (8, 13, 18, 23)
_TEXT = np.delete(np.arange(36), _HYPHENS)


def _strings(characters: NDArray[np.uint8]) -> pa.Array:
    """(n, width) ASCII codes as n Arrow strings."""
    n, width = characters.shape
    offsets = np.arange(n + 1, dtype=np.int32) * width
    data = np.ascontiguousarray(characters)
    return pa.StringArray.from_buffers(n, pa.py_buffer(offsets), pa.py_buffer(data))


def event_ids(ms: NDArray[np.int64], key: U64) -> pa.Array:
    """UUIDv7 (RFC 9562) of each (UTC ms, key): the key stands for listener, day and counter."""
    entropy = mix(key)
    high = (ms.astype(np.uint64) << np.uint64(16)) | np.uint64(0x7000) | (entropy & np.uint64(0xFFF))
    low = (mix(entropy) >> np.uint64(2)) | np.uint64(1 << 63)
    raw = np.empty((len(ms), 2), ">u8")
    raw[:, 0], raw[:, 1] = high, low
    text = _HEX[raw.view(np.uint8).reshape(-1, 16)].view(np.uint8).reshape(-1, 32)
    out = np.full((len(ms), 36), ord("-"), np.uint8)
    out[:, _TEXT] = text
    return _strings(out)


def public_ids(key: U64) -> pa.Array:
    """22 base62 characters of each key."""
    out = np.empty((len(key), 22), np.uint8)
    for half, start in ((mix(key), 0), (mix(key ^ np.uint64(0x5851F42D4C957F2D)), 11)):
        rest = half.copy()
        for column in range(start, start + 11):
            rest, digit = np.divmod(rest, np.uint64(62))
            out[:, column] = _BASE62[digit]
    return _strings(out)


def hashed_ids(source: str, foreign_ids: Sequence[str]) -> pa.Array:
    """`recsys.ids.public_id` of many foreign ids at once."""
    step, limbs = 62**10, np.empty((3, len(foreign_ids)), np.uint64)
    for i, foreign in enumerate(foreign_ids):
        digest = hashlib.blake2b(f"{source}\x1f{foreign}".encode(), digest_size=16).digest()
        upper, limbs[2, i] = divmod(int.from_bytes(digest, "big"), step)
        limbs[0, i], limbs[1, i] = divmod(upper, step)
    out = np.empty((len(foreign_ids), 22), np.uint8)
    for rest, columns in zip(limbs, (range(1, -1, -1), range(11, 1, -1), range(21, 11, -1)), strict=True):
        for column in columns:
            rest, digit = np.divmod(rest, np.uint64(62))
            out[:, column] = _BASE62[digit]
    return _strings(out)
