"""How far one track is from the next in tempo, key and energy, and the list effect that keeps a station smooth.

Tempo is compared with half and double time, keys by steps on the circle of fifths (the "Camelot wheel" of DJs, which
puts a minor key beside its relative major), energy in standard deviations. What is unknown is neutral.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recsys.items import Items
from recsys.schemas import AUDIO
from recsys.slate import Floats, Shelf, Slot

NEUTRAL = 0.5
"""Distance where one of the two is unknown: about that of two tracks at random."""
OCTAVES = 0.25  # tempo ratio 1.19: as far as tempo can be
DEVIATIONS = 2.0  # of energy: as far as energy can be
STEPS = 6.0  # on the circle of fifths: the far side
PARTS = (0.4, 0.2, 0.4)  # what tempo, key and energy add to the distance


@dataclass(frozen=True)
class Sound:
    """What n tracks sound like at their seams."""

    tempo: NDArray[np.float32]  # (n,) log2 of beats a minute; NaN unknown
    key: NDArray[np.float32]  # (n,) place on the circle of fifths, 0..11, of the key's major; NaN unknown
    mode: NDArray[np.float32]  # (n,) 1 major, 0 minor; NaN unknown
    energy: NDArray[np.float32]  # (n,) standard deviations; NaN unknown

    @classmethod
    def of(cls, items: Items) -> Sound:
        tempo, key, mode = (_column(items.frame, name) for name in ("tempo", "key", "mode"))
        key = np.where((key >= 0) & (key < 12) & np.isfinite(mode), key, np.nan)
        with np.errstate(divide="ignore", invalid="ignore"):
            octave = np.where(tempo > 0, np.log2(tempo), np.nan)
        energy = np.where(items.audio_known, items.audio[:, AUDIO.index("energy")], np.nan)
        return cls(
            tempo=octave.astype(np.float32),
            key=(((key + 3 * (mode == 0)) * 7) % 12).astype(np.float32),
            mode=np.where(np.isfinite(key), mode, np.nan).astype(np.float32),
            energy=energy.astype(np.float32),
        )

    def take(self, ids: NDArray[np.integer]) -> Sound:
        return Sound(self.tempo[ids], self.key[ids], self.mode[ids], self.energy[ids])

    def parts(self, other: Sound) -> NDArray[np.float32]:
        """(3, n) distances in tempo, key and energy to others of the same number, or to one, each 0..1."""
        raw = np.empty((3, len(self.tempo)), np.float32)
        octaves = np.abs(self.tempo - other.tempo)
        raw[0] = np.minimum(octaves, np.abs(octaves - 1)) / OCTAVES
        steps = np.abs(self.key - other.key)
        raw[1] = (np.minimum(steps, 12 - steps) + (self.mode != other.mode)) / STEPS
        raw[2] = np.abs(self.energy - other.energy) / DEVIATIONS
        np.minimum(raw, 1, out=raw)
        raw[np.isnan(raw)] = NEUTRAL
        return raw

    def distance(self, other: Sound) -> NDArray[np.float32]:
        """(n,) the three as one number, 0..1."""
        raw = self.parts(other)
        return np.asarray(PARTS[0] * raw[0] + PARTS[1] * raw[1] + PARTS[2] * raw[2], np.float32)


def _column(frame: pl.DataFrame, name: str) -> NDArray[np.float64]:
    if name not in frame.columns:
        return np.full(len(frame), np.nan)
    return frame[name].cast(pl.Float64).fill_null(np.nan).to_numpy()


@dataclass(frozen=True)
class Smooth:
    """A list effect: each candidate loses `weight` times its distance from the track just before it."""

    own: Sound  # of the n candidates
    before: Sound | None  # of the one track before the first slot
    weight: float

    def utility(self, utility: Floats, shelf: Shelf, slots: Sequence[Slot]) -> Floats:  # noqa: ARG002
        last = self.own.take(np.array([slots[-1].row])) if slots else self.before
        if last is None or not self.weight:
            return utility
        return utility - self.weight * self.own.distance(last)

    def allowed(self, shelf: Shelf, slots: Sequence[Slot]) -> None:  # noqa: ARG002
        return None
