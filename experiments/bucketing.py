"""Deterministic bucketing, case by case as GrowthBook's SDKs do it: a unit's place in [0, 1) is a hash of its id.

Method: FNV-1a, 32 bits (Fowler, Noll, Vo; draft-eastlake-fnv) over UTF-16 code units, as JavaScript strings are;
version 2 hashes twice, which removes the correlation between experiments that version 1 has
(https://docs.growthbook.io/lib/build-your-own).
"""

from __future__ import annotations

from collections.abc import Sequence

OFFSET, PRIME, MASK = 0x811C9DC5, 0x01000193, 0xFFFFFFFF
Range = tuple[float, float]


def code_units(text: str) -> Sequence[int]:
    """The UTF-16 code units of a text, which JavaScript calls its characters."""
    if text.isascii():
        return text.encode()
    units = text.encode("utf-16-le", "surrogatepass")
    return [low | high << 8 for low, high in zip(units[::2], units[1::2], strict=True)]


def fnv1a32(text: str) -> int:
    """FNV-1a over UTF-16 code units, so that ids outside ASCII land where every other SDK puts them."""
    return fnv(OFFSET, code_units(text))


def fnv(value: int, units: Sequence[int]) -> int:
    """FNV-1a continued from a state. Four units at a time: the high bits, cut off later, change no low ones."""
    four = iter(units)
    for a, b, c, d in zip(four, four, four, four, strict=False):
        value = ((((((((value ^ a) * PRIME) ^ b) * PRIME) ^ c) * PRIME) ^ d) * PRIME) & MASK
    for unit in units[len(units) & ~3 :]:
        value = ((value ^ unit) * PRIME) & MASK
    return value


def slot_1(seed: str, unit: str) -> int:
    """GrowthBook's first hash, 0..999."""
    return fnv1a32(unit + seed) % 1_000


def slot_2(seed: str, unit: str) -> int:
    """GrowthBook's second hash, 0..9,999."""
    return fnv1a32(str(fnv1a32(seed + unit))) % 10_000


def bucket(seed: str, unit: str, version: int = 2) -> float | None:
    """A unit's place in [0, 1), in steps of 1/10,000 (version 1: 1/1,000); None for an unknown version."""
    if version == 2:
        return slot_2(seed, unit) / 10_000
    if version == 1:
        return slot_1(seed, unit) / 1_000
    return None


def equal_weights(arms: int) -> list[float]:
    return [1 / arms] * arms if arms > 0 else []


def bucket_ranges(arms: int, coverage: float = 1.0, weights: Sequence[float] | None = None) -> list[Range]:
    """Each arm's half-open range of places; the rest of [0, 1) is not in the experiment.

    An arm keeps its start when coverage grows, so nobody changes arms. Weights that do not fit (their number, or
    a sum outside .99..1.01) are replaced by equal ones, as the SDKs do; experiments.config refuses them earlier.
    """
    coverage = min(max(coverage, 0.0), 1.0)
    if weights is None or len(weights) != arms or not 0.99 <= sum(weights) <= 1.01:
        weights = equal_weights(arms)
    ranges, start = [], 0.0
    for weight in weights:
        ranges.append((start, start + coverage * weight))
        start += weight
    return ranges


def choose(place: float, ranges: Sequence[Range]) -> int:
    """The arm whose range holds a place; -1 for none."""
    return next((i for i, (start, end) in enumerate(ranges) if start <= place < end), -1)


def in_namespace(unit: str, name: str, start: float, end: float) -> bool:
    """Whether a unit is in a slice of a namespace; experiments in disjoint slices exclude each other."""
    return start <= slot_1("__" + name, unit) / 1_000 < end
