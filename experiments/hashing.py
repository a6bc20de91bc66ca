"""Selectable hashes: a unit's slot under a salt, one at a time and many at once, the same either way.

slot(Hash.GROWTHBOOK_2, "salt", "unit")            # 0 .. steps - 1
slots(Hash.GROWTHBOOK_2, "salt", Units.of(ids))    # the same for many: an array

GrowthBook: FNV-1a over UTF-16 code units (bucketing.py). Optimizely: the MurmurHash3 of `unit + salt`, seed 1, scaled
to 10,000 (its open SDKs' bucketer). Statsig: the first 8 bytes of SHA-256 of `salt.unit` (its open server SDKs).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import mmh3
import numpy as np
from numpy.typing import NDArray

from experiments.bucketing import OFFSET, PRIME, code_units, fnv, fnv1a32, slot_1, slot_2

Slots = NDArray[np.uint32]
_CHUNK = 16_384
"""Rows hashed at once: their columns stay in the processor's cache."""


class Hash(StrEnum):
    """How a unit's place is found; other systems with the same salt and id find the same."""

    GROWTHBOOK_1 = "growthbook-1"
    GROWTHBOOK_2 = "growthbook-2"
    OPTIMIZELY = "optimizely"
    STATSIG = "statsig"

    @property
    def steps(self) -> int:
        """Into how many slots the hash divides its units."""
        return 1_000 if self is Hash.GROWTHBOOK_1 else 10_000


@dataclass(frozen=True)
class Units:
    """Many ids, decomposed once for any number of hashes.

    Attributes:
        flat: the UTF-16 code units of all ids, one after another.
        starts: (n + 1,) where each id begins in `flat`.
    """

    ids: Sequence[str]
    flat: NDArray[np.uint16]
    starts: NDArray[np.int64]

    @classmethod
    def of(cls, ids: Sequence[str]) -> Units:
        flat = np.frombuffer("".join(ids).encode("utf-16-le", "surrogatepass"), np.dtype("<u2"))
        lengths = np.fromiter(map(len, ids), np.int64, len(ids))
        if lengths.sum() != len(flat):  # ids outside the basic plane: two code units a character
            lengths = np.fromiter((len(code_units(i)) for i in ids), np.int64, len(ids))
        return cls(ids, flat, np.concatenate([[0], np.cumsum(lengths)]))

    def __len__(self) -> int:
        return len(self.ids)


def slot(kind: Hash, salt: str, unit: str) -> int:
    """A unit's slot, 0 .. kind.steps - 1."""
    if kind is Hash.GROWTHBOOK_2:
        return slot_2(salt, unit)
    if kind is Hash.GROWTHBOOK_1:
        return slot_1(salt, unit)
    if kind is Hash.OPTIMIZELY:
        return mmh3.hash((unit + salt).encode("utf-8", "surrogatepass"), 1, False) * 10_000 >> 32
    digest = hashlib.sha256(f"{salt}.{unit}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") % 10_000


def slots(kind: Hash, salt: str, units: Units) -> Slots:
    """The slots of many units, (n,) uint32; the same numbers as `slot` gives one by one."""
    if kind is Hash.GROWTHBOOK_2:
        first = _fnv(units, fnv1a32(salt))
        return _fnv_of_decimals(first) % np.uint32(10_000)
    if kind is Hash.GROWTHBOOK_1:
        value = _fnv(units, OFFSET)
        for unit in code_units(salt):
            value = (value ^ np.uint32(unit)) * np.uint32(PRIME)
        return value % np.uint32(1_000)
    if kind is Hash.OPTIMIZELY:
        tail = salt.encode("utf-8", "surrogatepass")
        raw = [mmh3.hash(i.encode("utf-8", "surrogatepass") + tail, 1, False) for i in units.ids]
        return (np.array(raw, np.uint64) * np.uint64(10_000) >> np.uint64(32)).astype(np.uint32)
    return _sha256(f"{salt}.".encode("utf-8", "surrogatepass"), units)


def _sha256(head: bytes, units: Units) -> Slots:
    digest = hashlib.sha256
    whole = b"".join([digest(head + i.encode("utf-8", "surrogatepass")).digest() for i in units.ids])
    heads = np.frombuffer(whole, np.dtype(">u8")).reshape(-1, 4)[:, 0]
    return (heads % 10_000).astype(np.uint32)


def _fnv(units: Units, state: int) -> Slots:
    """FNV-1a of each id, continued from a state: column by column over chunks of rows, longest ids first."""
    out = np.empty(len(units), np.uint32)
    for begin in range(0, len(units), _CHUNK):
        starts = units.starts[begin : begin + _CHUNK + 1]
        out[begin : begin + _CHUNK] = _fnv_rows(units.flat, starts, state)
    return out


def _fnv_rows(flat: NDArray[np.uint16], starts: NDArray[np.int64], state: int) -> Slots:
    lengths = np.diff(starts)
    value, prime = np.full(len(lengths), state, np.uint32), np.uint32(PRIME)
    if not len(lengths) or lengths[0] == lengths.max() == lengths.min():
        table = flat[starts[0] : starts[-1]].reshape(len(lengths), -1).T if len(lengths) else flat[:0]
        for column in np.ascontiguousarray(table, np.uint32):
            value ^= column
            value *= prime
        return value
    order = np.argsort(-lengths, kind="stable")
    begins, counts = starts[:-1][order], np.searchsorted(-lengths[order], -np.arange(lengths.max()))
    for j, n in enumerate(counts):  # ids longer than j come first
        value[:n] ^= flat[begins[:n] + j]
        value[:n] *= prime
    back = np.empty_like(value)
    back[order] = value
    return back


def _fnv_of_decimals(numbers: Slots) -> Slots:
    """FNV-1a of each number as it is written in decimals."""
    value = np.full(len(numbers), OFFSET, np.uint32)
    prime = np.uint32(PRIME)
    for begin in range(0, len(numbers), _CHUNK):
        rest, part = numbers[begin : begin + _CHUNK], value[begin : begin + _CHUNK]
        for exponent in range(9, 0, -1):
            power = np.uint32(10**exponent)
            digit = rest // power
            step = (part ^ (digit % np.uint32(10) + np.uint32(48))) * prime
            np.copyto(part, step, where=digit != 0)  # leading zeros are not written
        part ^= rest % np.uint32(10) + np.uint32(48)
        part *= prime
    return value


class Placer:
    """One salt of one hash, prepared: `place(code)` of an id prepared by `prepare`, in a few microseconds."""

    def __init__(self, kind: Hash, salt: str) -> None:
        self.kind, self.salt = kind, salt
        self._state = fnv1a32(salt) if kind is Hash.GROWTHBOOK_2 else OFFSET

    def slot(self, unit: str, codes: Sequence[int]) -> int:
        """The slot of a unit whose code units are at hand; the same as `slot(kind, salt, unit)`."""
        if self.kind is not Hash.GROWTHBOOK_2:
            return slot(self.kind, self.salt, unit)
        return fnv(OFFSET, str(fnv(self._state, codes)).encode()) % 10_000
