"""The semantic ids of a catalog: which track has which code, kept by public id, so that a code outlives a catalog.

ids = Ids.of(items, vectors, plays, books, siblings)
ids = ids.extended(items, space, books, siblings)     # tracks that came since; nothing that has a code moves
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.semantic_ids.codes import Codebooks, place
from models.semantic_ids.vectors import F32, Space
from recsys.items import Items
from recsys.plays import I64


@dataclass(frozen=True)
class Ids:
    """Codes and training plays of m tracks."""

    tracks: list[str]
    codes: I64  # (m, levels + 1), all different
    plays: I64  # (m,)

    @classmethod
    def of(cls, items: Items, vectors: F32, plays: I64, books: Codebooks, siblings: int) -> Ids:
        return cls(list(items.track_ids), place(books, vectors, siblings), plays.astype(np.int64))

    def shuffled(self, seed: int) -> Ids:
        """The same codes dealt out at random: what a decoder can do where codes mean nothing."""
        codes = self.codes[np.random.default_rng(seed).permutation(len(self.codes))]
        return Ids(self.tracks, codes, self.plays)

    def extended(self, items: Items, space: Space, books: Codebooks, siblings: int) -> Ids:
        """With codes for those tracks of a catalog that have none; they have no plays yet."""
        there = set(self.tracks)
        new = np.array([i for i, track in enumerate(items.track_ids) if track not in there], np.int64)
        if not len(new):
            return self
        codes = place(books, space.alone(items.take(new)), siblings, self.codes)
        return Ids(
            [*self.tracks, *(items.track_ids[i] for i in new)],
            np.concatenate([self.codes, codes]),
            np.append(self.plays, np.zeros(len(new), np.int64)),
        )

    def rows(self, items: Items) -> I64:
        """(n,) this object's row of each track of a catalog, all of which must be here."""
        number = {track: i for i, track in enumerate(self.tracks)}
        return np.fromiter((number[track] for track in items.track_ids), np.int64, len(items))


def expected_plays(items: Items, plays: I64, power: float) -> F32:
    """(n,) what a branch's prior counts a track as: its plays and one more, and for a track without any the mean of
    its artist's played ones (drawn to that of all); to the power of `power`."""
    played = plays > 0
    mean = float(plays[played].mean()) if played.any() else 1.0
    artists = int(items.artist.max(initial=0)) + 1
    total = np.bincount(items.artist[played], plays[played], minlength=artists)
    count = np.bincount(items.artist[played], minlength=artists)
    of_artist = (total + mean) / (count + 1)
    found = np.where(played, plays + 1.0, of_artist[items.artist]) ** power
    return found.astype(np.float32)
